//! The relay: copies a source's journal into its stream. Every message is fenced with
//! the sequence before it, so that a stream's own sequence equals the journal's.
//!
//! It publishes n only after it has seen that the stream's n − 1 carries the journal's
//! hash. It never guesses: the comparison says what is there, and on anything that this
//! program cannot heal writes stop.

mod adopt;
mod agree;
mod compare;
mod damage;
mod inspect;
mod lag;
mod publish;
mod restore;
mod run;
mod stream;
mod verify;

pub(crate) use adopt::{AdoptError, Adopted};
pub(crate) use inspect::{Checked, Keeper, Orders, Proof};
pub(crate) use lag::watch;
pub(crate) use restore::{RestoreError, Restored};
pub(crate) use run::{Healing, Relay};
pub(crate) use stream::Remote;
