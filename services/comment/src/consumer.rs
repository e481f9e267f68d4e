//! What the comment service does with others' events: it keeps what they said, and
//! joins on read.

use std::collections::HashMap;

use agora_proto::event::v1::Decision;
use bus_schema::{Event, Kind, PostId, PostState, RevisionId};
use eventstore::domain::ApplyError;

use crate::domain::Post;

/// What a batch of events says.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// The state that each post is in at the end.
    pub(crate) posts: HashMap<PostId, Post>,
    /// The newest decision on each revision.
    pub(crate) decisions: HashMap<RevisionId, Decision>,
}

impl Said {
    /// Folds events of one source, in their order.
    pub(crate) fn fold(events: &[Event]) -> Result<Self, ApplyError> {
        let mut said = Self::default();
        for event in events {
            let state = match &event.kind {
                Kind::PostCreated(_) | Kind::PostReopened(_) => PostState::Open,
                Kind::PostClosed(_) => PostState::Closed,
                Kind::PostDeleted(_) => PostState::Deleted,
                Kind::RevisionDecided(decided) => {
                    let revision = RevisionId::from_slice(&decided.revision_id)?;
                    said.decisions.insert(revision, decided.decision());
                    continue;
                }
                // What a post says, and a site's policy, do not matter here.
                Kind::PostUpdated(_) | Kind::PolicySet(_) => continue,
                Kind::CommentCreated(_) | Kind::CommentUpdated(_) | Kind::CommentDeleted(_) => {
                    return Err("an event of the comment service itself".into());
                }
            };
            let id = event.post_id.ok_or("an event of a post without its id")?;
            said.posts.insert(id, Post { site: event.site.clone(), state });
        }
        Ok(said)
    }
}
