//! What stands on Agora's bus: the [`Event`] envelope and its encoding, the hash
//! chain, the [`Subject`] of every event and the [`Stream`] of every source.
//!
//! Everything here is pure. Golden files in `golden/` hold every event type of
//! every released version; a test decodes them all, so that what is in a stream
//! today can be read for ever.

mod chain;
mod event;
mod id;
mod installation;
mod site;
mod source;
mod stream;
mod subject;
mod time;

pub use chain::{Checkpoint, Hash, Sequence};
pub use event::{DecodeError, Event, Kind, RequestMark, kind_name, plain};
pub use id::{CommentId, DecisionId, EventId, InvalidId, PostId, RequestId, RevisionId};
pub use installation::{Installation, InvalidInstallation};
pub use site::{InvalidSite, Site};
pub use source::{Source, UnknownSource};
pub use stream::Stream;
pub use subject::{InvalidSubject, Subject};
pub use time::{InvalidTime, Time};
