use std::collections::HashMap;

use agora_comment::{
    domain::{Comment, Comments, Post, Reply, State, Verdict},
    store::{Cursor, Page, Postgres, Read as _, Seen, Sqlite, Store, Viewer},
};
use agora_proto::{comment::v1::Decision, event::v1 as event};
use bus_schema::{
    CommentId, Event, EventId, Kind, PostId, PostState, Sequence, Site, Source, Time,
};
use eventstore::{Domain as _, database::Backend as _, domain::Connection, testing::Place};
use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::commands::{Input, Sent, decide, inputs, reason, steps};

/// A revision as it was written.
struct Revision {
    id: EventId,
    body: String,
    time: Time,
    decision: Decision,
}

/// What a database is to hold, in memory.
#[derive(Default)]
struct Model {
    state: State,
    events: Vec<Event>,
    replies: Vec<Reply>,
    revisions: HashMap<CommentId, Vec<Revision>>,
}

impl Model {
    /// Carries out a command; its event is known by the id that the database gave it.
    fn run(&mut self, sent: &Sent, id: Option<EventId>) -> Result<Reply, &'static str> {
        let decided = decide(&self.state, sent, Sequence(self.events.len() as u64 + 1));
        let mut event = decided.map_err(|error| reason::<()>(Err(error)))?;
        event.id = id.unwrap_or(event.id);
        Comments::apply(&mut self.state, &event).unwrap();
        let reply = Comments::reply(&self.state, &event).unwrap();
        if !matches!(event.kind, Kind::CommentDeleted(_)) {
            self.revisions.entry(reply.comment.id).or_default().push(Revision {
                id: event.id,
                body: reply.body.clone(),
                time: event.time,
                decision: Decision::Unspecified,
            });
        }
        self.events.push(event);
        self.replies.push(reply.clone());
        Ok(reply)
    }

    /// Judges a comment's newest revision; the event says so.
    fn judge(&mut self, id: CommentId, verdict: Verdict) -> Option<Event> {
        let comment = self.state.comments.get_mut(&id)?;
        comment.verdict = Some(verdict);
        let revision = self.revisions.get_mut(&id)?.last_mut()?;
        revision.decision = match verdict {
            Verdict::Approved => Decision::Approved,
            Verdict::Rejected => Decision::Rejected,
        };
        Some(decision(comment, revision))
    }

    /// The newest revision of a comment that was decided, by its place.
    fn decided(&self, id: CommentId) -> Option<usize> {
        self.revisions[&id]
            .iter()
            .rposition(|it| matches!(it.decision, Decision::Approved | Decision::Rejected))
    }

    /// Whether a comment and all above it have an approved revision.
    fn is_visible(&self, comment: &Comment) -> bool {
        let newest = self.decided(comment.id);
        newest.is_some_and(|at| self.revisions[&comment.id][at].decision == Decision::Approved)
            && comment.parent_id.is_none_or(|id| self.is_visible(&self.state.comments[&id]))
    }

    fn seen(&self, comment: &Comment, viewer: &Viewer) -> Option<Seen> {
        let sees_all = match viewer {
            Viewer::Moderator => true,
            Viewer::Reader { id } => id.as_ref() == Some(&comment.author.id),
        };
        let revisions = &self.revisions[&comment.id];
        let at = if sees_all {
            revisions.len() - 1
        } else {
            self.decided(comment.id).filter(|_| self.is_visible(comment))?
        };
        let revision = &revisions[at];
        let mut comment = Comment { revision: at as u32 + 1, ..comment.clone() };
        let body = if comment.deleted { String::new() } else { revision.body.clone() };
        if !comment.deleted {
            comment.update_time = revision.time;
        }
        Some(Seen { comment, body, decision: revision.decision })
    }

    fn list(&self, site: &Site, post_id: PostId, viewer: &Viewer) -> Vec<Seen> {
        let comments = self.state.comments.values();
        let comments = comments.filter(|it| it.site == *site && it.post_id == post_id);
        let mut seen: Vec<_> = comments.filter_map(|it| self.seen(it, viewer)).collect();
        seen.sort_by_key(|seen| (seen.comment.create_time, seen.comment.id));
        seen
    }
}

/// The event of a revision's decision.
fn decision(comment: &Comment, revision: &Revision) -> Event {
    let decision = match revision.decision {
        Decision::Approved => event::Decision::Approved,
        Decision::Rejected => event::Decision::Rejected,
        Decision::Pending | Decision::Unspecified => event::Decision::Pending,
    };
    let decided = event::RevisionDecided {
        revision_id: revision.id.as_bytes().to_vec().into(),
        decision: decision.into(),
        ..Default::default()
    };
    let kind = Kind::RevisionDecided(decided);
    foreign(Source::Moderation, comment.site.clone(), comment.post_id, kind)
}

/// An event of another source; only its kind matters.
fn foreign(source: Source, site: Site, post_id: PostId, kind: Kind) -> Event {
    Event {
        id: EventId::new(),
        source,
        sequence: Sequence(1),
        time: Time::from_micros(0),
        actor: String::new(),
        request: None,
        site,
        post_id: Some(post_id),
        aggregate: None,
        traceparent: String::new(),
        kind,
    }
}

/// A database, written as the committer does.
struct Stored<S: Store> {
    store: S,
    connection: Connection<S>,
    reader: S::Reader,
    written: u64,
    _place: Place,
}

impl<S: Store> Stored<S> {
    async fn new(store: S) -> Self {
        let place = Place::of::<S>("comment").await;
        let database = S::Backend::open(&place.settings, S::migrations()).await.unwrap();
        let reader = S::reader(database.readers);
        Self { store, connection: database.writer, reader, written: 0, _place: place }
    }

    /// Carries out commands in one transaction; what is refused, by its reason.
    async fn commit(&mut self, batch: &[Sent]) -> Vec<Result<(EventId, Reply), &'static str>> {
        S::Backend::begin(&mut self.connection).await.unwrap();
        let sent: Vec<_> = batch.iter().map(|sent| &sent.command).collect();
        let mut state = self.store.load(&mut self.connection, &sent).await.unwrap();
        let (mut events, mut outcomes) = (Vec::new(), Vec::new());
        for sent in batch {
            let event = match decide(&state, sent, Sequence(self.written + 1)) {
                Ok(event) => event,
                Err(error) => {
                    outcomes.push(Err(reason::<()>(Err(error))));
                    continue;
                }
            };
            Comments::apply(&mut state, &event).unwrap();
            outcomes.push(Ok((event.id, Comments::reply(&state, &event).unwrap())));
            self.written += 1;
            events.push(event);
        }
        self.store.write(&mut self.connection, &state, &events).await.unwrap();
        S::Backend::commit(&mut self.connection).await.unwrap();
        outcomes
    }

    /// Folds events of comments that came from a stream, in one transaction.
    async fn import(&mut self, events: &[Event]) {
        S::Backend::begin(&mut self.connection).await.unwrap();
        let mut state = self.store.load_for(&mut self.connection, events).await.unwrap();
        for event in events {
            Comments::apply(&mut state, event).unwrap();
        }
        self.store.write(&mut self.connection, &state, events).await.unwrap();
        S::Backend::commit(&mut self.connection).await.unwrap();
    }

    /// Hears of others' events, in one transaction.
    async fn consume(&mut self, events: &[Event]) {
        let Some(first) = events.first() else { return };
        S::Backend::begin(&mut self.connection).await.unwrap();
        let consumed =
            self.store.consume(&mut self.connection, first.source, events).await.unwrap();
        assert_eq!(consumed.caused, []);
        S::Backend::commit(&mut self.connection).await.unwrap();
    }

    /// All pages of a post's list.
    async fn list(&self, site: &Site, post_id: PostId, viewer: &Viewer, size: usize) -> Vec<Seen> {
        let (mut all, mut after): (Vec<Seen>, _) = (Vec::new(), None);
        loop {
            let page = self.reader.comments(site, post_id, viewer, after, size).await.unwrap();
            let Page { comments, is_last } = page;
            assert!(comments.len() <= size);
            assert!(is_last || !comments.is_empty(), "a list would never end");
            all.extend(comments);
            if is_last {
                return all;
            }
            after = all.last().map(|it| Cursor::after(it.comment.create_time, it.comment.id));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever happens, a database decides, answers and shows what a state that is never
    /// forgotten does; so does a database that is made from the events, and that hears of
    /// decisions before it has the revisions.
    #[test]
    fn a_database_is_as_good_as_memory(steps in steps()) {
        Runtime::new().unwrap().block_on(async {
            compare(|| Sqlite, inputs(&steps)).await;
            compare(|| Postgres, inputs(&steps)).await;
        });
    }
}

async fn compare<S: Store>(store: impl Fn() -> S, inputs: Vec<Input>) {
    let (mut model, mut stored) = (Model::default(), Stored::new(store()).await);
    // Commands between what is heard come as one batch.
    let mut waiting = Vec::new();
    for input in inputs {
        match input {
            Input::Sent(sent) => waiting.push(sent),
            Input::Post(id, site, state) => {
                commit(&mut model, &mut stored, &mut waiting).await;
                stored.consume(&[post_said(id, &site, state)]).await;
                model.state.posts.insert(id, Post { site, state });
            }
            Input::Verdict(id, verdict) => {
                commit(&mut model, &mut stored, &mut waiting).await;
                stored.consume(model.judge(id, verdict).as_slice()).await;
            }
        }
    }
    commit(&mut model, &mut stored, &mut waiting).await;
    assert_same(&model, &mut stored).await;

    let mut rebuilt = Stored::new(store()).await;
    let comments = model.state.comments.values();
    let decisions: Vec<_> = comments
        .flat_map(|it| model.revisions[&it.id].iter().map(|revision| decision(it, revision)))
        .collect();
    rebuilt.consume(&decisions).await;
    for events in model.events.chunks(7) {
        rebuilt.import(events).await;
    }
    for revision in model.revisions.values_mut().flatten() {
        if revision.decision == Decision::Unspecified {
            revision.decision = Decision::Pending;
        }
    }
    assert_same(&model, &mut rebuilt).await;
}

/// Carries out what waits as one batch.
async fn commit<S: Store>(model: &mut Model, stored: &mut Stored<S>, waiting: &mut Vec<Sent>) {
    let batch = std::mem::take(waiting);
    for (sent, outcome) in batch.iter().zip(stored.commit(&batch).await) {
        let id = outcome.as_ref().ok().map(|(id, _)| *id);
        assert_eq!(outcome.map(|(_, reply)| reply), model.run(sent, id), "{sent:?}");
    }
}

/// That a database shows everybody what the model does, and answers retries as it did.
async fn assert_same<S: Store>(model: &Model, stored: &mut Stored<S>) {
    let reader = |id: &str| Viewer::Reader { id: Some(id.into()) };
    let viewers =
        [Viewer::Moderator, Viewer::Reader { id: None }, reader("author 0"), reader("author 1")];
    for viewer in &viewers {
        for comment in model.state.comments.values() {
            let seen = stored.reader.comment(&comment.site, comment.id, viewer).await.unwrap();
            assert_eq!(seen, model.seen(comment, viewer), "for {viewer:?}");
            for size in [1, 50] {
                let listed = stored.list(&comment.site, comment.post_id, viewer, size).await;
                let expected = model.list(&comment.site, comment.post_id, viewer);
                assert_eq!(listed, expected, "for {viewer:?}, pages of {size}");
            }
        }
    }
    for (event, reply) in model.events.iter().zip(&model.replies) {
        let events = std::slice::from_ref(event);
        let state = stored.store.load_for(&mut stored.connection, events).await.unwrap();
        let again = Comments::reply(&state, event).unwrap();
        // What moderation says is no part of an answer.
        let comment = Comment { verdict: reply.comment.verdict, ..again.comment };
        assert_eq!(Reply { comment, ..again }, *reply);
    }
}

fn post_said(id: PostId, site: &Site, state: PostState) -> Event {
    let kind = match state {
        PostState::Open => Kind::PostReopened(Default::default()),
        PostState::Closed => Kind::PostClosed(Default::default()),
        PostState::Deleted => Kind::PostDeleted(Default::default()),
    };
    foreign(Source::Post, site.clone(), id, kind)
}
