use agora_proto::post::v1::GetPostRequest;
use chassis::{auth::Role, testing::Refusal};
use tonic::Code;
use uuid::Uuid;

use super::fixture::{Fixture, SITE, created, find, get};

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let fixture = Fixture::start().await;
    let post = created(&mut fixture.client("ada", Role::Author), "a title").await;
    let elsewhere = GetPostRequest { site: "news".into(), ..get(&post.post_id) };
    let requests = [get(&Uuid::now_v7().to_string()), find("no such key"), elsewhere];
    for request in requests {
        let refusal = Refusal::of(fixture.anonymous().get_post(request.clone()).await);
        assert_eq!(refusal.what(), (Code::NotFound, "POST_NOT_FOUND"), "{request:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_told() {
    let fixture = Fixture::start().await;
    let neither = GetPostRequest { site: SITE.into(), ..Default::default() };
    let table = [
        (vec!["post_id"], get("no id")),
        (vec!["post_id"], neither),
        (vec!["external_key"], find("")),
        (
            vec!["site", "position", "post_id"],
            GetPostRequest { site: "Ü".into(), position: "post:x".into(), ..get("") },
        ),
    ];
    for (fields, request) in table {
        let refusal = Refusal::of(fixture.anonymous().get_post(request).await);
        assert_eq!(refusal.what(), (Code::InvalidArgument, "INVALID_FIELDS"));
        assert_eq!(refusal.fields, fields);
    }
}

#[tokio::test]
async fn a_read_waits_for_its_position() {
    let fixture = Fixture::start().await;
    let (mut ada, mut reader) = (fixture.client("ada", Role::Author), fixture.anonymous());
    let first = created(&mut ada, "first").await;

    let early = GetPostRequest { position: "post:2".into(), ..get(&first.post_id) };
    let (read, ()) = tokio::join!(reader.get_post(early.clone()), async {
        created(&mut ada, "second").await;
    });
    assert_eq!(read.unwrap().into_inner().position, "post:2");
    // Other sources are nothing that this service could wait for.
    let other = GetPostRequest { position: "comment:9,post:1".into(), ..early.clone() };
    assert_eq!(reader.get_post(other).await.unwrap().into_inner().position, "post:2");

    let never = GetPostRequest { position: "post:3".into(), ..early };
    let refusal = Refusal::of(reader.get_post(never).await);
    assert_eq!(refusal.what(), (Code::DeadlineExceeded, "POSITION_NOT_REACHED"));
    assert_eq!((refusal.metadata["wanted"].as_str(), refusal.is_retryable), ("post:3", true));
}
