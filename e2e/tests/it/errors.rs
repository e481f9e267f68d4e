//! Wrong input: each gets the right code and reason, all field violations at once, and
//! changes nothing.

use agora_proto::{
    comment::v1::{CreateCommentRequest, ListCommentsRequest, UpdateCommentRequest},
    moderation::v1::{Mode, Policy, SetPolicyRequest},
    post::v1::{CreatePostRequest, GetPostRequest, ListPostsRequest, get_post_request},
    query::v1::{GetThreadRequest, ListFeedRequest, get_thread_request::Post},
};
use e2e::{Client, Result, Role, System};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::write::{SITE, create_post};

/// Checks code and reason of an error, and which fields it names.
#[track_caller]
fn refused<T: std::fmt::Debug>(
    answer: Result<T, Status>,
    code: Code,
    reason: &str,
    fields: &[&str],
) {
    let status = answer.expect_err(reason);
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!((status.code(), info.reason.as_str()), (code, reason), "{status:?}");
    assert_eq!(info.domain, "agora");
    let named: Vec<_> = details
        .bad_request()
        .map(|bad| bad.field_violations.iter().map(|v| v.field.as_str()).collect())
        .unwrap_or_default();
    for field in fields {
        assert!(named.contains(field), "{field} is not among {named:?}");
    }
}

fn post(title: &str) -> CreatePostRequest {
    CreatePostRequest { site: SITE.into(), title: title.into(), ..Default::default() }
}

fn comment(post: &str, body: &str) -> CreateCommentRequest {
    CreateCommentRequest {
        site: SITE.into(),
        post_id: post.into(),
        body: body.into(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_error_once() -> Result {
    let system = System::start().await?;
    let mut ada = system.client("ada", Role::Author)?;
    let id = create_post(&mut ada, "errors").await?;

    fields(&mut ada, &id).await;
    requests(&mut ada, &id).await;
    lists(&mut ada, &id).await;
    raw_bytes(&ada, &id).await;
    callers(&system, &id).await?;
    policies(&system).await?;

    // Nothing of all that has changed anything.
    let comments =
        ListCommentsRequest { site: SITE.into(), post_id: id.clone(), ..Default::default() };
    let left = ada.comment.list_comments(comments).await?.into_inner().comments;
    assert_eq!(left.len(), 1, "{left:?}");
    let posts = ListPostsRequest { site: SITE.into(), ..Default::default() };
    assert_eq!(ada.post.list_posts(posts).await?.into_inner().posts.len(), 1);
    Ok(())
}

async fn fields(ada: &mut Client, id: &str) {
    let invalid = Code::InvalidArgument;
    let many = CreatePostRequest {
        site: "No Slug".into(),
        title: "x".repeat(301),
        body: "a\u{7}".into(),
        request_id: "seven".into(),
        ..Default::default()
    };
    let named = ["site", "title", "body", "request_id"];
    refused(ada.post.create_post(many).await, invalid, "INVALID_FIELDS", &named);
    refused(ada.post.create_post(post(" ")).await, invalid, "INVALID_FIELDS", &["title"]);
    let long = comment(id, &"x".repeat(16 * 1024 + 1));
    refused(ada.comment.create_comment(long).await, invalid, "INVALID_FIELDS", &["body"]);
    let large = comment(id, &"x".repeat(2 * 1024 * 1024));
    let answer = ada.comment.create_comment(large).await.unwrap_err();
    let details = answer.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "REQUEST_TOO_LARGE", "{answer:?}");

    let unknown = Uuid::now_v7().to_string();
    let answer = ada.comment.create_comment(comment(&unknown, "hello")).await;
    refused(answer, Code::NotFound, "POST_NOT_FOUND", &[]);
    let elsewhere = CreateCommentRequest { site: "other".into(), ..comment(id, "hello") };
    let answer = ada.comment.create_comment(elsewhere).await;
    refused(answer, Code::NotFound, "POST_NOT_FOUND", &[]);
    let orphan = CreateCommentRequest { parent_id: unknown.clone(), ..comment(id, "hello") };
    let answer = ada.comment.create_comment(orphan).await;
    refused(answer, Code::NotFound, "PARENT_NOT_FOUND", &[]);
    let thread = GetThreadRequest {
        site: "other".into(),
        post: Some(Post::PostId(id.into())),
        ..Default::default()
    };
    refused(ada.query.get_thread(thread).await, Code::NotFound, "POST_NOT_FOUND", &[]);
}

async fn requests(ada: &mut Client, id: &str) {
    let request_id = Uuid::now_v7().to_string();
    let request = CreateCommentRequest { request_id: request_id.clone(), ..comment(id, "one") };
    let first = ada.comment.create_comment(request.clone()).await.unwrap().into_inner();
    let again = ada.comment.create_comment(request).await.unwrap().into_inner();
    assert_eq!(first.comment, again.comment);
    let reused = CreateCommentRequest { request_id, ..comment(id, "another") };
    let answer = ada.comment.create_comment(reused).await;
    refused(answer, Code::InvalidArgument, "REQUEST_ID_REUSED", &["request_id"]);

    let stale = UpdateCommentRequest {
        site: SITE.into(),
        comment_id: first.comment.unwrap().comment_id,
        revision: 9,
        body: "changed".into(),
        ..Default::default()
    };
    refused(ada.comment.update_comment(stale).await, Code::Aborted, "STALE_REVISION", &[]);
    let early = GetThreadRequest {
        site: SITE.into(),
        post: Some(Post::PostId(id.into())),
        position: "comment:1000000".into(),
        ..Default::default()
    };
    let answer = ada.query.get_thread(early).await;
    refused(answer, Code::DeadlineExceeded, "POSITION_NOT_REACHED", &[]);
}

async fn lists(ada: &mut Client, id: &str) {
    let invalid = Code::InvalidArgument;
    let negative = ListPostsRequest { site: SITE.into(), page_size: -1, ..Default::default() };
    refused(ada.post.list_posts(negative).await, invalid, "INVALID_FIELDS", &["page_size"]);
    let made_up = ListFeedRequest {
        site: SITE.into(),
        page_token: "bm90IGEgdG9rZW4".into(),
        ..Default::default()
    };
    let answer = ada.query.list_feed(made_up).await;
    refused(answer, invalid, "INVALID_PAGE_TOKEN", &["page_token"]);
    let position = GetPostRequest {
        site: SITE.into(),
        key: Some(get_post_request::Key::PostId(id.into())),
        position: "nowhere".into(),
    };
    refused(ada.post.get_post(position).await, invalid, "INVALID_FIELDS", &["position"]);
}

/// A body that is not UTF-8: no generated client can send it.
async fn raw_bytes(ada: &Client, id: &str) {
    let mut bytes = prost::Message::encode_to_vec(&comment(id, "hello"));
    let at = bytes.windows(5).position(|five| five == b"hello").unwrap();
    bytes[at] = 0xff;
    let answer = ada.raw("/agora.comment.v1.CommentService/CreateComment", bytes).await;
    refused(answer, Code::InvalidArgument, "MALFORMED_REQUEST", &[]);
}

async fn callers(system: &System, id: &str) -> Result {
    let write = comment(id, "who am I");
    let mut anonymous = system.anonymous()?;
    let answer = anonymous.comment.create_comment(write.clone()).await;
    refused(answer, Code::Unauthenticated, "TOKEN_MISSING", &[]);

    let forged = system.token("ada", Role::Author)?.replace('.', "x.");
    let foreign = {
        let key = chassis::auth::token::generate_key()?;
        e2e::token(&key.private_pem, "ada", Role::Admin)?
    };
    for token in [forged, foreign, "nonsense".to_owned()] {
        let mut caller = system.client_with(&token)?;
        let answer = caller.comment.create_comment(write.clone()).await;
        refused(answer, Code::Unauthenticated, "TOKEN_INVALID", &[]);
    }

    let mut author = system.client("bob", Role::Author)?;
    let request = SetPolicyRequest {
        site: SITE.into(),
        policy: Some(Policy { mode: Mode::HoldAll.into(), ..Default::default() }),
        ..Default::default()
    };
    let answer = author.moderation.set_policy(request).await;
    refused(answer, Code::PermissionDenied, "PERMISSION_DENIED", &[]);

    let list = ListCommentsRequest { site: SITE.into(), post_id: id.into(), ..Default::default() };
    let mut ada = system.client("ada", Role::Author)?;
    let comments = ada.comment.list_comments(list).await?.into_inner().comments;
    let theirs = UpdateCommentRequest {
        site: SITE.into(),
        comment_id: comments[0].comment_id.clone(),
        body: "mine now".into(),
        ..Default::default()
    };
    let answer = author.comment.update_comment(theirs).await;
    refused(answer, Code::PermissionDenied, "NOT_THE_AUTHOR", &[]);
    Ok(())
}

async fn policies(system: &System) -> Result {
    let mut admin = system.client("root", Role::Admin)?;
    let policy = |pattern: &str| SetPolicyRequest {
        site: SITE.into(),
        policy: Some(Policy {
            site: SITE.into(),
            mode: Mode::ApproveUnlessHeld.into(),
            suspect_patterns: vec!["fine".into(), pattern.into()],
            ..Default::default()
        }),
        ..Default::default()
    };
    for pattern in ["(unclosed", "((a{1,100}){1,100}){1,100}"] {
        let answer = admin.moderation.set_policy(policy(pattern)).await;
        let fields = ["policy.suspect_patterns[1]"];
        refused(answer, Code::InvalidArgument, "INVALID_FIELDS", &fields);
    }
    Ok(())
}
