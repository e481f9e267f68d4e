//! A source that goes back: its database and its stream at once. What it had after that is
//! gone with both; whoever has applied it forgets it, and nobody sees how.

use std::{
    collections::HashSet,
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use agora_proto::{
    event::v1::Decision,
    moderation::v1::GetCaseRequest,
    query::v1::{GetThreadRequest, get_thread_request::Post},
};
use bus_schema::{Kind, Source};
use e2e::{Client, Databases, Result, Role, Service, System, wait_until};
use tonic::Code;

use crate::{
    check::{heads, journal, quiet, stream_equals_journal, thread},
    heal::{digest, remove},
    write::{SITE, Writers, create_post},
};

/// The files of a SQLite database that nobody has open, of which a copy is a backup.
fn files(system: &System, service: Service) -> [(PathBuf, PathBuf); 2] {
    let database = system.database(service);
    let beside = |suffix: &str| {
        let mut path = database.clone().into_os_string();
        path.push(suffix);
        PathBuf::from(path)
    };
    [(database.clone(), beside(".backup")), (beside("-wal"), beside(".backup-wal"))]
}

pub async fn back_up(system: &mut System, service: Service) -> Result {
    system.process(service).kill().await?;
    match &system.postgres {
        Some(postgres) => postgres.copy(service.as_str(), "earlier").await?,
        None => {
            for (file, backup) in files(system, service) {
                fs::copy(file, backup)?;
            }
        }
    }
    system.process(service).restart()?;
    system.ready(service).await
}

/// Puts a database that nobody has open back to its backup.
pub async fn restore(system: &System, service: Service) -> Result {
    if let Some(postgres) = &system.postgres {
        return postgres.put_back(service.as_str(), "earlier").await;
    }
    remove(system, service);
    for (file, backup) in files(system, service) {
        fs::copy(backup, file)?;
    }
    Ok(())
}

/// Reads a thread as everybody, again and again, until it is told to stop; returns the
/// comments that it saw. Never is there nothing.
async fn look(client: Client, post: String, stop: Arc<AtomicBool>) -> Result<HashSet<String>> {
    let mut seen = HashSet::new();
    while !stop.load(Ordering::Relaxed) {
        let request = GetThreadRequest {
            site: SITE.into(),
            post: Some(Post::PostId(post.clone())),
            page_size: 500,
            ..Default::default()
        };
        let page = client.query.clone().get_thread(request).await?.into_inner();
        if page.comments.is_empty() {
            return Err("for a moment there was nothing".into());
        }
        seen.extend(page.comments.into_iter().map(|comment| comment.comment_id));
        tokio::task::yield_now().await;
    }
    Ok(seen)
}

async fn knows_case(client: &Client, comment_id: &str) -> Result<bool> {
    let request =
        GetCaseRequest { site: SITE.into(), comment_id: comment_id.into(), ..Default::default() };
    match client.moderation.clone().get_case(request).await {
        Ok(_) => Ok(true),
        Err(status) if status.code() == Code::NotFound => Ok(false),
        Err(status) => Err(status.into()),
    }
}

async fn a_source_goes_back(databases: Databases) -> Result {
    let mut system = System::start_on(databases).await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "back").await?;
    let kept = Writers::start(&system, &post, 600)?.finish().await?;
    quiet(&system).await?;
    back_up(&mut system, Service::Comment).await?;
    let lost = Writers::start(&system, &post, 400)?.finish().await?;
    quiet(&system).await?;

    let stop = Arc::new(AtomicBool::new(false));
    let looking = tokio::spawn(look(system.anonymous()?, post.clone(), stop.clone()));
    system.process(Service::Comment).kill().await?;
    restore(&system, Service::Comment).await?;
    let jetstream = async_nats::jetstream::new(async_nats::connect(system.nats.url()).await?);
    jetstream.delete_stream("AGORA_COMMENT").await?;
    system.process(Service::Comment).restart()?;
    system.ready(Service::Comment).await?;

    let moderator = system.client("mo", Role::Moderator)?;
    let (some_kept, some_lost) = (kept.values().next().unwrap(), lost.values().next().unwrap());
    wait_until("the view to forget what its source has not", || async {
        thread(&moderator, &post, true).await.is_ok_and(|thread| thread.comments.len() == 600)
    })
    .await
    .map_err(|error| format!("{error}; {}", system.output()))?;
    wait_until("moderation to forget, too", || async {
        knows_case(&moderator, &some_lost.comment_id).await.is_ok_and(|knows| !knows)
    })
    .await
    .map_err(|error| format!("{error}; {}", system.output()))?;
    assert!(knows_case(&moderator, &some_kept.comment_id).await?);

    // All goes on from there.
    let more = Writers::start(&system, &post, 200)?.finish().await?;
    quiet(&system).await?;
    stop.store(true, Ordering::Relaxed);
    let seen = looking.await??;
    let shown = thread(&moderator, &post, true).await?;
    let expected: HashSet<&str> =
        kept.values().chain(more.values()).map(|comment| comment.comment_id.as_str()).collect();
    assert_eq!(shown.comments.iter().map(String::as_str).collect::<HashSet<_>>(), expected);

    let operator = system.client("olga", Role::Operator)?;
    let mut approved = HashSet::new();
    for source in Source::ALL {
        let journal = journal(&operator, source).await?;
        stream_equals_journal(&system, source, &journal).await?;
        for (event, _) in journal {
            let Kind::RevisionDecided(decided) = &event.kind else { continue };
            if decided.decision() == Decision::Approved {
                approved.insert(event.aggregate.unwrap().to_string());
            }
        }
    }
    let leaked: Vec<_> = seen.difference(&approved).collect();
    assert!(leaked.is_empty(), "I7: {leaked:?}");

    // A view that is made now is the same.
    let before = digest(&system).await?;
    let [posts, comments, decisions] = heads(&operator).await.ok_or("a service does not answer")?;
    let position = format!("post:{posts},comment:{comments},moderation:{decisions}");
    system.process(Service::Query).kill().await?;
    fs::remove_file(system.database(Service::Query).with_extension("serving")).ok();
    remove(&system, Service::Query);
    system.process(Service::Query).restart()?;
    system.ready(Service::Query).await?;
    wait_until("a new view", || async { operator.view_includes(SITE, &position).await }).await?;
    assert_eq!(digest(&system).await?, before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_ahead_of_a_source_on_sqlite_is_rewound() -> Result {
    a_source_goes_back(Databases::Files).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_ahead_of_a_source_on_postgres_is_rewound() -> Result {
    a_source_goes_back(Databases::Postgres { replicas: 1 }).await
}
