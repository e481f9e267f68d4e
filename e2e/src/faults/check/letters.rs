//! Whether exactly that is parked which cannot be applied (I9).

use std::collections::{BTreeMap, HashMap};

use agora_proto::{
    admin::v1::{
        DeadLetter, ListDeadLetterActionsRequest, ListDeadLettersRequest, RetryDeadLetterRequest,
        dead_letter_service_client::DeadLetterServiceClient,
    },
    event::v1 as event,
};
use bus_schema::{Sequence, Source};
use tonic_types::StatusExt as _;

use super::{Found, Journal};
use crate::{Access, Connection, Result, Role, Service, faults::inject::Poisoned};

/// Who retries what is parked.
const ACTOR: &str = "checker";
/// How many of the newest actions are looked at: more than this harness makes.
const ACTIONS: i32 = 100;

/// Whoever consumes.
struct Consumer {
    service: Service,
    letters: DeadLetterServiceClient<Connection>,
}

/// What is delivered is applied or parked. What is parked are the poisoned events and, of
/// the same aggregates, what came later; to try it again changes nothing, and is on record.
pub(super) async fn check(
    access: &Access,
    all: &HashMap<Source, Journal>,
    poisoned: &[Poisoned],
    found: &mut Found,
) -> Result {
    for consumer in consumers(access)? {
        let service = consumer.service;
        let mut expected = BTreeMap::new();
        for source in service.consumes() {
            for entry in &all[source] {
                let (sequence, aggregate) = (entry.at.sequence, entry.aggregate);
                let waits_behind = poisoned
                    .iter()
                    .filter(|poison| poison.parks(*source, sequence, aggregate))
                    .map(|poison| poison.sequence)
                    .min();
                if let Some(first) = waits_behind {
                    expected.insert((*source, sequence), first);
                }
            }
        }
        let parked = list(&consumer).await?;
        for letter in &parked {
            let key = (Source::try_from(letter.source())?, Sequence(letter.sequence));
            let (source, sequence) = key;
            match expected.remove(&key) {
                None => found.add(format!(
                    "I9: {service} has parked event {sequence} of {source}: {}",
                    letter.error
                )),
                Some(first) if (first == sequence) == letter.error.is_empty() => {
                    found.add(format!(
                        "I9: {service} blames event {sequence} of {source} with {:?}",
                        letter.error
                    ));
                }
                Some(first) => retry(&consumer, letter, first, found).await?,
            }
        }
        for (source, sequence) in expected.into_keys() {
            found.add(format!("I9: {service} has not parked event {sequence} of {source}"));
        }
        let after = list(&consumer).await?;
        if numbers(&after) != numbers(&parked) {
            found.add(format!("I9: {service} has let go of what it cannot apply"));
        }
    }
    Ok(())
}

fn consumers(access: &Access) -> Result<Vec<Consumer>> {
    let client = access.client(ACTOR, Role::Operator)?;
    let mut consumers = vec![
        Consumer { service: Service::Comment, letters: client.letters.comment },
        Consumer { service: Service::Moderation, letters: client.letters.moderation },
    ];
    for client in access.each(Service::Query, ACTOR, Role::Operator)? {
        consumers.push(Consumer { service: Service::Query, letters: client.letters.query });
    }
    Ok(consumers)
}

async fn list(consumer: &Consumer) -> Result<Vec<DeadLetter>> {
    let request = ListDeadLettersRequest::default();
    let mut answers = consumer.letters.clone().list_dead_letters(request).await?.into_inner();
    let mut letters = Vec::new();
    while let Some(answer) = answers.message().await? {
        letters.extend(answer.dead_letters);
    }
    Ok(letters)
}

fn numbers(letters: &[DeadLetter]) -> Vec<(event::Source, u64)> {
    letters.iter().map(|letter| (letter.source(), letter.sequence)).collect()
}

/// Tries a letter again, in vain: `first` is the one that is to blame.
async fn retry(
    consumer: &Consumer,
    letter: &DeadLetter,
    first: Sequence,
    found: &mut Found,
) -> Result {
    let Consumer { service, letters } = consumer;
    let sequence = letter.sequence;
    let request = RetryDeadLetterRequest {
        service: service.as_str().into(),
        source: letter.source,
        sequence,
    };
    let mut letters = letters.clone();
    let tried = letters.retry_dead_letter(request).await;
    if sequence != first.0 {
        let reason = tried.err().and_then(|status| status.get_details_error_info());
        let reason = reason.map(|info| info.reason);
        if reason.as_deref() != Some("DEAD_LETTER_WAITS") {
            found.add(format!("I9: {service} has tried event {sequence}, which waits: {reason:?}"));
        }
        return Ok(());
    }
    let tried = tried?.into_inner();
    let stopped_at = tried.stopped_at.map(|letter| letter.sequence);
    if (tried.applied, stopped_at) != (0, Some(sequence)) {
        found.add(format!("I9: {service} has applied event {sequence}, which it cannot know"));
    }
    let request =
        ListDeadLetterActionsRequest { service: service.as_str().into(), page_size: ACTIONS };
    let actions = letters.list_dead_letter_actions(request).await?.into_inner().actions;
    let is_on_record = actions.iter().any(|action| {
        action.actor == ACTOR
            && action.action == "retried"
            && (action.source, action.sequence) == (letter.source, sequence)
            && !action.error.is_empty()
    });
    if !is_on_record {
        found.add(format!("I9: {service} does not tell that event {sequence} was tried again"));
    }
    Ok(())
}
