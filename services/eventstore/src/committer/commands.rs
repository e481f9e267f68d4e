use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use bus_schema::{Checkpoint, Event, KindName, RequestMark, Sequence, Time};
use tokio::time::{Instant, timeout};

use super::{
    Committed, Item, Outcome, Refusal, Reply,
    log::Log,
    writer::{CommitError, Writer},
};
use crate::{
    Position,
    database::Backend,
    domain::{Domain, State, Store},
    journal::{RequestKey, RequestRow},
};
use chassis::{Error, failpoint};

/// What became of a command in a transaction.
enum Decided<S: Store> {
    /// It made events; this is the sequence of the last of them.
    Made(Reply<S>, Sequence),
    /// It was carried out before: the event with this sequence answers it.
    Before(Sequence),
    Refused(Refusal<S>),
}

impl<S: Store> Writer<S> {
    /// Carries out commands in one transaction. If one of them cannot be written,
    /// halving finds it, and it fails alone.
    pub(super) async fn commit_commands(&mut self, items: Vec<Item<S>>) {
        let mut pending = vec![items];
        while let Some(mut items) = pending.pop() {
            let tried = timeout(S::Backend::MAX_TRANSACTION, self.try_commands(&items)).await;
            match self.ended(tried) {
                Ok(outcomes) => {
                    for (item, outcome) in items.into_iter().zip(outcomes) {
                        // Who asked may have left; the command was carried out all the same.
                        item.answer.send(outcome).ok();
                    }
                }
                Err(error) if items.len() > 1 && error.is_of_data::<S::Backend>() => {
                    let second = items.split_off(items.len() / 2);
                    pending.push(second);
                    pending.push(items);
                }
                Err(error) => fail(items, error),
            }
        }
    }

    async fn try_commands(&mut self, items: &[Item<S>]) -> Result<Vec<Outcome<S>>, CommitError> {
        let began = Instant::now();
        let head = self.begin().await?;
        let decided = self.decide_all(head, items).await;
        let unlucky = head.sequence.0 % 40 == 39;
        failpoint!(AnswerWithoutACommit if unlucky => { self.rollback().await; self.begin().await?; });
        let (log, decided) = self.end(decided).await?;
        self.watermarks.raise(Position::ZERO.with(S::Domain::SOURCE, log.head.sequence));
        log.count::<S::Domain>();
        self.measured.0.record(began.elapsed(), items.len());

        let position = self.watermarks.reached();
        let mut outcomes = Vec::with_capacity(items.len());
        for decided in decided {
            let (reply, sequence) = match decided {
                Decided::Made(reply, sequence) => (reply, sequence),
                // The transaction is committed: from here on nothing may fail the batch.
                Decided::Before(sequence) => match self.reply_again(&log, sequence).await {
                    Ok(reply) => (reply, sequence),
                    Err(error) => {
                        outcomes.push(Err(Error::from(error).into()));
                        continue;
                    }
                },
                Decided::Refused(refusal) => {
                    outcomes.push(Err(refusal));
                    continue;
                }
            };
            let position = position.with(S::Domain::SOURCE, sequence);
            outcomes.push(Ok(Committed { reply, position }));
        }
        Ok(outcomes)
    }

    /// Decides every command on the state that those before it left, and writes state
    /// and events.
    async fn decide_all(
        &mut self,
        head: Checkpoint,
        items: &[Item<S>],
    ) -> Result<(Log, Vec<Decided<S>>), CommitError> {
        let mut known = self.known_requests(items).await?;
        let commands: Vec<_> = items.iter().map(|item| &item.command).collect();
        let mut state = self.store.load(&mut self.connection, &commands).await?;

        let mut log = Log::new(S::Domain::SOURCE, head);
        let mut decided = Vec::with_capacity(items.len());
        for item in items {
            decided.push(decide::<S>(item, &mut state, &mut log, &mut known)?);
        }
        if !log.events.is_empty() {
            self.store.write(&mut self.connection, &state, &log.events).await?;
            S::Backend::append(&mut self.connection, &log.rows, &log.requests).await?;
        }
        Ok((log, decided))
    }

    /// What the journal remembers of the requests behind these commands.
    async fn known_requests(
        &mut self,
        items: &[Item<S>],
    ) -> Result<HashMap<RequestKey, RequestRow>, CommitError> {
        let mut keys: Vec<_> = items.iter().filter_map(|item| Some(request(item)?.0)).collect();
        if keys.is_empty() || failpoint!(RequestIdIgnored) {
            return Ok(HashMap::new());
        }
        keys.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        keys.dedup();
        let known = S::Backend::requests(&mut self.connection, &keys).await?;
        Ok(known.into_iter().map(|request| (request.key, request)).collect())
    }

    /// The answer to a request that was carried out before, from its event.
    async fn reply_again(
        &mut self,
        log: &Log,
        sequence: Sequence,
    ) -> Result<Reply<S>, CommitError> {
        let event = match log.events.iter().find(|event| event.sequence == sequence) {
            Some(event) => event.clone(),
            None => self.read_event(sequence).await?,
        };
        let events = std::slice::from_ref(&event);
        let state = self.store.load_for(&mut self.connection, events).await?;
        S::Domain::reply(&state, &event).map_err(CommitError::Event)
    }

    async fn read_event(&mut self, sequence: Sequence) -> Result<Event, CommitError> {
        let rows = S::Backend::rows(&mut self.connection, sequence, 1).await?;
        let row = rows.into_iter().find(|row| row.sequence == sequence);
        let row = row.ok_or(sqlx::Error::RowNotFound)?;
        Event::decode(row.event).map_err(|error| CommitError::Event(error.into()))
    }
}

/// Decides one command. A command that breaks a rule, or panics, fails alone.
fn decide<S: Store>(
    item: &Item<S>,
    state: &mut State<S>,
    log: &mut Log,
    known: &mut HashMap<RequestKey, RequestRow>,
) -> Result<Decided<S>, CommitError> {
    let request = request(item);
    if let Some((key, mark)) = request
        && let Some(before) = known.get(&key)
    {
        return Ok(if before.hash == mark.hash {
            Decided::Before(before.sequence)
        } else {
            Decided::Refused(Error::RequestIdReused.into())
        });
    }

    let now = Time::now();
    let drafts = catch_unwind(AssertUnwindSafe(|| {
        S::Domain::decide(state, &item.origin, &item.command, now)
    }));
    let mut drafts = match drafts {
        Ok(Ok(drafts)) => drafts,
        Ok(Err(refusal)) => return Ok(Decided::Refused(refusal)),
        Err(_) => return Ok(Decided::Refused(Error::internal("a rule panicked").into())),
    };

    let Some(last) = drafts.pop() else {
        return Ok(Decided::Refused(Error::internal("a command produced no event").into()));
    };
    // A retry looks for an event of the type that its command says.
    let (made, said) = (KindName::of(&last.kind), S::Domain::makes(&item.command));
    if made != said {
        let text = format!("a command produced {made}, not {said}");
        return Ok(Decided::Refused(Error::internal(text).into()));
    }
    let traceparent = &item.origin.traceparent;
    for draft in drafts {
        let event = log.append(draft, None, traceparent.clone(), now);
        S::Domain::apply(state, event).map_err(CommitError::Event)?;
    }
    // The last event answers the request.
    let event = log.append(last, item.origin.request, traceparent.clone(), now);
    S::Domain::apply(state, event).map_err(CommitError::Event)?;
    if let Some((key, mark)) = request {
        known.insert(key, RequestRow { key, sequence: event.sequence, hash: mark.hash });
    }
    let reply = S::Domain::reply(state, event).map_err(CommitError::Event)?;
    Ok(Decided::Made(reply, event.sequence))
}

/// The key and mark of a command's request.
fn request<S: Store>(item: &Item<S>) -> Option<(RequestKey, RequestMark)> {
    let Item { origin, command, .. } = item;
    let mark = origin.request?;
    let makes = S::Domain::makes(command);
    Some((RequestKey::new(&mark, &origin.site, &origin.actor, makes), mark))
}

/// Answers commands of which none was carried out, or of which nobody knows.
fn fail<S: Store>(items: Vec<Item<S>>, error: CommitError) {
    let text = chassis::error::chain(&error);
    tracing::error!(error = %text, commands = items.len(), "commit failed");
    let unavailable = error.is_of_database();
    for item in items {
        let refusal = if unavailable {
            Error::Unavailable(sqlx::Error::Protocol(text.clone()))
        } else {
            Error::internal(text.clone())
        };
        item.answer.send(Err(refusal.into())).ok();
    }
}
