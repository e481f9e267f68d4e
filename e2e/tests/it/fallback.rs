//! What is answered while the view is missing, or far behind.

use agora_proto::{
    comment::v1::ListCommentsRequest,
    moderation::v1::{ApproveRevisionRequest, ListCasesRequest, RejectRevisionRequest},
    query::v1::{
        GetThreadRequest, GetThreadResponse, ListFeedRequest, ServedFrom, ThreadOrder,
        get_thread_request::Post,
    },
};
use e2e::{Client, Databases, Result, Role, Service, System, wait_until};

use crate::{
    check::{heads, nothing_lost, quiet},
    metrics::Exposed,
    write::{SITE, Writers, create_post},
};

/// The whole thread as everybody sees it: all pages, without what the owners do not tell.
async fn thread(client: &Client, post: &str, order: ThreadOrder) -> Result<(ServedFrom, Thread)> {
    let mut request = GetThreadRequest {
        site: SITE.into(),
        post: Some(Post::PostId(post.into())),
        page_size: 50,
        order: order.into(),
        ..Default::default()
    };
    let mut thread = Thread::new();
    loop {
        let page = client.query.clone().get_thread(request.clone()).await?.into_inner();
        let served_from = page.served_from();
        let GetThreadResponse { comments, next_page_token, .. } = page;
        thread.extend(comments.into_iter().map(|comment| (comment.comment_id, comment.body)));
        if next_page_token.is_empty() {
            return Ok((served_from, thread));
        }
        request.page_token = next_page_token;
    }
}

/// Comments with their texts, in order.
type Thread = Vec<(String, String)>;

async fn served_from(client: &Client, post: &str) -> Option<ServedFrom> {
    let request = GetThreadRequest {
        site: SITE.into(),
        post: Some(Post::PostId(post.into())),
        page_size: 1,
        ..Default::default()
    };
    let answer = client.query.clone().get_thread(request).await.ok()?;
    Some(answer.into_inner().served_from())
}

/// Whether the metrics say this of the fallback.
async fn is_told(system: &System, fallback: f64) -> bool {
    Exposed::by(system, Service::Query).await.get("agora_fallback", &[]) == Some(fallback)
}

async fn owners_answer_while_the_view_is_away(databases: Databases) -> Result {
    let mut system = System::start_on(databases).await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "away").await?;
    let acknowledged = Writers::start(&system, &post, 1_500)?.finish().await?;
    quiet(&system).await?;
    let reader = system.anonymous()?;
    let newest = thread(&reader, &post, ThreadOrder::NewestFirst).await?;
    let oldest = thread(&reader, &post, ThreadOrder::OldestFirst).await?;
    assert_eq!(newest.0, ServedFrom::View);
    assert!(newest.1.len() < acknowledged.len(), "some must be held");

    // Without a bus nothing can be folded.
    system.process(Service::Query).kill().await?;
    for suffix in ["", "-wal", "-shm"] {
        let mut path = system.database(Service::Query).into_os_string();
        path.push(suffix);
        std::fs::remove_file(path).ok();
    }
    system.nats.kill().await?;
    system.process(Service::Query).restart()?;
    wait_until("the owners to answer", || async {
        served_from(&reader, &post).await == Some(ServedFrom::Owners)
    })
    .await?;
    wait_until("it to be told", || is_told(&system, 1.0)).await?;
    assert_eq!(thread(&reader, &post, ThreadOrder::NewestFirst).await?.1, newest.1);
    assert_eq!(thread(&reader, &post, ThreadOrder::OldestFirst).await?.1, oldest.1);
    // Whoever asks: moderators, too, see what everybody sees.
    let moderator = system.client("mod", Role::Moderator)?;
    assert_eq!(thread(&moderator, &post, ThreadOrder::NewestFirst).await?.1, newest.1);

    // A post that was written just now is read with its position.
    let mut author = system.client("ada", Role::Author)?;
    let request = agora_proto::post::v1::CreatePostRequest {
        site: SITE.into(),
        title: "while it is away".into(),
        ..Default::default()
    };
    let written = author.post.create_post(request).await?.into_inner();
    let request =
        ListFeedRequest { site: SITE.into(), position: written.position, ..Default::default() };
    let feed = author.query.list_feed(request).await?.into_inner();
    assert_eq!(feed.served_from(), ServedFrom::Owners);
    assert!(feed.as_of.is_some());
    let titles: Vec<&str> = feed.posts.iter().map(|post| post.title.as_str()).collect();
    assert_eq!(titles, ["while it is away", "away"]);

    system.nats.restart().await?;
    wait_until("the view to answer again", || async {
        served_from(&reader, &post).await == Some(ServedFrom::View)
    })
    .await?;
    wait_until("it to be told", || is_told(&system, 0.0)).await?;
    assert_eq!(thread(&reader, &post, ThreadOrder::NewestFirst).await?, newest);
    nothing_lost(&system, &post, &acknowledged).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_files_answer_while_the_view_is_away() -> Result {
    owners_answer_while_the_view_is_away(Databases::Files).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_databases_answer_while_the_view_is_away() -> Result {
    owners_answer_while_the_view_is_away(Databases::Postgres { replicas: 1 }).await
}

/// What a moderator decides is seen by those whom the owners answer, too (I7).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_show_nothing_that_is_not_approved() -> Result {
    let mut system = System::start().await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "hidden").await?;
    Writers::start(&system, &post, 300)?.finish().await?;
    quiet(&system).await?;
    let reader = system.anonymous()?;
    let before = thread(&reader, &post, ThreadOrder::NewestFirst).await?.1;

    let mut moderator = system.client("mod", Role::Moderator)?;
    let request = ListCasesRequest { site: SITE.into(), page_size: 2, ..Default::default() };
    let cases = moderator.moderation.list_cases(request).await?.into_inner().cases;
    let [approved, rejected] = cases.as_slice() else { return Err("two must be held".into()) };
    let approve = ApproveRevisionRequest {
        site: SITE.into(),
        comment_id: approved.comment_id.clone(),
        revision_id: approved.revision_id.clone(),
        ..Default::default()
    };
    moderator.moderation.approve_revision(approve).await?;
    let reject = RejectRevisionRequest {
        site: SITE.into(),
        comment_id: rejected.comment_id.clone(),
        revision_id: rejected.revision_id.clone(),
        reason: "spam".into(),
        ..Default::default()
    };
    moderator.moderation.reject_revision(reject).await?;
    quiet(&system).await?;

    // The view hangs behind: the query service alone does not hear of anything new.
    system.process(Service::Query).pause().await?;
    Writers::start(&system, &post, 1_200)?.finish().await?;
    let operator = system.client("olga", Role::Operator)?;
    wait_until("the comment service to have every decision", || async {
        let Some([_, comments, decisions]) = heads(&operator).await else { return false };
        let request = ListCommentsRequest {
            site: SITE.into(),
            post_id: post.clone(),
            position: format!("moderation:{decisions}"),
            ..Default::default()
        };
        // And one each for those that were decided by hand.
        decisions.0 == comments.0 + 2
            && moderator.comment.clone().list_comments(request).await.is_ok()
    })
    .await?;
    system.nats.kill().await?;
    system.process(Service::Query).resume().await?;
    wait_until("the owners to answer", || async {
        served_from(&reader, &post).await == Some(ServedFrom::Owners)
    })
    .await?;
    let shown = thread(&reader, &post, ThreadOrder::NewestFirst).await?.1;
    assert!(shown.len() > before.len());
    let ids: Vec<&String> = shown.iter().map(|(id, _)| id).collect();
    assert!(ids.contains(&&approved.comment_id), "what was approved is shown");
    assert!(!ids.contains(&&rejected.comment_id), "what was rejected is not");
    for (id, _) in &before {
        assert!(ids.contains(&id), "{id} is missing");
    }

    system.nats.restart().await?;
    wait_until("the view to answer again", || async {
        served_from(&reader, &post).await == Some(ServedFrom::View)
    })
    .await?;
    assert_eq!(thread(&reader, &post, ThreadOrder::NewestFirst).await?.1, shown);
    Ok(())
}
