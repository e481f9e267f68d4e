//! Clients that write while things fail, and remember every answer.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use agora_proto::{
    comment::v1::{Comment, CreateCommentRequest},
    post::v1::CreatePostRequest,
};
use e2e::{Client, Result, Role, System, comments};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::{Code, Request};
use uuid::Uuid;

pub const SITE: &str = "kill";

/// What was answered OK, by request id.
pub type Acknowledged = HashMap<Uuid, Comment>;

/// Writers at work.
pub struct Writers {
    tasks: JoinSet<Result>,
    acknowledged: Arc<Mutex<Acknowledged>>,
    total: u64,
}

pub async fn create_post(client: &mut Client, title: &str) -> Result<String> {
    let request =
        CreatePostRequest { site: SITE.into(), title: title.into(), ..Default::default() };
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match client.post.create_post(request.clone()).await {
            Ok(answer) => return Ok(answer.into_inner().post.unwrap().post_id),
            Err(status) if may_retry(&status) && Instant::now() < deadline => {
                sleep(Duration::from_millis(50)).await;
            }
            Err(status) => return Err(status.into()),
        }
    }
}

/// Whether a caller is told, or must assume, that the same call may succeed later.
fn may_retry(status: &tonic::Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Cancelled
            | Code::Unknown
            | Code::Aborted
    )
}

impl Writers {
    /// Starts eight writers that create `total` comments on a post, each with a request
    /// id of its own that every retry repeats.
    pub fn start(system: &System, post: &str, total: u64) -> Result<Self> {
        let texts = Arc::new(comments()?);
        let number = Arc::new(AtomicU64::new(0));
        let acknowledged = Arc::new(Mutex::new(Acknowledged::new()));
        let mut tasks = JoinSet::new();
        for writer in 0..8 {
            let client = system.client(&format!("writer-{writer}"), Role::Author)?;
            let (texts, number, acknowledged) =
                (texts.clone(), number.clone(), acknowledged.clone());
            let post = post.to_owned();
            tasks.spawn(async move {
                loop {
                    let next = number.fetch_add(1, Ordering::Relaxed);
                    if next >= total {
                        return Ok(());
                    }
                    let id = Uuid::now_v7();
                    let request = CreateCommentRequest {
                        site: SITE.into(),
                        post_id: post.clone(),
                        body: texts[next as usize % texts.len()].clone(),
                        request_id: id.to_string(),
                        ..Default::default()
                    };
                    let comment = create(&client, request).await?;
                    acknowledged.lock().unwrap().insert(id, comment);
                }
            });
        }
        Ok(Self { tasks, acknowledged, total })
    }

    /// How many comments were acknowledged so far.
    pub fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Waits until so many are acknowledged.
    pub async fn reach(&self, count: usize) -> Result {
        e2e::wait_until("the writers", || async { self.count() >= count }).await
    }

    /// Waits until all are done, and returns what was acknowledged.
    pub async fn finish(mut self) -> Result<Acknowledged> {
        while let Some(task) = self.tasks.join_next().await {
            task??;
        }
        let acknowledged = std::mem::take(&mut *self.acknowledged.lock().unwrap());
        assert_eq!(acknowledged.len() as u64, self.total);
        Ok(acknowledged)
    }
}

/// Creates one comment, retrying with the same request id as a client should.
async fn create(client: &Client, request: CreateCommentRequest) -> Result<Comment> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let mut call = Request::new(request.clone());
        call.set_timeout(Duration::from_secs(3));
        match client.comment.clone().create_comment(call).await {
            Ok(answer) => return Ok(answer.into_inner().comment.unwrap()),
            Err(status) if may_retry(&status) && Instant::now() < deadline => {
                sleep(Duration::from_millis(20)).await;
            }
            Err(status) => return Err(format!("{status:?}").into()),
        }
    }
}
