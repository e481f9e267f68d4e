use agora_proto::{
    event::v1::Decision,
    query::v1::{PostState as State, ThreadComment, ThreadPost, Visibility},
};
use bus_schema::{CommentId, PostState};

use crate::{domain::Post, store::Seen};

pub(super) fn post(post: Post) -> ThreadPost {
    let state = match post.state {
        PostState::Open => State::Open,
        PostState::Closed => State::Closed,
        PostState::Deleted => State::Deleted,
    };
    ThreadPost {
        post_id: post.id.to_string(),
        last_activity_time: Some(post.activity_time().into()),
        site: post.site,
        external_key: post.external_key.unwrap_or_default(),
        title: post.title,
        body: post.body,
        author_id: post.author.id,
        author_name: post.author.name,
        revision: post.revision,
        state: state.into(),
        create_time: Some(post.create_time.into()),
        update_time: Some(post.update_time.into()),
        comment_count: u64::try_from(post.comments).unwrap_or_default(),
    }
}

pub(super) fn comment(seen: Seen, next_page_token: String) -> ThreadComment {
    let visibility = match (seen.public, seen.decision) {
        (true, _) => Visibility::Public,
        (false, Decision::Rejected) => Visibility::Rejected,
        (false, Decision::Approved | Decision::Pending | Decision::Unspecified) => {
            Visibility::Pending
        }
    };
    let comment = seen.comment;
    ThreadComment {
        comment_id: comment.id.to_string(),
        parent_id: comment.parent_id.as_ref().map(CommentId::to_string).unwrap_or_default(),
        depth: comment.depth,
        author_id: comment.author.id,
        author_name: comment.author.name,
        body: seen.body,
        revision: seen.revision,
        visibility: visibility.into(),
        deleted: comment.deleted,
        create_time: Some(comment.create_time.into()),
        update_time: Some(seen.time.into()),
        reply_count: u64::try_from(comment.replies).unwrap_or_default(),
        next_page_token,
    }
}
