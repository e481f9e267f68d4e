//! A source's journal, row by row, from the service that keeps it.

use agora_proto::{
    admin::v1::{GetJournalHeadRequest, JournalRow, ReadJournalRequest, ReadJournalResponse},
    event::v1 as event,
};
use bus_schema::{Hash, Sequence, Source};
use tonic::Streaming;

use super::Row;
use crate::{
    client::{Client, call},
    error::Error,
};

/// Where a journal ends.
pub async fn head(client: &Client, source: Source) -> Result<Sequence, Error> {
    let request = GetJournalHeadRequest { source: event::Source::from(source).into() };
    let answer = call(&request, |request| {
        let mut journals = client.journals(source);
        async move { journals.get_journal_head(request).await }
    })
    .await?;
    Ok(Sequence(answer.sequence))
}

/// The rows of a journal, from the first to where it ended when it was opened.
pub struct Journal {
    messages: Streaming<ReadJournalResponse>,
    rows: std::vec::IntoIter<JournalRow>,
}

impl Journal {
    pub async fn open(client: &Client, source: Source) -> Result<Self, Error> {
        let request =
            ReadJournalRequest { source: event::Source::from(source).into(), from_sequence: 1 };
        let messages = call(&request, |request| {
            let mut journals = client.journals(source);
            async move { journals.read_journal(request).await }
        })
        .await?;
        Ok(Self { messages, rows: Vec::new().into_iter() })
    }

    pub async fn next(&mut self) -> Result<Option<Row>, Error> {
        loop {
            if let Some(row) = self.rows.next() {
                return Ok(Some(Row {
                    sequence: Sequence(row.sequence),
                    // A hash of another length is none, and will not verify.
                    hash: Hash::from_slice(&row.hash).unwrap_or_default(),
                    event: row.event,
                }));
            }
            match self.messages.message().await? {
                Some(message) => self.rows = message.rows.into_iter(),
                None => return Ok(None),
            }
        }
    }
}
