//! Rows on their way from one database to the other.

use bus_schema::{Checkpoint, Hash, Sequence};
use sqlx::{Arguments as _, postgres::PgArguments};

use super::table::{JOURNAL, Kind, Table};

/// How many rows, and bytes, a statement writes at most.
pub(super) const MAX_ROWS: usize = 5_000;
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// A value as both kinds of database give it.
pub(super) enum Cell {
    Integer(Option<i64>),
    Bytes(Option<Vec<u8>>),
    Text(Option<String>),
}

/// What a table holds, in whatever order its rows come: no two are equal.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Content {
    pub(super) rows: u64,
    sum: u128,
    /// Where the chain ends, if it is the journal.
    pub(super) head: Checkpoint,
}

/// Rows that one statement writes.
#[derive(Default)]
pub(super) struct Chunk {
    pub(super) rows: Vec<Vec<Cell>>,
    bytes: usize,
}

impl Chunk {
    pub(super) fn push(&mut self, cells: Vec<Cell>) {
        self.bytes +=
            cells.iter().map(|cell| cell.as_bytes().map_or(0, <[u8]>::len)).sum::<usize>();
        self.rows.push(cells);
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= MAX_ROWS || self.bytes >= MAX_BYTES
    }

    /// Its columns.
    pub(super) fn arrays(&self, table: &Table) -> Result<PgArguments, sqlx::Error> {
        let mut arguments = PgArguments::default();
        for (index, column) in table.columns.iter().enumerate() {
            let cells = self.rows.iter().map(|row| &row[index]);
            match column.kind {
                Kind::Integer | Kind::Boolean => {
                    arguments.add(cells.map(|cell| cell.as_integer()).collect::<Vec<_>>())
                }
                Kind::Bytes | Kind::Uuid => {
                    arguments.add(cells.map(|cell| cell.as_bytes()).collect::<Vec<_>>())
                }
                Kind::Text => arguments.add(cells.map(|cell| cell.as_text()).collect::<Vec<_>>()),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok(arguments)
    }
}

impl Cell {
    fn as_integer(&self) -> Option<i64> {
        if let Self::Integer(value) = self { *value } else { None }
    }

    fn as_text(&self) -> Option<&str> {
        if let Self::Text(value) = self { value.as_deref() } else { None }
    }

    /// Bytes, or those of a text.
    fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Integer(_) => None,
            Self::Bytes(value) => value.as_deref(),
            Self::Text(value) => value.as_deref().map(str::as_bytes),
        }
    }
}

impl Content {
    /// Adds a row; one of the journal must chain.
    pub(super) fn add(&mut self, table: &Table, cells: &[Cell]) -> Result<(), Sequence> {
        let mut hasher = blake3::Hasher::new();
        for cell in cells {
            let integer = cell.as_integer().map(i64::to_le_bytes);
            let value = integer.as_ref().map(<[u8; 8]>::as_slice).or(cell.as_bytes());
            // No value has as many bytes.
            let length = value.map_or(u64::MAX, |value| value.len() as u64);
            hasher.update(&length.to_le_bytes());
            hasher.update(value.unwrap_or_default());
        }
        let mut part = [0; 16];
        hasher.finalize_xof().fill(&mut part);
        self.sum = self.sum.wrapping_add(u128::from_le_bytes(part));
        self.rows += 1;
        if table.name == JOURNAL {
            let next = self.head.extend(cells[2].as_bytes().unwrap_or_default());
            let sequence = cells[0].as_integer().map(Sequence::from_i64);
            let hash = cells[1].as_bytes().and_then(Hash::from_slice);
            if (sequence, hash) != (Some(next.sequence), Some(next.hash)) {
                return Err(next.sequence);
            }
            self.head = next;
        }
        Ok(())
    }
}
