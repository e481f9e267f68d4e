//! One database against the other.

use std::{sync::Arc, time::Duration};

use agora_proto::{post::v1::CreatePostRequest, query::v1::ListFeedRequest};
use futures::{FutureExt as _, TryFutureExt as _};

use super::{
    load::{closed_loop, median},
    report::Row,
    rows::{CONNECTIONS, IN_FLIGHT, SITE, creator, per_second},
};
use crate::{Client, Databases, Result, Role, System, wait_until};

/// A system and its callers.
struct Side {
    system: System,
    clients: Vec<Client>,
    post: String,
}

impl Side {
    async fn start(databases: Databases) -> Result<Self> {
        let system = System::start_on(databases).await?;
        let clients: Vec<Client> = (0..CONNECTIONS)
            .map(|_| system.client("bench", Role::Author))
            .collect::<Result<_>>()?;
        let request = CreatePostRequest {
            site: SITE.into(),
            title: "databases".into(),
            ..Default::default()
        };
        let post = clients[0].post.clone().create_post(request).await?.into_inner().post;
        let post = post.ok_or("an answer without a post")?.post_id;
        Ok(Self { system, clients, post })
    }

    /// Comments a second that are created, nothing else being left to do.
    async fn rate(&self, texts: &Arc<Vec<String>>, round: Duration) -> Result<f64> {
        let create = creator(&self.clients, texts, self.post.clone());
        let create = move |worker, number| create(worker, number).map_ok(drop).boxed();
        let rate = closed_loop(IN_FLIGHT, round, create).await?.per_second();
        self.settle().await?;
        Ok(rate)
    }

    /// Waits until the view shows a comment that is written now.
    async fn settle(&self) -> Result {
        let create = creator(&self.clients, &Arc::new(vec!["the last".into()]), self.post.clone());
        let position = create(0, 0).await?.position;
        let moderator = self.system.client("bench", Role::Moderator)?;
        wait_until("the view to catch up", || {
            let mut query = moderator.query.clone();
            let request = ListFeedRequest {
                site: SITE.into(),
                position: position.clone(),
                page_size: 1,
                ..Default::default()
            };
            async move { query.list_feed(request).await.is_ok() }
        })
        .await
    }
}

/// CreateComment on PostgreSQL against CreateComment on SQLite, each with a process for
/// every service.
///
/// # Errors
/// The first error of a call.
pub async fn postgres(texts: Vec<String>, round: Duration, rounds: usize) -> Result<Row> {
    let texts = Arc::new(texts);
    let files = Side::start(Databases::Files).await?;
    let server = Side::start(Databases::Postgres { replicas: 1 }).await?;
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let sqlite = files.rate(&texts, round).await?;
        let postgres = server.rate(&texts, round).await?;
        ratios.push(postgres / sqlite);
        ours.push(postgres);
        theirs.push(sqlite);
    }
    Ok(Row::at_least(
        "CreateComment on PostgreSQL vs on SQLite",
        per_second(median(ours)),
        per_second(median(theirs)),
        median(ratios),
        1.0 / 3.0,
    ))
}
