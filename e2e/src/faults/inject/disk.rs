//! A disk without room.

use std::time::Duration;

use agora_proto::{
    comment::v1::GetCommentRequest,
    moderation::v1::ListCasesRequest,
    post::v1::{CreatePostRequest, ListPostsRequest},
    query::v1::ListFeedRequest,
};
use tokio::time::{Instant, timeout};
use tonic::{Code, Status};
use uuid::Uuid;

use super::{Injector, LOOK_EVERY};
use crate::{
    Client, Disk, Result, Role, Service, SmallDisk,
    faults::{SITE, load::may_retry},
};

/// How long a service may go on before it needs more room: it writes where it has before.
const NOTICED: Duration = Duration::from_secs(30);
/// How much text a post has at most, in bytes.
const POST_BODY: usize = 64 * 1024;
/// How long a call may take.
const WAIT: Duration = Duration::from_secs(3);
/// What a program says that cannot write.
const SIGNS: [&str; 2] = ["disk is full", "no space left on device"];

impl Injector<'_> {
    /// Fills a disk, sees that reads go on, and makes room.
    pub(super) async fn fill(&mut self, disk: Disk, time: Duration) -> Result {
        let before = self.complaints(disk);
        self.disk(disk)?.fill()?;
        let deadline = Instant::now() + NOTICED;
        while self.complaints(disk) == before {
            if Instant::now() > deadline {
                return Err(format!("{disk} has not noticed that its disk is full").into());
            }
            if disk == Disk::Service(Service::Post) {
                self.write_post().await?;
            }
            self.rest(LOOK_EVERY).await?;
        }
        let until = Instant::now() + time;
        while Instant::now() < until {
            if let Disk::Service(service) = disk {
                self.read(service).await?;
            }
            self.rest(LOOK_EVERY).await?;
        }
        self.disk(disk)?.make_room()?;
        if disk == Disk::Nats {
            // It writes nothing more until somebody sees to it.
            self.system.nats.stop().await?;
            self.system.nats.restart().await?;
        }
        Ok(())
    }

    fn disk(&self, disk: Disk) -> Result<&SmallDisk> {
        Ok(self.system.disk(disk).ok_or("there is no such disk")?)
    }

    /// How often it was said that a disk is full.
    fn complaints(&mut self, disk: Disk) -> usize {
        let output = match disk {
            Disk::Service(service) => self.system.process(service).output(),
            Disk::Nats => self.system.nats.output(),
        };
        SIGNS.iter().map(|sign| output.matches(sign).count()).sum()
    }

    /// Writes a large post, as nobody else does; without room it is refused cleanly.
    async fn write_post(&mut self) -> Result {
        let request = CreatePostRequest {
            site: SITE.into(),
            title: "needs room".into(),
            body: "x".repeat(POST_BODY),
            request_id: Uuid::now_v7().to_string(),
            ..Default::default()
        };
        let mut posts = self.system.client("author", Role::Author)?.post;
        match timeout(WAIT, posts.create_post(request)).await {
            Ok(Err(status)) if !may_retry(&status) => {
                let said = format!("{:?} {}", status.code(), status.message());
                self.findings.push(format!("a post without room is refused: {said}"));
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads go on without room.
    async fn read(&mut self, service: Service) -> Result {
        let client = self.system.each(service, "reader", Role::Moderator)?.swap_remove(0);
        let read = timeout(WAIT, read(&client, service)).await;
        let failed = match read {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(status)) => status.message().to_owned(),
            Err(_) => "no answer".to_owned(),
        };
        self.findings.push(format!("{service} does not answer reads without room: {failed}"));
        Ok(())
    }
}

async fn read(client: &Client, service: Service) -> Result<(), Status> {
    let site = || SITE.to_owned();
    match service {
        Service::Post => {
            let request = ListPostsRequest { site: site(), ..Default::default() };
            client.post.clone().list_posts(request).await.map(drop)
        }
        Service::Comment => {
            let comment_id = Uuid::now_v7().to_string();
            let request = GetCommentRequest { site: site(), comment_id, ..Default::default() };
            match client.comment.clone().get_comment(request).await {
                // As a read that the database has answered says.
                Err(status) if status.code() == Code::NotFound => Ok(()),
                answer => answer.map(drop),
            }
        }
        Service::Moderation => {
            let request = ListCasesRequest { site: site(), ..Default::default() };
            client.moderation.clone().list_cases(request).await.map(drop)
        }
        Service::Query => {
            let request = ListFeedRequest { site: site(), ..Default::default() };
            client.query.clone().list_feed(request).await.map(drop)
        }
    }
}
