//! Who reads without a token.

use std::{
    sync::atomic::Ordering,
    time::{Instant, SystemTime},
};

use agora_proto::query::v1::{
    GetThreadRequest, GetThreadResponse, ListFeedRequest, ServedFrom, ThreadComment, Visibility,
    get_thread_request::Post,
};
use bus_schema::Source;
use eventstore::Position;
use rand::RngExt as _;
use tonic::{Code, Request};

use super::{CALL, Caller};
use crate::{
    Result,
    faults::{SITE, record::Method},
};

/// How far a reader has seen the view be.
#[derive(Default)]
struct Seen {
    position: Position,
    /// How often the view had been lost then.
    lost_views: u64,
}

impl Caller {
    /// Reads threads as everybody, and remembers what was shown. What a view shows does not
    /// go back, but by what its source has lost: looked at where there is one view alone.
    pub(super) async fn read(mut self, is_alone: bool) -> Result {
        let mut seen = Seen::default();
        // The first of the calls that were not answered yet.
        let mut begun: Option<(SystemTime, Instant)> = None;
        let method = Method::of::<GetThreadRequest>();
        while self.goes_on() {
            let lost_views = self.shared.lost_views.load(Ordering::Acquire);
            if seen.lost_views != lost_views {
                seen = Seen { lost_views, ..Seen::default() };
            }
            let post = self.rng.random_range(0..self.shared.posts.len());
            let request = GetThreadRequest {
                site: SITE.into(),
                post: Some(Post::PostId(self.shared.posts[post].clone())),
                page_size: 20,
                ..Default::default()
            };
            let mut request = Request::new(request);
            request.set_timeout(CALL);
            let called = SystemTime::now();
            let (at, since) = *begun.get_or_insert_with(|| (called, Instant::now()));
            let answer = self.client.query.clone().get_thread(request).await;
            match &answer {
                Ok(_) => {
                    begun = None;
                    self.was_late(at, since, method);
                    let mut told = self.shared.record.told();
                    told.slowest_read = told.slowest_read.max(since.elapsed());
                }
                Err(status) => self.shared.record.failed(called, method, status),
            }
            match answer {
                Ok(answer) => {
                    let answer = answer.into_inner();
                    if is_alone && answer.served_from() == ServedFrom::View {
                        self.goes_not_back(&mut seen, answer.position.parse()?);
                    }
                    self.remember(answer)?;
                }
                // A view that is empty knows no post, and says so in a list only.
                Err(status) if is_alone && status.code() == Code::NotFound => {
                    let request = ListFeedRequest { site: SITE.into(), ..Default::default() };
                    if let Ok(answer) = self.client.query.clone().list_feed(request).await {
                        let answer = answer.into_inner();
                        if answer.served_from() == ServedFrom::View {
                            self.goes_not_back(&mut seen, answer.position.parse()?);
                        }
                    }
                }
                Err(status) => self.wait(&status).await,
            }
            self.rest().await;
        }
        Ok(())
    }

    /// The view includes what it did before, of the sources that have lost nothing.
    fn goes_not_back(&self, seen: &mut Seen, position: Position) {
        if self.shared.lost_views.load(Ordering::Acquire) != seen.lost_views {
            return;
        }
        let mut told = self.shared.record.told();
        let lasting = Source::ALL.into_iter().filter(|it| !told.taken.sources.contains(it));
        let lasting: Vec<Source> = lasting.collect();
        if !position.includes(&seen.position, &lasting) {
            let before = seen.position;
            told.findings.push(format!("I6: a reader was at {before}, and then at {position}"));
        }
        seen.position = position;
    }

    fn remember(&self, answer: GetThreadResponse) -> Result {
        let mut told = self.shared.record.told();
        told.reads += 1;
        told.from_owners += u64::from(answer.served_from() == ServedFrom::Owners);
        for comment in answer.comments {
            let ThreadComment { comment_id, revision, body, deleted, .. } = &comment;
            if comment.visibility() != Visibility::Public {
                told.findings.push(format!("I7: {comment_id} is shown and not public"));
            }
            if !deleted {
                told.seen.insert((comment_id.parse()?, *revision, body.clone()));
            }
        }
        Ok(())
    }
}
