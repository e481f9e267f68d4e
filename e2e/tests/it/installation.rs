//! Two installations on one NATS account: none touches what is the other's.

use std::collections::HashMap;

use agora_proto::{
    comment::v1::CreateCommentRequest,
    post::v1::{CreatePostRequest, GetPostRequest, get_post_request::Key},
    query::v1::{GetThreadRequest, get_thread_request::Post},
};
use async_nats::{datetime::DateTime, jetstream::stream};
use bus_schema::{Source, Stream};
use e2e::{Databases, Result, Role, Service, Setup, Stranger, System, program, wait_until};
use tokio::process::Command;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    check::{nothing_lost, quiet, thread},
    metrics::Exposed,
    write::{SITE, Writers, create_post},
};

/// What the log says of a stream that is another's.
const SAID: &str = "the stream is not this installation's";

/// What must stay as it is of a stream that others only look at.
async fn streams(system: &System) -> Result<Vec<(DateTime, HashMap<String, String>)>> {
    let mut found = Vec::new();
    for source in Source::ALL {
        let stream = system.access.stream(source).await?;
        let info = stream.cached_info();
        found.push((info.created, info.config.metadata.clone()));
    }
    Ok(found)
}

async fn comment_stream(system: &System) -> Result<stream::Info> {
    Ok(system.access.stream(Source::Comment).await?.cached_info().clone())
}

fn post_request() -> CreatePostRequest {
    CreatePostRequest { site: SITE.into(), title: "no".into(), ..Default::default() }
}

fn is_halted(status: &Status, why: &str) -> bool {
    let reason = status.get_details_error_info().map(|info| info.reason);
    reason.as_deref() == Some("WRITES_HALTED") && status.message().contains(why)
}

/// Waits until it shows that comments are taken: it is looked every 5 seconds.
async fn comments_are_taken(system: &System) -> Result {
    wait_until("writes to be open", || async {
        let exposed = Exposed::by(system, Service::Comment).await;
        exposed.get("agora_writes_open", &[("source", "comment")]) == Some(1.0)
    })
    .await
}

/// Waits until comments are refused because of the stream, and for this reason.
async fn comments_stop(system: &System, post: &str, why: &str) -> Result {
    // Tried before, one would be taken.
    wait_until("writes to stop", || async {
        let exposed = Exposed::by(system, Service::Comment).await;
        exposed.get("agora_writes_open", &[("source", "comment")]) == Some(0.0)
    })
    .await?;
    let request = CreateCommentRequest {
        site: SITE.into(),
        post_id: post.into(),
        body: "no".into(),
        ..Default::default()
    };
    let client = system.client("ada", Role::Author)?;
    wait_until(why, || async {
        let answer = client.comment.clone().create_comment(request.clone()).await;
        answer.is_err_and(|status| is_halted(&status, why))
    })
    .await
}

/// What `agora admin stream` prints, and whether it succeeds.
async fn stream(system: &System, service: Service, arguments: &[&str]) -> Result<(bool, String)> {
    let output = Command::new(program("agora")?)
        .args(["admin", "stream"])
        .args(arguments)
        .args(["--server", &system.addresses().of(service)[0]])
        .args(["--token", &system.token("olga", Role::Operator)?])
        .output()
        .await?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8(text)?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_one_leaves_the_streams_of_another_alone() -> Result {
    let system = System::start().await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "theirs").await?;
    let mut all = Writers::start(&system, &post, 200)?.finish().await?;
    quiet(&system).await?;
    let before = streams(&system).await?;

    let strangers: Result<Vec<_>> =
        Service::ALL.iter().map(|service| Stranger::start(&system, *service)).collect();
    let strangers = strangers?;
    // Each of them knows the streams that it looks at.
    let known = [1, 3, 3, 3];
    for (service, (stranger, known)) in Service::ALL.into_iter().zip(strangers.iter().zip(known)) {
        let said = || stranger.process.output().matches(SAID).count();
        wait_until("it to see whose streams these are", || async { said() == known })
            .await
            .map_err(|error| format!("{error}: {service}: {}", stranger.process.output()))?;
        let told = "belongs to another installation, e2e; this one is the-other/agora";
        wait_until("its health to say so", || async {
            let health = stranger.health().await;
            health.is_some_and(|(ready, text)| !ready && text.matches(told).count() == known)
        })
        .await
        .map_err(|error| format!("{error}: {service}: {}", stranger.process.output()))?;
    }
    let writer = strangers[Service::Post as usize].client(&system, "eve", Role::Author)?;
    let refused = writer.post.clone().create_post(post_request()).await.unwrap_err();
    assert!(is_halted(&refused, "agora admin stream adopt post"), "{refused:?}");

    // Those whose streams they are notice nothing.
    all.extend(Writers::start(&system, &post, 500)?.finish().await?);
    nothing_lost(&system, &post, &all).await?;
    assert_eq!(streams(&system).await?, before);
    let reader = strangers[Service::Query as usize].client(&system, "eve", Role::Reader)?;
    let request = GetThreadRequest {
        site: SITE.into(),
        post: Some(Post::PostId(post.clone())),
        ..Default::default()
    };
    let nothing = reader.query.clone().get_thread(request).await.unwrap_err();
    assert_eq!(nothing.code(), Code::NotFound, "{nothing:?}");
    for (service, (stranger, known)) in Service::ALL.into_iter().zip(strangers.iter().zip(known)) {
        assert_eq!(stranger.events().await?, 0, "{service}");
        let output = stranger.process.output();
        assert_eq!(output.matches(SAID).count(), known, "{service} printed: {output}");
    }
    Ok(())
}

/// Has the services of a system start again on another NATS server.
async fn moved(system: &mut System, url: &str) -> Result {
    for service in Service::ALL {
        let process = system.process(service);
        process.stop().await?;
        process.become_program(&program("agora")?, Some(("AGORA_NATS__URL", url)));
        process.restart()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_with_content_leaves_the_streams_of_another_alone() -> Result {
    let theirs = System::start().await?;
    let their_post = create_post(&mut theirs.client("ada", Role::Author)?, "theirs").await?;
    let mut their_all = Writers::start(&theirs, &their_post, 300)?.finish().await?;
    quiet(&theirs).await?;
    let before = streams(&theirs).await?;
    let setup = Setup { installation: "ours", ..Setup::new(Databases::Files) };
    let mut ours = System::start_with(setup).await?;
    let post = create_post(&mut ours.client("ada", Role::Author)?, "ours").await?;
    let mut all = Writers::start(&ours, &post, 100)?.finish().await?;
    let heads = quiet(&ours).await?;
    let client = ours.client("ada", Role::Author)?;
    let shown = thread(&client, &post, false).await?.comments;

    let (their_nats, our_nats) = (theirs.nats.url(), ours.nats.url());
    moved(&mut ours, &their_nats).await?;
    comments_stop(&ours, &post, "belongs to another installation, e2e").await?;
    // What is there, can be read.
    let request = GetPostRequest {
        site: SITE.into(),
        key: Some(Key::PostId(post.clone())),
        ..Default::default()
    };
    let read = client.post.clone().get_post(request).await;
    assert!(read.is_ok(), "{read:?}");
    assert_eq!(thread(&client, &post, false).await?.comments, shown);
    let refused = thread(&client, &their_post, false).await.err();
    assert!(refused.is_some(), "their post is shown");
    // It is not theirs to take over either: it begins with another event.
    let arguments = ["adopt", "post", "--from", "e2e"];
    let (done, said) = stream(&ours, Service::Post, &arguments).await?;
    assert!(!done && said.contains("its first event is not this journal's"), "{said}");

    their_all.extend(Writers::start(&theirs, &their_post, 200)?.finish().await?);
    nothing_lost(&theirs, &their_post, &their_all).await?;
    assert_eq!(streams(&theirs).await?, before);

    moved(&mut ours, &our_nats).await?;
    assert_eq!(quiet(&ours).await?, heads);
    all.extend(Writers::start(&ours, &post, 100)?.finish().await?);
    nothing_lost(&ours, &post, &all).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_an_older_version_waits_until_it_is_adopted() -> Result {
    let mut system = System::start().await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "older").await?;
    let mut all = Writers::start(&system, &post, 200)?.finish().await?;
    quiet(&system).await?;
    comments_are_taken(&system).await?;
    // What those hold that never knew of names.
    let mut config = comment_stream(&system).await?.config;
    config.metadata.remove(Stream::INSTALLATION_KEY);
    system.access.jetstream().await?.update_stream(&config).await?;
    let processes = Service::ALL.map(|service| system.process(service).id());

    comments_stop(&system, &post, "names no installation").await?;
    let (done, said) = stream(&system, Service::Comment, &["status", "comment"]).await?;
    assert!(done && said.contains("200 messages, of no installation;"), "{said}");
    let wrong = ["adopt", "comment", "--from", "somebody"];
    let (done, said) = stream(&system, Service::Comment, &wrong).await?;
    assert!(!done && said.contains("takes it without --from"), "{said}");
    let (done, said) = stream(&system, Service::Comment, &["adopt", "comment"]).await?;
    assert!(done && said.contains("belongs to the installation e2e now; it named none"), "{said}");
    let (done, said) = stream(&system, Service::Comment, &["adopt", "comment"]).await?;
    assert!(done && said.contains("belongs to this installation, e2e, already"), "{said}");
    let (_, said) = stream(&system, Service::Comment, &["status", "comment"]).await?;
    assert!(said.contains("of the installation e2e; "), "{said}");

    all.extend(Writers::start(&system, &post, 100)?.finish().await?);
    nothing_lost(&system, &post, &all).await?;
    assert_eq!(Service::ALL.map(|service| system.process(service).id()), processes);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_another_one_made_meanwhile_is_left_to_it() -> Result {
    let mut system = System::start().await?;
    let post = create_post(&mut system.client("ada", Role::Author)?, "meanwhile").await?;
    let mut all = Writers::start(&system, &post, 200)?.finish().await?;
    quiet(&system).await?;
    comments_are_taken(&system).await?;
    let jetstream = system.access.jetstream().await?;
    let mut config = comment_stream(&system).await?.config;
    let name = config.name.clone();
    config.metadata.insert(Stream::INSTALLATION_KEY.into(), Stranger::INSTALLATION.into());
    // Else it would make the stream before we do.
    system.process(Service::Comment).pause().await?;
    jetstream.delete_stream(&name).await?;
    jetstream.create_stream(config).await?;
    system.process(Service::Comment).resume().await?;

    comments_stop(&system, &post, "belongs to another installation, the-other/agora").await?;
    let query = async || system.health(Service::Query).await.unwrap_or_default();
    wait_until("readers to see it", || async {
        query().await.contains("stream AGORA_COMMENT belongs to another installation")
    })
    .await?;
    assert_eq!(comment_stream(&system).await?.state.messages, 0, "something was published");
    let (done, said) = stream(&system, Service::Comment, &["adopt", "comment"]).await?;
    assert!(
        !done && said.contains("adopt comment --from the-other/agora` takes it away"),
        "{said}"
    );

    let arguments = ["adopt", "comment", "--from", Stranger::INSTALLATION];
    let (done, said) = stream(&system, Service::Comment, &arguments).await?;
    let expected = "it was the-other/agora's; 200 events of the journal are published next";
    assert!(done && said.contains(expected), "{said}");
    all.extend(Writers::start(&system, &post, 100)?.finish().await?);
    nothing_lost(&system, &post, &all).await
}
