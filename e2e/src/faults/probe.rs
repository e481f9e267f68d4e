//! How far a system is: its journals, its streams, its views.

use std::collections::HashMap;

use agora_proto::{
    admin::v1::{
        GetJournalHeadRequest, GetStreamStatusRequest, RefillStreamRequest,
        journal_service_client::JournalServiceClient, stream_service_client::StreamServiceClient,
    },
    comment::v1::GetCommentRequest,
    event::v1 as event,
    moderation::v1::ListCasesRequest,
};
use async_nats::datetime::DateTime;
use bus_schema::{Sequence, Source, Stream};
use tonic::Code;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::SITE;
use crate::{Access, Client, Connection, Result, Role, Service};

pub(super) fn journals(client: &Client, source: Source) -> JournalServiceClient<Connection> {
    match source {
        Source::Post => client.journals.post.clone(),
        Source::Comment => client.journals.comment.clone(),
        Source::Moderation => client.journals.moderation.clone(),
    }
}

fn streams(client: &Client, source: Source) -> StreamServiceClient<Connection> {
    match source {
        Source::Post => client.streams.post.clone(),
        Source::Comment => client.streams.comment.clone(),
        Source::Moderation => client.streams.moderation.clone(),
    }
}

pub(super) async fn head(client: &Client, source: Source) -> Option<Sequence> {
    let request = GetJournalHeadRequest { source: event::Source::from(source).into() };
    let answer = journals(client, source).get_journal_head(request).await.ok()?;
    Some(Sequence(answer.into_inner().sequence))
}

async fn heads(client: &Client) -> Option<[Sequence; 3]> {
    Some([
        head(client, Source::Post).await?,
        head(client, Source::Comment).await?,
        head(client, Source::Moderation).await?,
    ])
}

/// When each stream was made: another time is another stream.
pub(super) async fn made(access: &Access) -> Result<HashMap<Source, DateTime>> {
    let mut made = HashMap::new();
    for source in Source::ALL {
        made.insert(source, access.stream(source).await?.cached_info().created);
    }
    Ok(made)
}

/// The number of a stream's last message; 0 if there is no stream.
pub(super) async fn last_sequence(access: &Access, source: Source) -> Result<u64> {
    let stream = access.jetstream().await?.get_stream(Stream::of(source, 1, -1).name).await;
    Ok(stream.map_or(0, |stream| stream.cached_info().state.last_sequence))
}

/// Whether a journal, which was compared with its stream, holds as much as that.
pub async fn is_held(access: &Access, source: Source) -> bool {
    let Ok(client) = access.client("checker", Role::Operator) else { return false };
    // First the stream: its journal may go on meanwhile.
    let Ok(last) = last_sequence(access, source).await else { return false };
    head(&client, source).await.is_some_and(|head| head.0 >= last)
}

/// Whether every stream holds as much as its journal.
pub async fn is_published(access: &Access) -> bool {
    let published = async {
        let client = access.client("checker", Role::Operator)?;
        for source in Source::ALL {
            let head = head(&client, source).await.ok_or("a service does not answer")?;
            let stream = access.stream(source).await?;
            let state = &stream.cached_info().state;
            if state.last_sequence != head.0 || state.messages != head.0 {
                return Ok(false);
            }
        }
        Ok::<bool, Box<dyn std::error::Error + Send + Sync>>(true)
    };
    published.await.unwrap_or(false)
}

/// How each stream stands to its journal, in words.
pub(super) async fn differences(access: &Access) -> Result<String> {
    let client = access.client("operator", Role::Operator)?;
    let mut said = Vec::new();
    for source in Source::ALL {
        let request = GetStreamStatusRequest { source: event::Source::from(source).into() };
        let status = streams(&client, source).get_stream_status(request).await;
        said.push(match status {
            Ok(status) => format!("{source}: {:?}", status.into_inner()),
            Err(status) => format!("{source}: {}", status.message()),
        });
    }
    Ok(said.join("; "))
}

/// Has a stream refilled; says whether it is whole.
pub(super) async fn refill(access: &Access, source: Source) -> Result<bool> {
    let client = access.client("operator", Role::Operator)?;
    let request = RefillStreamRequest { source: event::Source::from(source).into() };
    let answers = streams(&client, source).refill_stream(request).await;
    let mut answers = answers?.into_inner();
    loop {
        match answers.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(true),
            Err(status) => {
                let reason = status.get_details_error_info().map(|info| info.reason);
                // Another replica may lead: the next call comes to another one.
                return Ok(reason.as_deref() == Some("STREAM_HEALTHY"));
            }
        }
    }
}

/// Whether every revision is decided on, every replica's view includes everything, and every
/// replica that owns a journal has compared it.
pub async fn is_quiet(access: &Access) -> bool {
    let Ok(client) = access.client("checker", Role::Operator) else { return false };
    let Some(heads) = heads(&client).await else { return false };
    for (source, expected) in Source::ALL.into_iter().zip(heads) {
        let each = access.each(Service::of(source), "checker", Role::Operator);
        for replica in each.unwrap_or_default() {
            if head(&replica, source).await != Some(expected) {
                return false;
            }
        }
    }
    let [posts, comments, decisions] = heads;
    let position = format!("post:{posts},comment:{comments},moderation:{decisions}");
    for query in access.each(Service::Query, "checker", Role::Operator).unwrap_or_default() {
        // Not further either: it may have to be rewound.
        if !query.view_is_at(SITE, &position).await {
            return false;
        }
    }
    // Both answer once they have heard of everything.
    let cases =
        ListCasesRequest { site: SITE.into(), position: position.clone(), ..Default::default() };
    let comments = GetCommentRequest {
        site: SITE.into(),
        comment_id: Uuid::now_v7().to_string(),
        position: position.clone(),
    };
    let Ok(moderator) = access.client("checker", Role::Moderator) else { return false };
    let judged = moderator.moderation.clone().list_cases(cases).await;
    let judged = judged.is_ok_and(|answer| answer.get_ref().position == position);
    let heard = moderator.comment.clone().get_comment(comments).await;
    let heard = heard.is_err_and(|status| status.code() == Code::NotFound);
    judged && heard && self::heads(&client).await == Some(heads) && is_published(access).await
}
