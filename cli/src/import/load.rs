//! Loads one file: a post and, under it, a comment per row.
//!
//! Every write has a request id that follows from the site, the file's name and the
//! row: however often a file is loaded, and wherever that was broken off, each row has
//! one effect.

use std::{collections::HashSet, path::Path, pin::pin};

use agora_proto::{
    comment::v1::{Attribution, CreateCommentRequest, ListCommentsRequest},
    moderation::v1::{CaseState, ListCasesRequest},
    post::{
        self,
        v1::{CreatePostRequest, GetPostRequest, Post, PostState, get_post_request},
    },
    query::v1::ListFeedRequest,
};
use eventstore::Position;
use futures::{StreamExt as _, stream};
use prost_types::Timestamp;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use uuid::Uuid;

use super::{
    clean,
    report::{Report, Skipped},
    rows::{Comment, Row, Rows},
};
use crate::{
    client::{Client, Patience, retry, rpc},
    error::{self, Error},
    progress::Progress,
};

/// How many comments are on their way at the same time.
pub const IN_FLIGHT: usize = 64;
/// How many characters a post's title has at most.
const MAX_TITLE: usize = 300;
/// How many ids of comments are asked for at once.
const PAGE_SIZE: i32 = 500;
/// How many pages of the queue are looked through for what was held.
const MAX_QUEUE_PAGES: usize = 40;

/// A file to load, whose header was found to be right.
pub struct Source<'a> {
    pub path: &'a Path,
    /// Its name without folders and ending.
    pub stem: String,
    pub rows: u64,
    /// Rows of a later time have no time.
    pub now: Timestamp,
}

impl<'a> Source<'a> {
    /// Reads a file once, to know how many rows it has.
    pub fn open(path: &'a Path, now: Timestamp) -> Result<Self, Error> {
        let rows = Rows::open(path, now)?.count() as u64;
        let stem = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { path, stem, rows, now })
    }

    fn draft(&self) -> Draft {
        Draft {
            name: self.path.display().to_string(),
            external_key: format!("youtube-csv:{}", self.stem),
            title: clean::name(&self.stem).chars().take(MAX_TITLE).collect(),
            body: String::new(),
            attribution: None,
        }
    }
}

/// A post to load comments under.
pub struct Draft {
    /// What it comes from, for people.
    pub name: String,
    /// It is found by this.
    pub external_key: String,
    pub title: String,
    pub body: String,
    /// Who wrote it and when, if not who loads it now.
    pub attribution: Option<post::v1::Attribution>,
}

/// A post that is there, and its comments.
pub struct Loading<'c> {
    client: &'c Client,
    post_id: Uuid,
    /// The ids of the comments that it had before.
    there: HashSet<String>,
}

/// What became of a row.
pub enum Outcome {
    Written { comment_id: String, has_date: bool, position: Position },
    Skipped(String),
    Failed(Error),
}

/// Loads a file until its end or until `stop`. The report says how far it came, also
/// where it failed.
pub async fn load(
    client: &Client,
    source: &Source<'_>,
    stop: &CancellationToken,
) -> (Report, Result<(), Error>) {
    let mut report = Report { file: source.path.display().to_string(), ..Report::default() };
    let done = load_into(client, source, stop, &mut report).await;
    report.stopped = report.rows < source.rows;
    report.skipped.sort_by_key(|skipped| skipped.row);
    (report, done)
}

async fn load_into(
    client: &Client,
    source: &Source<'_>,
    stop: &CancellationToken,
    report: &mut Report,
) -> Result<(), Error> {
    let loading = Loading::start(client, &source.draft(), report).await?;
    let loading = &loading;
    let rows = Rows::open(source.path, source.now)?;
    let mut progress = Progress::start(&source.stem, source.rows, "rows");
    let outcomes = stream::iter(rows)
        .take_until(stop.cancelled())
        .map(|Row { number, comment }| async move {
            let outcome = match comment {
                Ok(comment) => loading.write(comment, String::new()).await,
                Err(reason) => Outcome::Skipped(reason),
            };
            (number, outcome)
        })
        .buffer_unordered(IN_FLIGHT);
    let mut outcomes = pin!(outcomes);
    let mut failed = Ok(());
    while let Some((row, outcome)) = outcomes.next().await {
        progress.step();
        if let Err(error) = loading.note(report, row, outcome) {
            failed = Err(error);
            break;
        }
    }
    progress.finish();
    failed
}

impl<'c> Loading<'c> {
    /// Finds or makes the post, and what it has already.
    pub async fn start(
        client: &'c Client,
        draft: &Draft,
        report: &mut Report,
    ) -> Result<Self, Error> {
        let post = find_or_create(client, draft).await?;
        report.post_id = post.post_id.clone();
        let post_id = Uuid::try_parse(&post.post_id)
            .map_err(Error::failed("the server named the post by another id than a UUID"))?;
        let there = comment_ids(client, &post.post_id).await?;
        Ok(Self { client, post_id, there })
    }

    /// Writes a comment: a reply to `parent_id`, or to the post if that is empty.
    pub async fn write(&self, comment: Comment, parent_id: String) -> Outcome {
        let has_date = comment.time.is_some();
        let request = self.request(comment, parent_id);
        let written = retry(Patience::Import, || {
            let mut comments = self.client.comments();
            let request = request.clone();
            async move { comments.create_comment(request).await }
        })
        .await;
        match written {
            Ok(answer) => {
                let answer = answer.into_inner();
                let position = answer.position.parse().unwrap_or(Position::ZERO);
                let comment_id = answer.comment.unwrap_or_default().comment_id;
                Outcome::Written { comment_id, has_date, position }
            }
            Err(status) => refused(status),
        }
    }

    fn request(&self, comment: Comment, parent_id: String) -> CreateCommentRequest {
        CreateCommentRequest {
            site: self.client.site(),
            post_id: self.post_id.to_string(),
            parent_id,
            body: comment.body,
            request_id: Uuid::new_v5(&self.post_id, comment.key.as_bytes()).to_string(),
            attribution: Some(Attribution {
                author_id: comment.author_id,
                author_name: comment.author_name,
                create_time: comment.time,
            }),
            ..CreateCommentRequest::default()
        }
    }

    /// Counts what became of a row, and says which comment it is now, if it is one.
    pub fn note(
        &self,
        report: &mut Report,
        row: u64,
        outcome: Outcome,
    ) -> Result<Option<String>, Error> {
        let written = match outcome {
            Outcome::Written { comment_id, has_date, position } => {
                report.position = report.position.merge(position);
                let new = !self.there.contains(&comment_id);
                report.imported += u64::from(new);
                report.already_there += u64::from(!new);
                report.without_date += u64::from(new && !has_date);
                Some(comment_id)
            }
            Outcome::Skipped(reason) => {
                report.skipped.push(Skipped { row, reason });
                None
            }
            Outcome::Failed(error) => return Err(error),
        };
        report.rows += 1;
        Ok(written)
    }
}

/// The post of a draft: the one that is there, else a new one.
async fn find_or_create(client: &Client, draft: &Draft) -> Result<Post, Error> {
    let request = GetPostRequest {
        site: client.site(),
        key: Some(get_post_request::Key::ExternalKey(draft.external_key.clone())),
        position: String::new(),
    };
    let found = retry(Patience::Import, || {
        let mut posts = client.posts();
        let request = request.clone();
        async move { posts.get_post(request).await }
    })
    .await;
    let post = match found {
        Ok(answer) => answer.into_inner().post.unwrap_or_default(),
        Err(status) if status.code() == Code::NotFound => create_post(client, draft).await?,
        Err(status) => return Err(status.into()),
    };
    if post.state() == PostState::Closed {
        return Err(Error::plain(format!(
            "post {} of {} is closed for comments: agora post reopen {} --site {}",
            post.post_id,
            draft.name,
            post.post_id,
            client.site()
        )));
    }
    Ok(post)
}

async fn create_post(client: &Client, draft: &Draft) -> Result<Post, Error> {
    // An earlier post of this draft may have been deleted; its request id tells that one.
    let mut origin = Uuid::new_v5(&Uuid::NAMESPACE_URL, client.site().as_bytes());
    loop {
        let request_id = Uuid::new_v5(&origin, draft.external_key.as_bytes());
        let request = CreatePostRequest {
            site: client.site(),
            external_key: draft.external_key.clone(),
            title: draft.title.clone(),
            body: draft.body.clone(),
            attribution: draft.attribution.clone(),
            request_id: request_id.to_string(),
            ..CreatePostRequest::default()
        };
        let created = retry(Patience::Import, || {
            let mut posts = client.posts();
            let request = request.clone();
            async move { posts.create_post(request).await }
        })
        .await?;
        let post = created.into_inner().post.unwrap_or_default();
        let current = current(client, &post.post_id).await?;
        if current.state() != PostState::Deleted {
            return Ok(current);
        }
        origin = request_id;
    }
}

/// A post as it is now: the answer to a retried request is what it was.
async fn current(client: &Client, post_id: &str) -> Result<Post, Error> {
    let request = GetPostRequest {
        site: client.site(),
        key: Some(get_post_request::Key::PostId(post_id.to_owned())),
        position: String::new(),
    };
    let answer = retry(Patience::Import, || {
        let mut posts = client.posts();
        let request = request.clone();
        async move { posts.get_post(request).await }
    })
    .await?;
    Ok(answer.into_inner().post.unwrap_or_default())
}

/// The ids of a post's comments: they tell what was written before from what is new.
async fn comment_ids(client: &Client, post_id: &str) -> Result<HashSet<String>, Error> {
    let mut ids = HashSet::new();
    let mut request = ListCommentsRequest {
        site: client.site(),
        post_id: post_id.to_owned(),
        page_size: PAGE_SIZE,
        ..ListCommentsRequest::default()
    };
    loop {
        let listed = retry(Patience::Import, || {
            let mut comments = client.comments();
            let request = request.clone();
            async move { comments.list_comments(request).await }
        })
        .await;
        let answer = match listed {
            Ok(answer) => answer.into_inner(),
            // The comment service has not heard of the post, so that it has no comments.
            Err(status) if status.code() == Code::NotFound => return Ok(ids),
            Err(status) => return Err(status.into()),
        };
        ids.extend(answer.comments.into_iter().map(|comment| comment.comment_id));
        if answer.next_page_token.is_empty() {
            return Ok(ids);
        }
        request.page_token = answer.next_page_token;
    }
}

/// What a refusal means: something about this row, or something that the next rows
/// would meet too.
fn refused(status: Status) -> Outcome {
    let reason = error::reason(&status);
    match (status.code(), reason.as_str()) {
        (_, "REQUEST_ID_REUSED") => {
            Outcome::Skipped("was imported before with other content".to_owned())
        }
        (_, "POST_CLOSED" | "POST_DELETED") => Outcome::Failed(status.into()),
        (
            Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::NotFound
            | Code::Internal,
            _,
        ) => Outcome::Skipped(format!("was refused: {} ({reason})", status.message())),
        _ => Outcome::Failed(status.into()),
    }
}

/// Waits until moderation has judged what was written and readers are shown that. If it
/// takes long, readers see it a little later. Returns the position that includes it.
pub async fn settle(client: &Client, position: Position) -> String {
    let written = position.to_string();
    let judged = retry(Patience::Import, || {
        let (site, position) = (client.site(), position.to_string());
        let request = ListCasesRequest { site, page_size: 1, position, ..Default::default() };
        let mut moderation = client.moderation();
        async move { moderation.list_cases(request).await }
    });
    let Ok(judged) = judged.await else { return written };
    let position = judged.into_inner().position;
    let shown = retry(Patience::Import, || {
        let (site, position) = (client.site(), position.clone());
        let request = ListFeedRequest { site, page_size: 1, position, ..Default::default() };
        let mut query = client.query();
        async move { query.list_feed(request).await }
    });
    shown.await.ok();
    position
}

/// How many comments on some posts wait for a moderator, and whether there may be more; none
/// if the caller may not know.
pub async fn held(client: &Client, posts: &HashSet<&str>, position: &str) -> Option<(u64, bool)> {
    let mut request = ListCasesRequest {
        site: client.site(),
        state: CaseState::Open.into(),
        page_size: PAGE_SIZE,
        position: position.to_owned(),
        ..Default::default()
    };
    let mut held = 0;
    for _ in 0..MAX_QUEUE_PAGES {
        let answer = rpc!(client.moderation().list_cases(request)).ok()?;
        let here = answer.cases.iter().filter(|case| posts.contains(case.post_id.as_str()));
        held += here.count() as u64;
        if answer.next_page_token.is_empty() {
            return Some((held, false));
        }
        request.page_token = answer.next_page_token;
    }
    Some((held, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_one_row_does_not_end_the_import() {
        assert!(matches!(refused(Status::invalid_argument("x")), Outcome::Skipped(_)));
        assert!(matches!(refused(Status::permission_denied("x")), Outcome::Failed(_)));
        assert!(matches!(refused(Status::unavailable("x")), Outcome::Failed(_)));
    }
}
