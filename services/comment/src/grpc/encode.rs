use agora_proto::comment::v1::{self as proto, Decision};
use bus_schema::CommentId;

use crate::{domain::Reply, store::Seen};

/// A comment as a write answers with it: nothing was decided on what was just written.
pub(super) fn reply(Reply { comment, body }: Reply) -> proto::Comment {
    seen(Seen { comment, body, decision: Decision::Unspecified })
}

/// A comment as reads answer with it.
pub(super) fn seen(Seen { comment, body, decision }: Seen) -> proto::Comment {
    let parent_id = comment.parent_id.as_ref().map(CommentId::to_string);
    proto::Comment {
        comment_id: comment.id.to_string(),
        site: comment.site.to_string(),
        post_id: comment.post_id.to_string(),
        parent_id: parent_id.unwrap_or_default(),
        depth: comment.depth,
        author_id: comment.author.id,
        author_name: comment.author.name,
        body,
        revision: comment.revision,
        decision: decision.into(),
        deleted: comment.deleted,
        create_time: Some(comment.create_time.into()),
        update_time: Some(comment.update_time.into()),
    }
}
