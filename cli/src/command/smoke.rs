//! `agora smoke`: does a system take writes, judge them and show them?

use std::time::{Duration, Instant};

use agora_proto::{
    comment::v1::{Comment, CreateCommentRequest, DeleteCommentRequest},
    moderation::v1::{ApproveRevisionRequest, Decision, GetCaseRequest},
    post::v1::{CreatePostRequest, DeletePostRequest, Post},
    query::v1::{
        FeedOrder, GetThreadRequest, GetThreadResponse, ListFeedRequest, PostState, ServedFrom,
        ThreadPost, Visibility, get_thread_request,
    },
};
use eventstore::Position;
use serde_json::json;
use tonic::{Request, Response, Status};

use crate::{
    client::{Client, Patience, request_id, retry},
    duration,
    error::Error,
    options::{Options, Role},
    output,
    render::{count, style},
};

const EXAMPLES: &str = "\
Examples:
  agora smoke
  agora smoke --server https://agora.example.org --token-file token
  agora smoke --key key.pem --post-server http://post:7401 \\
    --comment-server http://comment:7402 --moderation-server http://moderation:7403 \\
    --query-server http://query:7404

It writes a post and a comment, approves the comment if it is held, reads thread and feed
back, compares them with what was written, and deletes both again. It exits with 0 if all
was as it must be, else with 1. Whoever calls needs the role moderator on the site.";

/// The site that it writes on if none is named.
const SITE: &str = "smoke";
/// How long one call may take.
const CALL: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// How long a step is tried while a service is away, overloaded or behind
    #[arg(long, value_parser = duration::parse, default_value = "30s")]
    timeout: Duration,
}

pub async fn run(options: &Options, arguments: Arguments) -> Result<(), Error> {
    let mut options = options.clone();
    options.site.get_or_insert_with(|| SITE.to_owned());
    let client = Client::connect(&options, Role::Moderator).await?;
    let patience = Patience::Check(arguments.timeout);
    let mut smoke = Smoke { client, patience, json: options.json, position: String::new() };
    let began = Instant::now();
    smoke.all().await?;
    if !options.json {
        let ms = began.elapsed().as_millis();
        output::print(style::good(&format!("all is as it must be, after {ms} ms")))?;
    }
    Ok(())
}

struct Smoke {
    client: Client,
    patience: Patience,
    json: bool,
    /// Of the last answer: what the next one must include.
    position: String,
}

impl Smoke {
    async fn all(&mut self) -> Result<(), Error> {
        let post = self.step("create a post", Self::create_post).await?;
        let commented =
            self.step("create a comment", async |smoke| smoke.create_comment(&post).await).await;
        let checked = match &commented {
            Ok(comment) => self.check(&post, comment).await,
            Err(_) => Ok(()),
        };
        // What was made goes, whatever was found.
        let mut deleted = Ok(());
        if let Ok(comment) = &commented {
            let delete = async |smoke: &mut Self| smoke.delete_comment(comment).await;
            deleted = self.step("delete the comment", delete).await;
        }
        let delete = async |smoke: &mut Self| smoke.delete_post(&post).await;
        let deleted_post = self.step("delete the post", delete).await;
        let comment = commented?;
        checked?;
        deleted?;
        deleted_post?;
        let gone = async |smoke: &mut Self| smoke.is_gone(&post, &comment).await;
        self.step("read that both are gone", gone).await
    }

    async fn check(&mut self, post: &Post, comment: &Comment) -> Result<(), Error> {
        self.step("judge the comment", async |smoke| smoke.judge(comment).await).await?;
        let thread = async |smoke: &mut Self| smoke.read_thread(post, comment).await;
        self.step("read the thread", thread).await?;
        self.step("read the feed", async |smoke| smoke.read_feed(post).await).await
    }

    /// Does something, and tells how long it took.
    async fn step<T>(
        &mut self,
        name: &'static str,
        step: impl AsyncFnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let began = Instant::now();
        let done = step(self).await;
        let ms = began.elapsed().as_millis();
        let (word, failed) = match &done {
            Ok(_) => (style::good("ok    "), None),
            Err(error) => (style::bad("FAILED"), Some(error.to_string())),
        };
        output::print(match self.json {
            true => json!({ "step": name, "ms": ms, "failed": failed }).to_string(),
            false => format!("{word}  {name:24} {ms:6} ms"),
        })?;
        done.map_err(|source| Error::Step { step: name, source: Box::new(source) })
    }

    /// Calls a method until the system answers, and includes the answer's position from then on.
    async fn call<M, T, F>(
        &mut self,
        message: M,
        method: impl Fn(Request<M>) -> F,
        position: impl FnOnce(&T) -> &String,
    ) -> Result<T, Error>
    where
        M: Clone,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let answer = retry(self.patience, || {
            let mut request = Request::new(message.clone());
            request.set_timeout(CALL);
            method(request)
        });
        let answer = answer.await?.into_inner();
        // An answer says nothing of sources that its service does not consume.
        let include = |text: &str| text.parse::<Position>().unwrap_or_default();
        self.position = include(&self.position).merge(include(position(&answer))).to_string();
        Ok(answer)
    }

    async fn create_post(&mut self) -> Result<Post, Error> {
        let (posts, request_id) = (self.client.posts(), request_id());
        let request = CreatePostRequest {
            site: self.client.site(),
            title: format!("A check of this system, {request_id}"),
            body: "Written by agora smoke, which deletes it.".to_owned(),
            request_id,
            ..Default::default()
        };
        let create = |request| {
            let mut posts = posts.clone();
            async move { posts.create_post(request).await }
        };
        let answer = self.call(request.clone(), create, |answer| &answer.position).await?;
        let post = answer.post.unwrap_or_default();
        same("title", &post.title, &request.title)?;
        same("body", &post.body, &request.body)?;
        Ok(post)
    }

    async fn create_comment(&mut self, post: &Post) -> Result<Comment, Error> {
        let (comments, request_id) = (self.client.comments(), request_id());
        let request = CreateCommentRequest {
            site: self.client.site(),
            post_id: post.post_id.clone(),
            // No two are alike: a policy may hold what is repeated.
            body: format!("A comment by agora smoke, {request_id}"),
            request_id,
            position: self.position.clone(),
            ..Default::default()
        };
        let create = |request| {
            let mut comments = comments.clone();
            async move { comments.create_comment(request).await }
        };
        let answer = self.call(request.clone(), create, |answer| &answer.position).await?;
        let comment = answer.comment.unwrap_or_default();
        same("body", &comment.body, &request.body)?;
        Ok(comment)
    }

    /// Waits for moderation's decision, and approves what it holds.
    async fn judge(&mut self, comment: &Comment) -> Result<(), Error> {
        let moderation = self.client.moderation();
        let request = GetCaseRequest {
            site: self.client.site(),
            comment_id: comment.comment_id.clone(),
            position: self.position.clone(),
        };
        let get = |request| {
            let mut moderation = moderation.clone();
            async move { moderation.get_case(request).await }
        };
        let case = self.call(request, get, |answer| &answer.position).await?;
        let case = case.moderation_case.unwrap_or_default();
        let decided = case.decision.clone().unwrap_or_default();
        match decided.decision() {
            Decision::Approved => return Ok(()),
            Decision::Rejected => {
                let policy = "the site's policy rejects it: name another site with --site";
                return Err(Error::plain(policy));
            }
            Decision::Pending | Decision::Unspecified => {}
        }
        let request = ApproveRevisionRequest {
            site: self.client.site(),
            comment_id: comment.comment_id.clone(),
            revision_id: case.revision_id,
            request_id: request_id(),
            position: self.position.clone(),
            ..Default::default()
        };
        let approve = |request| {
            let mut moderation = moderation.clone();
            async move { moderation.approve_revision(request).await }
        };
        self.call(request, approve, |answer| &answer.position).await?;
        Ok(())
    }

    async fn thread(&mut self, post: &Post) -> Result<GetThreadResponse, Error> {
        let query = self.client.query();
        let request = GetThreadRequest {
            site: self.client.site(),
            post: Some(get_thread_request::Post::PostId(post.post_id.clone())),
            position: self.position.clone(),
            ..Default::default()
        };
        let get = |request| {
            let mut query = query.clone();
            async move { query.get_thread(request).await }
        };
        self.call(request, get, |answer| &answer.position).await
    }

    async fn read_thread(&mut self, post: &Post, comment: &Comment) -> Result<(), Error> {
        let answer = self.thread(post).await?;
        let shown = answer.post.clone().unwrap_or_default();
        compare(&shown, post)?;
        same("body", &shown.body, &post.body)?;
        let [found] = answer.comments.as_slice() else {
            let comments = count(answer.comments.len() as u64, "comment");
            return Err(Error::plain(format!("it shows {comments} where there is one")));
        };
        same("comment", &found.comment_id, &comment.comment_id)?;
        same("comment's author", &found.author_id, &comment.author_id)?;
        same("comment's body", &found.body, &comment.body)?;
        same("comment's visibility", &found.visibility(), &Visibility::Public)?;
        counted(answer.served_from(), &shown, 1)
    }

    async fn read_feed(&mut self, post: &Post) -> Result<(), Error> {
        let query = self.client.query();
        let request = ListFeedRequest {
            site: self.client.site(),
            order: FeedOrder::Newest.into(),
            position: self.position.clone(),
            ..Default::default()
        };
        let list = |request| {
            let mut query = query.clone();
            async move { query.list_feed(request).await }
        };
        let answer = self.call(request, list, |answer| &answer.position).await?;
        // Newer ones than the first page has were written in the same moment.
        let shown = answer.posts.iter().find(|shown| shown.post_id == post.post_id);
        let shown = shown.ok_or_else(|| Error::plain("the post is not on its first page"))?;
        compare(shown, post)?;
        counted(answer.served_from(), shown, 1)
    }

    async fn delete_comment(&mut self, comment: &Comment) -> Result<(), Error> {
        let comments = self.client.comments();
        let request = DeleteCommentRequest {
            site: self.client.site(),
            comment_id: comment.comment_id.clone(),
            request_id: request_id(),
            position: self.position.clone(),
            ..Default::default()
        };
        let delete = |request| {
            let mut comments = comments.clone();
            async move { comments.delete_comment(request).await }
        };
        self.call(request, delete, |answer| &answer.position).await?;
        Ok(())
    }

    async fn delete_post(&mut self, post: &Post) -> Result<(), Error> {
        let posts = self.client.posts();
        let request = DeletePostRequest {
            site: self.client.site(),
            post_id: post.post_id.clone(),
            request_id: request_id(),
            position: self.position.clone(),
            ..Default::default()
        };
        let delete = |request| {
            let mut posts = posts.clone();
            async move { posts.delete_post(request).await }
        };
        self.call(request, delete, |answer| &answer.position).await?;
        Ok(())
    }

    /// What is deleted keeps its place without content.
    async fn is_gone(&mut self, post: &Post, comment: &Comment) -> Result<(), Error> {
        let answer = self.thread(post).await?;
        let shown = answer.post.clone().unwrap_or_default();
        same("post's state", &shown.state(), &PostState::Deleted)?;
        same("post's title", &shown.title, &String::new())?;
        for found in &answer.comments {
            same("comment", &found.comment_id, &comment.comment_id)?;
            same("deletion of the comment", &found.deleted, &true)?;
            same("comment's body", &found.body, &String::new())?;
        }
        counted(answer.served_from(), &shown, 0)
    }
}

/// A post as query shows it is the one that was written.
fn compare(shown: &ThreadPost, post: &Post) -> Result<(), Error> {
    same("post", &shown.post_id, &post.post_id)?;
    same("post's title", &shown.title, &post.title)?;
    same("post's author", &shown.author_id, &post.author_id)?;
    same("post's revision", &shown.revision, &post.revision)?;
    same("post's state", &shown.state(), &PostState::Open)
}

/// The number of comments is right, where it is known: the owners do not count.
fn counted(served_from: ServedFrom, shown: &ThreadPost, expected: u64) -> Result<(), Error> {
    if served_from == ServedFrom::Owners {
        let why = "the owners' databases have answered: the view is missing, rebuilt or far behind";
        return Err(Error::plain(why));
    }
    same("number of comments", &shown.comment_count, &expected)
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, wanted: &T) -> Result<(), Error> {
    if found == wanted {
        return Ok(());
    }
    Err(Error::plain(format!("the {what} is {found:?}, not {wanted:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_must_equal_what_was_written() {
        let post = Post { post_id: "1".into(), title: "Hello".into(), ..Default::default() };
        let shown = ThreadPost {
            post_id: "1".into(),
            title: "Hello".into(),
            state: PostState::Open.into(),
            comment_count: 1,
            ..Default::default()
        };
        compare(&shown, &post).unwrap();
        let other = ThreadPost { title: "Hullo".into(), ..shown.clone() };
        let said = compare(&other, &post).unwrap_err().to_string();
        assert_eq!(said, "the post's title is \"Hullo\", not \"Hello\"");
        counted(ServedFrom::View, &shown, 1).unwrap();
        counted(ServedFrom::View, &shown, 2).unwrap_err();
        counted(ServedFrom::Owners, &shown, 1).unwrap_err();
    }
}
