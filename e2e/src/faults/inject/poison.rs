//! An event that no program knows how to apply, in an owner's journal: as a newer program
//! leaves it that was rolled back.

use std::time::Duration;

use agora_proto::{
    comment::v1::{Comment, CreateCommentRequest, UpdateCommentRequest},
    event::v1 as event,
    post::v1::{CreatePostRequest, Post, UpdatePostRequest},
};
use bus_schema::{Checkpoint, EventId, Hash, Sequence, Source, Time};
use bytes::Bytes;
use prost::Message as _;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tokio::time::{Instant, sleep};
use tonic::{Response, Status};
use uuid::Uuid;

use super::{Injector, LOOK_EVERY};
use crate::{Client, Result, Role, Service, System, faults::SITE};

/// How long a service may take to answer, whatever has failed before.
const PATIENCE: Duration = Duration::from_secs(60);
/// A field of a number that no program knows, with an empty message in it: the event's type.
const NEWER_TYPE: [u8; 3] = [0xfa, 0x3e, 0x00];

/// An event that nobody can apply: it must be parked by all who consume its source, and
/// what follows it of the same aggregate must wait behind it.
#[derive(Clone, Copy, Debug)]
pub struct Poisoned {
    /// Whose event it is.
    pub source: Source,
    /// Its number.
    pub sequence: Sequence,
    /// What it happened to.
    pub aggregate: Uuid,
}

impl Poisoned {
    /// Whether an event cannot be applied because of this one.
    pub fn parks(&self, source: Source, sequence: Sequence, aggregate: Option<Uuid>) -> bool {
        self.source == source && self.sequence <= sequence && aggregate == Some(self.aggregate)
    }
}

impl Injector<'_> {
    pub(super) async fn poison(&mut self, source: Source) -> Result {
        let client = self.system.client("poisoner", Role::Author)?;
        let post = create_post(&client).await?;
        let post_id: Uuid = post.post_id.parse()?;
        if source == Source::Post {
            self.poisoned.push(append(self.system, source, post_id, post_id).await?);
            return update_post(&client, &post).await;
        }
        let comment = create_comment(&client, &post).await?;
        let comment_id = comment.comment_id.parse()?;
        self.poisoned.push(append(self.system, source, comment_id, post_id).await?);
        // Another event of the comment and, as its new revision is judged, of moderation.
        update_comment(&client, &comment).await
    }
}

/// Appends an event to the journal behind a connection, which is closed then; the same on
/// both kinds of database.
macro_rules! extend {
    ($connection:expr, $encode:expr) => {{
        let mut connection = $connection;
        let mut transaction = connection.begin().await?;
        // An update that changes nothing, as it locks the row.
        let head = "UPDATE journal_head SET sequence = sequence RETURNING sequence, hash";
        let head = sqlx::query_as(head).fetch_one(&mut *transaction).await?;
        let (event, next) = follow(head, $encode)?;
        sqlx::query("INSERT INTO journal (sequence, hash, event) VALUES ($1, $2, $3)")
            .bind(next.sequence.as_i64())
            .bind(next.hash.0.as_slice())
            .bind(event)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("UPDATE journal_head SET sequence = $1, hash = $2")
            .bind(next.sequence.as_i64())
            .bind(next.hash.0.as_slice())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        connection.close().await?;
        next.sequence
    }};
}

/// Puts an event of an unknown type at the end of a journal, as if its service had.
///
/// # Errors
/// If the journal cannot be written.
pub async fn append(
    system: &mut System,
    source: Source,
    aggregate: Uuid,
    post_id: Uuid,
) -> Result<Poisoned> {
    let encode = |sequence: Sequence| {
        let envelope = event::Event {
            id: EventId::from(Uuid::now_v7()).to_bytes(),
            source: event::Source::from(source).into(),
            sequence: sequence.0,
            time: Some(Time::now().into()),
            actor: "poisoner".into(),
            site: SITE.into(),
            post_id: Bytes::copy_from_slice(post_id.as_bytes()),
            aggregate_id: Bytes::copy_from_slice(aggregate.as_bytes()),
            ..Default::default()
        };
        [envelope.encode_to_vec().as_slice(), &NEWER_TYPE].concat()
    };
    let service = Service::of(source);
    let sequence = match &system.postgres {
        Some(postgres) => {
            let connection = postgres.connect_to(service.as_str()).await?;
            extend!(connection, encode)
        }
        None => {
            // The file is one process's alone.
            system.process(service).kill().await?;
            let file = SqliteConnectOptions::new().filename(system.database(service));
            let sequence = extend!(file.connect().await?, encode);
            system.process(service).restart()?;
            sequence
        }
    };
    Ok(Poisoned { source, sequence, aggregate })
}

/// The event that follows a head, and the head that it makes.
fn follow(
    (sequence, hash): (i64, Vec<u8>),
    encode: impl FnOnce(Sequence) -> Vec<u8>,
) -> Result<(Vec<u8>, Checkpoint)> {
    let hash = hash.as_slice().try_into().map_err(|_| "the head's hash is none")?;
    let head = Checkpoint { sequence: Sequence::from_i64(sequence), hash: Hash(hash) };
    let event = encode(head.sequence.next());
    let next = head.extend(&event);
    Ok((event, next))
}

async fn create_post(client: &Client) -> Result<Post> {
    let request = CreatePostRequest {
        site: SITE.into(),
        title: "about to be poisoned".into(),
        request_id: Uuid::now_v7().to_string(),
        ..Default::default()
    };
    let call = || {
        let (mut posts, request) = (client.post.clone(), request.clone());
        async move { posts.create_post(request).await }
    };
    Ok(until_ok("a post", call).await?.post.unwrap_or_default())
}

async fn update_post(client: &Client, post: &Post) -> Result {
    let request = UpdatePostRequest {
        site: SITE.into(),
        post_id: post.post_id.clone(),
        title: "poisoned".into(),
        request_id: Uuid::now_v7().to_string(),
        ..Default::default()
    };
    let call = || {
        let (mut posts, request) = (client.post.clone(), request.clone());
        async move { posts.update_post(request).await }
    };
    until_ok("an update of a post", call).await.map(drop)
}

async fn create_comment(client: &Client, post: &Post) -> Result<Comment> {
    let request = CreateCommentRequest {
        site: SITE.into(),
        post_id: post.post_id.clone(),
        body: "about to be poisoned".into(),
        request_id: Uuid::now_v7().to_string(),
        ..Default::default()
    };
    let call = || {
        let (mut comments, request) = (client.comment.clone(), request.clone());
        async move { comments.create_comment(request).await }
    };
    Ok(until_ok("a comment", call).await?.comment.unwrap_or_default())
}

async fn update_comment(client: &Client, comment: &Comment) -> Result {
    let request = UpdateCommentRequest {
        site: SITE.into(),
        comment_id: comment.comment_id.clone(),
        body: "poisoned".into(),
        request_id: Uuid::now_v7().to_string(),
        ..Default::default()
    };
    let call = || {
        let (mut comments, request) = (client.comment.clone(), request.clone());
        async move { comments.update_comment(request).await }
    };
    until_ok("an update of a comment", call).await.map(drop)
}

/// Calls until it is answered OK.
async fn until_ok<T, F>(what: &str, call: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        match call().await {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) if Instant::now() > deadline => {
                return Err(format!("{what}: {}", status.message()).into());
            }
            Err(_) => sleep(LOOK_EVERY).await,
        }
    }
}
