use agora_proto::event::v1 as proto;

use crate::plain;

/// The actor of events that no person causes; no principal has this id.
pub const POLICY_ACTOR: &str = "policy";

/// Who wrote something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Author {
    /// A principal's id, or what an import gave.
    pub id: String,
    /// May be empty.
    pub name: String,
}

impl From<&Author> for proto::Author {
    fn from(author: &Author) -> Self {
        Self { id: author.id.clone(), name: Some(plain(&author.name)) }
    }
}
