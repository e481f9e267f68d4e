//! What a process keeps for operators and for consumers: the journals, the streams and the
//! dead letters of its services.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use agora_proto::admin::v1::{
    dead_letter_service_server::DeadLetterServiceServer,
    journal_service_server::JournalServiceServer, stream_service_server::StreamServiceServer,
};
use bus_schema::Source;

use crate::{
    admin::{Journal, Journals, Keeps, Streams},
    consumer::Owners,
    dead_letter::{Letterbox, Letterboxes},
    suspicion::Suspicions,
};
use chassis::{Host, Running, StartError, config, host::MAX_RESPONSE_BYTES};

/// The journals, streams and dead letters of one process.
pub struct Registry {
    journals: HashMap<Source, Journal>,
    streams: HashMap<Source, Arc<dyn Keeps>>,
    letterboxes: BTreeMap<&'static str, Letterbox>,
    suspicions: Suspicions,
    owners: Owners,
}

impl Registry {
    /// Of a process whose consumers ask these owners.
    ///
    /// # Errors
    /// If an address is none.
    pub fn new(owners: &config::Owners) -> Result<Self, StartError> {
        let suspicions = Suspicions::default();
        let owners = Owners::new(owners, suspicions.clone())?;
        Ok(Self {
            journals: HashMap::new(),
            streams: HashMap::new(),
            letterboxes: BTreeMap::new(),
            suspicions,
            owners,
        })
    }

    /// Whom consumers ask where a stream is not what it was.
    pub fn owners(&self) -> Owners {
        self.owners.clone()
    }

    /// What consumers suspect of streams.
    pub(crate) fn suspicions(&self) -> Suspicions {
        self.suspicions.clone()
    }

    /// Has a source's journal served by `JournalService`.
    pub(crate) fn add_journal(&mut self, source: Source, journal: Journal) {
        self.owners.add(source, journal.clone());
        self.journals.insert(source, journal);
    }

    /// Has a source's stream served by `StreamService`.
    pub(crate) fn add_stream(&mut self, source: Source, stream: Arc<dyn Keeps>) {
        self.streams.insert(source, stream);
    }

    /// Has a service's dead letters served by `DeadLetterService`.
    pub fn add_letterbox(&mut self, service: &'static str, letters: Letterbox) {
        self.letterboxes.insert(service, letters);
    }

    /// Starts to serve what a host holds, and the services over what stands here.
    ///
    /// # Errors
    /// As [`Host::serve`].
    pub async fn serve(self, mut host: Host) -> Result<Running, StartError> {
        let limit = host.max_request_bytes();
        if !self.journals.is_empty() {
            let journals =
                Journals { journals: Arc::new(self.journals), shutdown: host.shutdown() };
            host.add_service(
                JournalServiceServer::new(journals)
                    .max_decoding_message_size(limit)
                    .max_encoding_message_size(MAX_RESPONSE_BYTES),
            );
        }
        if !self.streams.is_empty() {
            let streams = Streams { streams: Arc::new(self.streams), shutdown: host.shutdown() };
            host.add_service(
                StreamServiceServer::new(streams)
                    .max_decoding_message_size(limit)
                    .max_encoding_message_size(MAX_RESPONSE_BYTES),
            );
        }
        if !self.letterboxes.is_empty() {
            let boxes =
                Letterboxes { boxes: Arc::new(self.letterboxes), shutdown: host.shutdown() };
            host.add_service(
                DeadLetterServiceServer::new(boxes)
                    .max_decoding_message_size(limit)
                    .max_encoding_message_size(MAX_RESPONSE_BYTES),
            );
        }
        host.serve().await
    }
}
