//! `agora verify`: are the journals whole (I2), do the streams equal them (I3), and does
//! the view equal their fold (I5)?

pub mod journal;
pub mod report;
pub mod source;
pub mod stream;
pub mod view;

use bus_schema::{Checkpoint, Hash, Sequence};
use bytes::Bytes;

/// One row of a journal, or one message of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub sequence: Sequence,
    /// The hash that is stored with it.
    pub hash: Hash,
    pub event: Bytes,
}

/// What differs first, in words.
pub type Difference = String;

/// Checks that a row follows a checkpoint and that its hash is right, and returns the
/// checkpoint after it.
pub fn follows(before: Checkpoint, row: &Row) -> Result<Checkpoint, Difference> {
    let after = before.extend(&row.event);
    if row.sequence != after.sequence {
        return Err(format!("after {} comes {}: there is a hole", before.sequence, row.sequence));
    }
    if row.hash != after.hash {
        return Err(format!(
            "at {} the chain does not verify: the hash is {}, computed {}",
            row.sequence, row.hash, after.hash
        ));
    }
    Ok(after)
}

/// Checks that a stream's message is a journal's row.
pub fn same(row: &Row, message: &Row) -> Result<(), Difference> {
    let sequence = row.sequence;
    if message.sequence != sequence {
        return Err(format!("message {sequence} is missing: the next is {}", message.sequence));
    }
    if message.event != row.event {
        return Err(format!("message {sequence} holds other bytes than the journal"));
    }
    if message.hash != row.hash {
        return Err(format!("message {sequence} has the hash {}, not {}", message.hash, row.hash));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(before: Checkpoint, event: &'static [u8]) -> Row {
        let after = before.extend(event);
        Row { sequence: after.sequence, hash: after.hash, event: Bytes::from_static(event) }
    }

    #[test]
    fn a_chain_without_holes_verifies() {
        let first = row(Checkpoint::ZERO, b"one");
        let after = follows(Checkpoint::ZERO, &first).unwrap();
        let second = row(after, b"two");
        assert_eq!(follows(after, &second).unwrap().sequence, Sequence(2));

        assert!(follows(Checkpoint::ZERO, &second).unwrap_err().contains("hole"));
        let changed = Row { event: Bytes::from_static(b"2"), ..second };
        assert!(follows(after, &changed).unwrap_err().contains("chain"));
    }

    #[test]
    fn a_message_is_the_row_or_it_is_told_how_not() {
        let first = row(Checkpoint::ZERO, b"one");
        assert_eq!(same(&first, &first), Ok(()));
        let missing = Row { sequence: Sequence(2), ..first.clone() };
        assert!(same(&first, &missing).unwrap_err().contains("missing"));
        let other = Row { event: Bytes::from_static(b"two"), ..first.clone() };
        assert!(same(&first, &other).unwrap_err().contains("bytes"));
        let hash = Row { hash: Hash::ZERO, ..first.clone() };
        assert!(same(&first, &hash).unwrap_err().contains("hash"));
    }
}
