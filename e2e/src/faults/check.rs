//! Whether everything holds that was promised, by the numbers of the invariants.

// An arm for all other variants would hide the next one, above all the next type of event.
#![warn(clippy::wildcard_enum_match_arm)]

mod letters;

use std::{
    collections::{HashMap, HashSet},
    process::Stdio,
};

use agora_proto::{
    admin::v1::{GetViewDigestRequest, ReadJournalRequest},
    event::v1::{self as event, Decision},
};
use bus_schema::{Checkpoint, CommentId, DecodeError, Event, Kind, Source, Stream};
use bytes::Bytes;
use chassis::content;
use tokio::process::Command;
use uuid::Uuid;

use super::{
    inject::Poisoned,
    load::{Load, Shared},
    probe::{is_quiet, journals},
    record::{Acknowledged, Taken, Told, What},
};
use crate::{Access, Client, Result, Role, Service, System, program, wait_until};

/// What checking has found.
#[derive(Debug, Default)]
pub struct Found {
    /// What does not hold, each beginning with the number of an invariant.
    pub findings: Vec<String>,
    /// How many acknowledged writes are missing.
    pub lost: u64,
    /// How many requests have more than one effect.
    pub doubled: u64,
    /// How many events the journals hold.
    pub events: u64,
}

impl Found {
    fn add(&mut self, what: String) {
        self.findings.push(what);
    }
}

/// A journal as it was read and verified.
type Journal = Vec<Entry>;

/// A row of a journal.
struct Entry {
    at: Checkpoint,
    bytes: Bytes,
    /// Nothing if no program knows its type.
    event: Option<Event>,
    aggregate: Option<Uuid>,
}

/// The events of a journal that a program knows.
fn events(journal: &Journal) -> impl Iterator<Item = &Event> {
    journal.iter().filter_map(|entry| entry.event.as_ref())
}

/// Has clients end what they are at, waits for quiet, and checks everything.
///
/// # Errors
/// If a client has failed, it does not become quiet, or something cannot be read.
pub async fn settle(system: &System, load: Load) -> Result<Found> {
    let shared = load.shared();
    load.stop().await?;
    wait_until("everything to be equal", || is_quiet(&system.access)).await?;
    check_all(system, &shared, &[]).await
}

/// Checks everything, once it is quiet.
///
/// # Errors
/// If something cannot be read.
pub(super) async fn check_all(
    system: &System,
    shared: &Shared,
    poisoned: &[Poisoned],
) -> Result<Found> {
    let mut found = check(&system.access, shared, poisoned).await?;
    verify(system, &mut found).await?;
    Ok(found)
}

/// Checks everything but what `agora verify` does, once it is quiet.
///
/// # Errors
/// If something cannot be read.
pub(super) async fn check(
    access: &Access,
    shared: &Shared,
    poisoned: &[Poisoned],
) -> Result<Found> {
    let mut found = Found::default();
    let client = access.client("checker", Role::Operator)?;
    let mut all = HashMap::new();
    for source in Source::ALL {
        let journal = read(&client, source, &mut found).await?;
        stream_equals(access, source, &journal, &mut found).await?;
        found.events += journal.len() as u64;
        all.insert(source, journal);
    }
    {
        let told = shared.record.told();
        found.findings.extend(told.findings.iter().cloned());
        acknowledged(&all, &told.acknowledged, &mut found);
        only_approved(&all, &told, &mut found);
        decisions(&all, &told.taken, poisoned, &mut found);
    }
    letters::check(access, &all, poisoned, &mut found).await?;
    views(access, &mut found).await?;
    Ok(found)
}

/// A journal has no holes and its chain verifies (I2).
async fn read(client: &Client, source: Source, found: &mut Found) -> Result<Journal> {
    let request =
        ReadJournalRequest { source: event::Source::from(source).into(), from_sequence: 1 };
    let mut answers = journals(client, source).read_journal(request).await?.into_inner();
    let mut head = Checkpoint::ZERO;
    let mut journal = Vec::new();
    while let Some(answer) = answers.message().await? {
        for row in answer.rows {
            head = head.extend(&row.event);
            if row.sequence != head.sequence.0 || row.hash != head.hash.0.as_slice() {
                found.add(format!(
                    "I2: the journal of {source} has a broken hash chain at {}",
                    row.sequence
                ));
                return Ok(journal);
            }
            let bytes = row.event;
            let (event, aggregate) = match Event::decode(bytes.clone()) {
                Ok(event) => (Some(event.clone()), event.aggregate),
                Err(DecodeError::UnknownType { aggregate }) => (None, aggregate),
                Err(error) => return Err(error.into()),
            };
            journal.push(Entry { at: head, bytes, event, aggregate });
        }
    }
    Ok(journal)
}

/// The stream equals the journal: same bytes, same order, nothing extra (I3).
async fn stream_equals(
    access: &Access,
    source: Source,
    journal: &Journal,
    found: &mut Found,
) -> Result {
    use futures::StreamExt as _;

    let name = Stream::of(source, 1, -1).name;
    let mut stream = access.stream(source).await?;
    let state = stream.info().await?.state.clone();
    let length = journal.len() as u64;
    if (state.messages, state.last_sequence) != (length, length) {
        let (messages, last) = (state.messages, state.last_sequence);
        found.add(format!("I3: {name} has {messages} messages up to {last}, its journal {length}"));
        return Ok(());
    }
    let config = async_nats::jetstream::consumer::pull::OrderedConfig::default();
    let mut messages = stream.create_consumer(config).await?.messages().await?;
    for Entry { at, bytes, .. } in journal {
        let next = tokio::time::timeout(std::time::Duration::from_secs(10), messages.next()).await;
        let Ok(Some(message)) = next else {
            found.add(format!("I3: {name} does not show message {}", at.sequence));
            return Ok(());
        };
        let message = message?;
        let header = message.headers.as_ref().and_then(|all| all.get(Stream::HASH_HEADER));
        let is_same = message.info()?.stream_sequence == at.sequence.0
            && message.payload == *bytes
            && header.map(|value| value.to_string()) == Some(at.hash.to_hex());
        if !is_same {
            found.add(format!("I3: {name} holds something else at {}", at.sequence));
            return Ok(());
        }
    }
    Ok(())
}

/// What was acknowledged is there, once (I1, I10).
fn acknowledged(all: &HashMap<Source, Journal>, told: &[Acknowledged], found: &mut Found) {
    let mut by_request: HashMap<Uuid, Vec<&Event>> = HashMap::new();
    for event in all.values().flat_map(events) {
        if let Some(request) = event.request {
            by_request.entry(request.id.uuid()).or_default().push(event);
        }
    }
    for (request, events) in &by_request {
        if events.len() > 1 {
            found.doubled += 1;
            found.add(format!("I10: request {request} has {} effects", events.len()));
        }
    }
    for Acknowledged { request_id, what } in told {
        let event = by_request.get(request_id).and_then(|events| events.first());
        match event {
            None => {
                found.lost += 1;
                found.add(format!("I1: {what:?} of request {request_id} was lost"));
            }
            Some(event) if !is_same(event, what) => {
                found.lost += 1;
                found.add(format!("I1: request {request_id} is {event:?}, and was {what:?}"));
            }
            Some(_) => {}
        }
    }
}

/// Whether an event is what a client was told.
fn is_same(event: &Event, what: &What) -> bool {
    let text = |content: Option<&event::Content>| content::open(content).map(str::to_owned).ok();
    match (&event.kind, what) {
        (Kind::PostCreated(created), What::Post { id, title }) => {
            event.aggregate == Some(*id) && text(created.title.as_ref()).as_ref() == Some(title)
        }
        (Kind::CommentCreated(created), What::Comment { id, body }) => {
            event.aggregate == Some(*id) && text(created.body.as_ref()).as_ref() == Some(body)
        }
        (Kind::CommentUpdated(updated), What::Update { id, revision, body }) => {
            event.aggregate == Some(*id)
                && updated.revision == *revision
                && text(updated.body.as_ref()).as_ref() == Some(body)
        }
        (Kind::CommentDeleted(_), What::Delete { id }) => event.aggregate == Some(*id),
        (Kind::RevisionDecided(decided), What::Decision { id, revision_id, approved }) => {
            let expected = if *approved { Decision::Approved } else { Decision::Rejected };
            event.aggregate == Some(*id)
                && Uuid::from_slice(&decided.revision_id).ok() == Some(*revision_id)
                && decided.decision() == expected
        }
        _ => false,
    }
}

/// The revisions of the comments' journal: by comment and number, the id and the text.
fn revisions(journal: &Journal) -> HashMap<(Uuid, u32), (Uuid, String)> {
    let mut revisions = HashMap::new();
    for event in events(journal) {
        let Some((number, body)) = event.revision() else { continue };
        let body = content::open(body).unwrap_or_default().to_owned();
        let id = event.aggregate.unwrap_or_default();
        revisions.insert((id, number), (event.id.uuid(), body));
    }
    revisions
}

/// Readers have seen nothing that was not approved (I7).
fn only_approved(all: &HashMap<Source, Journal>, told: &Told, found: &mut Found) {
    let revisions = revisions(&all[&Source::Comment]);
    let approved: HashSet<Uuid> = events(&all[&Source::Moderation])
        .filter_map(|event| event.decision())
        .filter(|decided| decided.decision() == Decision::Approved)
        .filter_map(|decided| Uuid::from_slice(&decided.revision_id).ok())
        .collect();
    for seen @ (comment, number, body) in &told.seen {
        if told.taken.texts.contains(seen) {
            continue;
        }
        match revisions.get(&(*comment, *number)) {
            None => found.add(format!("I7: readers saw revision {number} of {comment}: none is")),
            Some((id, _)) if !approved.contains(id) && !told.taken.approved.contains(id) => {
                found.add(format!("I7: readers saw revision {number} of {comment}: not approved"));
            }
            Some((_, text)) if text != body => {
                found.add(format!("I7: readers saw another text of {comment} at {number}"));
            }
            Some(_) => {}
        }
    }
}

/// Every revision was judged once; every decision names a revision that there is, by its id
/// and its number; a later one names the one that it replaces (I4, I8).
fn decisions(
    all: &HashMap<Source, Journal>,
    taken: &Taken,
    poisoned: &[Poisoned],
    found: &mut Found,
) {
    let made: HashMap<Uuid, (Uuid, u32)> = revisions(&all[&Source::Comment])
        .into_iter()
        .map(|((comment, number), (id, _))| (id, (comment, number)))
        .collect();
    let mut last: HashMap<Uuid, Uuid> = HashMap::new();
    for event in events(&all[&Source::Moderation]) {
        let Some(decided) = event.decision() else { continue };
        let Ok(id) = Uuid::from_slice(&decided.revision_id) else { continue };
        match made.get(&id) {
            None if taken.revisions.contains(&id) => {}
            None => found.add(format!("I8: event {} decides on no revision", event.sequence)),
            Some((comment, number)) => {
                if event.aggregate != Some(*comment) || decided.revision != *number {
                    found.add(format!("I8: event {} names another revision", event.sequence));
                }
            }
        }
        let replaces = Uuid::from_slice(&decided.replaces).ok();
        if replaces != last.insert(id, event.id.uuid()) {
            let comment = event.aggregate.map(CommentId::from);
            found.add(format!(
                "I8: event {} of {comment:?} does not replace the decision before it",
                event.sequence
            ));
        }
    }
    for event in events(&all[&Source::Comment]) {
        let id = event.id.uuid();
        let waits = poisoned
            .iter()
            .any(|poison| poison.parks(Source::Comment, event.sequence, event.aggregate));
        if made.contains_key(&id) && !last.contains_key(&id) && !waits {
            found.add(format!("I4: revision {id} was never judged"));
        }
    }
}

/// All views hold the same (I5).
async fn views(access: &Access, found: &mut Found) -> Result {
    let mut first = None;
    for client in access.each(Service::Query, "checker", Role::Operator)? {
        let answer = client.view.clone().get_view_digest(GetViewDigestRequest {}).await?;
        let tables = answer.into_inner().tables;
        if *first.get_or_insert_with(|| tables.clone()) != tables {
            found.add("I5: the views of two replicas differ".to_owned());
        }
    }
    Ok(())
}

/// What `agora verify` says: the view equals the fold of the journals (I5), too.
async fn verify(system: &System, found: &mut Found) -> Result {
    let addresses = system.addresses();
    let first = |addresses: &[String]| addresses.first().cloned().unwrap_or_default();
    let token = system.token("checker", Role::Operator)?;
    let output = Command::new(program("agora")?)
        .arg("verify")
        .args(["--token", &token, "--nats-url", &system.nats.url()])
        .args(["--post-server", &first(&addresses.post)])
        .args(["--comment-server", &first(&addresses.comment)])
        .args(["--moderation-server", &first(&addresses.moderation)])
        .args(["--query-server", &first(&addresses.query)])
        .stdin(Stdio::null())
        .output()
        .await?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        found.add(format!("I5: agora verify says: {said}{errors}"));
    }
    Ok(())
}
