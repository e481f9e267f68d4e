mod consume;
mod reader;
mod rows;
mod write;

use agora_proto::event::v1 as event;
use bus_schema::{CommentId, Event, Kind, Source};
use chassis::{
    bulk::distinct,
    owner::{ConsumeError, Consumed, Store},
};
use prost::Message as _;
use quick_cache::sync::Cache;
use sqlx::SqliteConnection;

use crate::{
    consumer::InForce,
    domain::{Command, Moderation, State},
};

pub use reader::Reader;

/// How many compiled policies are kept.
const MAX_COMPILED: usize = 256;

/// The state of moderation in SQLite.
pub struct Sqlite {
    /// Policies ready to judge, by site and version: a version never changes.
    compiled: Cache<(bus_schema::Site, u32), InForce>,
}

impl Sqlite {
    /// A store.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self { compiled: Cache::new(MAX_COMPILED) }
    }
}

impl Store for Sqlite {
    type Domain = Moderation;
    type Backend = sqlx::Sqlite;

    async fn load(
        &self,
        connection: &mut SqliteConnection,
        commands: &[&Command],
    ) -> Result<State, sqlx::Error> {
        let comments = commands.iter().filter_map(|command| match command {
            Command::Decide { comment_id, .. } => Some(*comment_id),
            Command::SetPolicy { .. } => None,
        });
        let comments = rows::load_comments(connection, &distinct(comments)).await?;
        let set = commands.iter().filter_map(|command| match command {
            Command::SetPolicy { site, .. } => Some(site.clone()),
            Command::Decide { .. } => None,
        });
        let sites = distinct(set.chain(comments.values().map(|comment| comment.site.clone())));
        let policies = rows::load_versions(connection, &sites).await?;
        Ok(State { comments, policies })
    }

    async fn load_for(
        &self,
        connection: &mut SqliteConnection,
        events: &[Event],
    ) -> Result<State, sqlx::Error> {
        let comments = events.iter().filter_map(|event| event.aggregate).map(CommentId::from);
        let comments = rows::load_comments(connection, &distinct(comments)).await?;
        Ok(State { comments, policies: std::collections::HashMap::new() })
    }

    async fn write(
        &self,
        connection: &mut SqliteConnection,
        state: &State,
        events: &[Event],
    ) -> Result<(), sqlx::Error> {
        let (mut policies, mut decisions) = (Vec::new(), Vec::new());
        for event in events {
            match &event.kind {
                Kind::PolicySet(set) => policies.push((event, set)),
                Kind::RevisionDecided(decided) => decisions.push((event, decided)),
                _ => {}
            }
        }
        write::policies(connection, &policies).await?;
        write::decisions(connection, &decisions).await?;
        write::settle(connection, state.comments.values()).await
    }

    async fn consume(
        &self,
        connection: &mut SqliteConnection,
        source: Source,
        events: &[Event],
    ) -> Result<Consumed<State>, ConsumeError> {
        match source {
            Source::Post => consume::posts(connection, events).await.map(|()| Consumed::default()),
            Source::Comment => self.consume_comments(connection, events).await,
            Source::Moderation => {
                Err(ConsumeError::Event("an event of the moderation service itself".into()))
            }
        }
    }
}

/// A decision as it is kept.
fn encode(decided: &event::RevisionDecided) -> Vec<u8> {
    decided.encode_to_vec()
}
