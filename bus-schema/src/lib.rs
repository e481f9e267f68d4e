//! What stands on Agora's bus: the [`Event`] envelope and its encoding, the hash
//! chain, the [`Subject`] of every event and the [`Stream`] of every source.
//!
//! Everything here is pure. Golden files in `golden/` hold every event type of
//! every released version; a test decodes them all, so that what is in a stream
//! today can be read for ever.

// An arm for all other variants would hide the next one, above all the next type of event.
#![warn(clippy::wildcard_enum_match_arm)]

mod author;
mod chain;
mod event;
mod id;
mod installation;
mod kind;
mod post;
mod site;
mod source;
mod stream;
mod subject;
mod time;

pub use author::{Author, POLICY_ACTOR};
pub use chain::{Checkpoint, Hash, Sequence};
pub use event::{DecodeError, Event, RequestMark, plain};
pub use id::{CommentId, DecisionId, EventId, InvalidId, PostId, RequestId, RevisionId};
pub use installation::{Installation, InvalidInstallation};
pub use kind::{Kind, KindName};
pub use post::{PostState, UnknownPostState};
pub use site::{InvalidSite, Site};
pub use source::{Source, UnknownSource};
pub use stream::Stream;
pub use subject::{InvalidSubject, Subject};
pub use time::{InvalidTime, Time};
