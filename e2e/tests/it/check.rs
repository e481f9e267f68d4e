//! What must hold once all is quiet.

use std::collections::HashSet;

use agora_proto::{
    admin::v1::{
        GetJournalHeadRequest, ReadJournalRequest, journal_service_client::JournalServiceClient,
    },
    event::v1 as event,
    query::v1::{GetThreadRequest, get_thread_request::Post},
};
use bus_schema::{Checkpoint, Event, Hash, Kind, Sequence, Source, Stream};
use e2e::{Client, Connection, Result, Role, System, wait_until};

use crate::write::{Acknowledged, SITE};

/// The journal of a source, verified (I2).
pub async fn journal(client: &Client, source: Source) -> Result<Vec<(Event, Hash)>> {
    let mut service = journal_service(client, source);
    let request =
        ReadJournalRequest { source: event::Source::from(source).into(), from_sequence: 1 };
    let mut answers = service.read_journal(request).await?.into_inner();
    let mut head = Checkpoint::ZERO;
    let mut events = Vec::new();
    while let Some(answer) = answers.message().await? {
        for row in answer.rows {
            head = head.extend(&row.event);
            assert_eq!(row.sequence, head.sequence.0, "hole in the journal of {source}");
            assert_eq!(row.hash, head.hash.0.as_slice(), "chain of {source} at {}", row.sequence);
            let event = Event::decode(row.event)?;
            assert_eq!(event.sequence, head.sequence);
            events.push((event, head.hash));
        }
    }
    Ok(events)
}

fn journal_service(client: &Client, source: Source) -> JournalServiceClient<Connection> {
    match source {
        Source::Post => client.journals.post.clone(),
        Source::Comment => client.journals.comment.clone(),
        Source::Moderation => client.journals.moderation.clone(),
    }
}

async fn head(client: &Client, source: Source) -> Option<Sequence> {
    let request = GetJournalHeadRequest { source: event::Source::from(source).into() };
    let answer = journal_service(client, source).get_journal_head(request).await.ok()?;
    Some(Sequence(answer.into_inner().sequence))
}

/// Waits until moderation has decided every revision and the view has everything, and
/// returns the heads.
pub async fn quiet(system: &System) -> Result<[Sequence; 3]> {
    let client = system.client("checker", Role::Operator)?;
    wait_until("every revision to be decided and visible", || async {
        let Some(heads) = heads(&client).await else { return false };
        let [posts, comments, decisions] = heads;
        let position = format!("post:{posts},comment:{comments},moderation:{decisions}");
        let is_viewed = client.view_includes(SITE, &position).await;
        decisions >= comments && is_viewed && self::heads(&client).await == Some(heads)
    })
    .await?;
    Ok(heads(&client).await.ok_or("a service does not answer")?)
}

pub async fn heads(client: &Client) -> Option<[Sequence; 3]> {
    Some([
        head(client, Source::Post).await?,
        head(client, Source::Comment).await?,
        head(client, Source::Moderation).await?,
    ])
}

/// The stream equals the journal: same bytes, same order, nothing extra (I3).
pub async fn stream_equals_journal(
    system: &System,
    source: Source,
    journal: &[(Event, Hash)],
) -> Result {
    let jetstream = async_nats::jetstream::new(system.nats.connect().await?);
    let name = Stream::of(source, 1, -1).name;
    let mut stream = jetstream.get_stream(name).await?;
    wait_until("the stream to be as long as the journal", || {
        let jetstream = jetstream.clone();
        async move {
            let Ok(stream) = jetstream.get_stream(name).await else { return false };
            stream.cached_info().state.last_sequence >= journal.len() as u64
        }
    })
    .await?;
    let state = &stream.info().await?.state;
    assert_eq!(state.messages, journal.len() as u64, "messages of {name}");
    assert_eq!(state.last_sequence, journal.len() as u64, "last message of {name}");

    use futures::StreamExt as _;
    let config = async_nats::jetstream::consumer::pull::OrderedConfig::default();
    let mut messages = stream.create_consumer(config).await?.messages().await?;
    for (event, hash) in journal {
        let message = messages.next().await.ok_or("the stream has ended")??;
        assert_eq!(message.info()?.stream_sequence, event.sequence.0);
        assert_eq!(message.payload, event.encode(), "{name} at {}", event.sequence);
        let header = message.headers.as_ref().and_then(|all| all.get(Stream::HASH_HEADER));
        assert_eq!(header.map(|value| value.to_string()), Some(hash.to_hex()));
    }
    Ok(())
}

/// Everything that was acknowledged is there exactly once: in the journal, in the
/// stream, decided once, and in the view (I1 to I5, I10).
pub async fn nothing_lost(system: &System, post: &str, acknowledged: &Acknowledged) -> Result {
    quiet(system).await?;
    let client = system.client("checker", Role::Operator)?;

    let mut journals = Vec::new();
    for source in Source::ALL {
        let journal = journal(&client, source).await?;
        stream_equals_journal(system, source, &journal).await?;
        journals.push(journal);
    }
    let [_, comments, moderation] = journals.as_slice() else { unreachable!() };

    let mut requests = HashSet::new();
    let mut revisions = HashSet::new();
    for (event, _) in comments {
        let Kind::CommentCreated(_) = &event.kind else { continue };
        let request = event.request.unwrap();
        assert!(requests.insert(request.id.uuid()), "request {request:?} has two effects");
        let answered = &acknowledged[&request.id.uuid()];
        assert_eq!(answered.comment_id, event.aggregate.unwrap().to_string());
        revisions.insert(event.id.to_bytes());
    }
    assert_eq!(requests.len(), acknowledged.len(), "acknowledged comments are missing");

    let mut decided = HashSet::new();
    for (event, _) in moderation {
        let Kind::RevisionDecided(decision) = &event.kind else { continue };
        assert!(decided.insert(decision.revision_id.clone()), "a revision was decided twice");
    }
    assert_eq!(decided, revisions, "every revision is decided exactly once");

    view_has_everything(&system.client("checker", Role::Moderator)?, post, acknowledged).await
}

/// The view shows a moderator every comment of a post exactly once, and counts those
/// that a reader can open.
async fn view_has_everything(client: &Client, post: &str, acknowledged: &Acknowledged) -> Result {
    let shown = thread(client, post, true).await?;
    let expected: HashSet<_> =
        acknowledged.values().map(|comment| comment.comment_id.clone()).collect();
    let unique: HashSet<_> = shown.comments.iter().cloned().collect();
    assert_eq!(shown.comments.len(), unique.len(), "a comment is shown twice");
    assert_eq!(unique, expected);
    let public = thread(client, post, false).await?;
    assert_eq!(public.count, public.comments.len() as u64, "the count is not exact");
    Ok(())
}

/// A whole thread, read page by page.
pub struct Thread {
    pub comments: Vec<String>,
    pub count: u64,
}

pub async fn thread(client: &Client, post: &str, include_hidden: bool) -> Result<Thread> {
    let mut thread = Thread { comments: Vec::new(), count: 0 };
    let mut request = GetThreadRequest {
        site: SITE.into(),
        post: Some(Post::PostId(post.into())),
        page_size: 500,
        include_hidden,
        ..Default::default()
    };
    loop {
        let page = client.query.clone().get_thread(request.clone()).await?.into_inner();
        thread.count = page.post.unwrap().comment_count;
        thread.comments.extend(page.comments.into_iter().map(|comment| comment.comment_id));
        if page.next_page_token.is_empty() {
            return Ok(thread);
        }
        request.page_token = page.next_page_token;
    }
}
