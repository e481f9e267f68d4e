//! A second installation on the same NATS server: somebody has set up another Agora, with empty
//! databases, and given it the wrong address.

use std::time::Duration;

use agora_proto::post::v1::CreatePostRequest;
use bus_schema::{Source, Stream};
use tokio::time::{Instant, timeout};

use super::{Injector, LOOK_EVERY};
use crate::{Result, Role, Service, Stranger, faults::SITE};

/// What it says once it has seen whose the streams are.
const SAID: &str = "belongs to another installation";
/// How long it may take until it does.
const PATIENCE: Duration = Duration::from_secs(30);
/// For how long it is there then, and tries again and again.
const STAYS: Duration = Duration::from_secs(3);
/// How long it may take to refuse a write.
const ANSWER: Duration = Duration::from_secs(2);

impl Injector<'_> {
    pub(super) async fn intrude(&mut self, service: Service) -> Result {
        // A stream that is not there at all, belongs to whoever makes it first.
        self.mend().await?;
        self.made().await?;
        let mut stranger = Stranger::start(self.system, service)?;
        let deadline = Instant::now() + PATIENCE;
        let mut said = false;
        while !said && Instant::now() < deadline && stranger.events().await.unwrap_or(0) == 0 {
            self.rest(LOOK_EVERY).await?;
            said = stranger.process.output().contains(SAID);
        }
        self.rest(STAYS).await?;
        if service == Service::Post && self.is_taken(&stranger).await? {
            self.findings.push("the post service of another installation has taken a post".into());
        }
        stranger.process.kill().await?;
        let events = stranger.events().await?;
        if events > 0 {
            let finding = format!("the {service} of another installation holds {events} events");
            self.findings.push(finding);
        } else if !said {
            let finding = format!("the {service} of another installation does not say why");
            self.findings.push(finding);
        }
        Ok(())
    }

    /// Waits until every stream is there.
    async fn made(&mut self) -> Result {
        let deadline = Instant::now() + PATIENCE;
        for source in Source::ALL {
            loop {
                let stream = self.system.access.stream(source).await;
                if stream.is_ok_and(|stream| {
                    stream.cached_info().config.metadata.contains_key(Stream::INSTALLATION_KEY)
                }) {
                    break;
                }
                if Instant::now() > deadline {
                    return Err(format!("there is no stream of {source}").into());
                }
                self.rest(LOOK_EVERY).await?;
            }
        }
        Ok(())
    }

    /// Whether it takes a post.
    async fn is_taken(&self, stranger: &Stranger) -> Result<bool> {
        let client = stranger.client(self.system, "intruder", Role::Author)?;
        let request =
            CreatePostRequest { site: SITE.into(), title: "nobody's".into(), ..Default::default() };
        let answer = timeout(ANSWER, client.post.clone().create_post(request)).await;
        Ok(answer.is_ok_and(|answer| answer.is_ok()))
    }
}
