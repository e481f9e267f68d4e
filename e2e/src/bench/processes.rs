//! A process for every service, as a bench calls them.

use std::{sync::Arc, time::Duration};

use agora_proto::{
    admin::v1::GetJournalHeadRequest, event::v1::Source, moderation::v1::GetPolicyRequest,
    post::v1::CreatePostRequest,
};
use futures::{FutureExt as _, TryFutureExt as _, future::BoxFuture};

use super::{
    load::closed_loop,
    rows::{CONNECTIONS, IN_FLIGHT, SITE, creator},
};
use crate::{Client, Databases, Result, Role, System, wait_until};

/// A system, its callers, and a post that they write on.
pub struct Processes {
    /// The system.
    pub system: System,
    clients: Vec<Client>,
    post: String,
}

impl Processes {
    /// Starts them.
    ///
    /// # Errors
    /// If they do not start.
    pub async fn start(databases: Databases) -> Result<Self> {
        let system = System::start_on(databases).await?;
        let clients: Vec<Client> = (0..CONNECTIONS)
            .map(|_| system.client("bench", Role::Author))
            .collect::<Result<_>>()?;
        let request =
            CreatePostRequest { site: SITE.into(), title: "a post".into(), ..Default::default() };
        let post = clients[0].post.clone().create_post(request).await?.into_inner().post;
        let post = post.ok_or("an answer without a post")?.post_id;
        Ok(Self { system, clients, post })
    }

    /// A call that creates a comment.
    pub fn creator(
        &self,
        texts: &Arc<Vec<String>>,
    ) -> impl Fn(usize, u64) -> BoxFuture<'static, Result> + Send + Sync + 'static {
        let create = creator(&self.clients, texts, self.post.clone());
        move |worker, number| create(worker, number).map_ok(drop).boxed()
    }

    /// Comments a second that are created, nothing else being left to do.
    ///
    /// # Errors
    /// The first error of a call.
    pub async fn rate(&self, texts: &Arc<Vec<String>>, round: Duration) -> Result<f64> {
        let rate = closed_loop(IN_FLIGHT, round, self.creator(texts)).await?.per_second();
        self.settle().await?;
        Ok(rate)
    }

    /// Waits until everything that was written is decided on and in the view.
    ///
    /// # Errors
    /// If that takes too long.
    pub async fn settle(&self) -> Result {
        let operator = self.system.client("bench", Role::Operator)?;
        let admin = self.system.client("bench", Role::Admin)?;
        let request = GetJournalHeadRequest { source: Source::Comment.into() };
        let head = operator.journals.comment.clone().get_journal_head(request).await?;
        let comments = format!("comment:{}", head.into_inner().sequence);
        wait_until("moderation to catch up", || {
            let mut moderation = admin.moderation.clone();
            let (site, position) = (SITE.into(), comments.clone());
            let request = GetPolicyRequest { site, position, ..Default::default() };
            async move { moderation.get_policy(request).await.is_ok() }
        })
        .await?;
        let request = GetJournalHeadRequest { source: Source::Moderation.into() };
        let head = operator.journals.moderation.clone().get_journal_head(request).await?;
        let position = format!("{comments},moderation:{}", head.into_inner().sequence);
        wait_until("the view to catch up", || admin.view_includes(SITE, &position)).await
    }
}
