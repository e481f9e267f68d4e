use agora_proto::post::v1 as proto;
use bus_schema::PostState;

use crate::domain::Post;

/// A post as answers carry it.
pub(super) fn post(post: Post) -> proto::Post {
    let state = match post.state {
        PostState::Open => proto::PostState::Open,
        PostState::Closed => proto::PostState::Closed,
        PostState::Deleted => proto::PostState::Deleted,
    };
    proto::Post {
        post_id: post.id.to_string(),
        site: post.site.to_string(),
        external_key: post.external_key.unwrap_or_default(),
        title: post.text.title,
        body: post.text.body,
        author_id: post.author.id,
        author_name: post.author.name,
        revision: post.revision,
        state: state.into(),
        create_time: Some(post.create_time.into()),
        update_time: Some(post.update_time.into()),
    }
}
