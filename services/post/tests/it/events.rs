use agora_proto::{
    admin::v1::{JournalRow, ReadJournalRequest, journal_service_client::JournalServiceClient},
    event::v1 as proto,
    post::v1::CreatePostRequest,
};
use bus_schema::{Checkpoint, Event, Kind, Sequence, Source, plain};
use chassis::auth::Role;
use uuid::Uuid;

use super::fixture::{Fixture, SITE, close, create_with_key, delete, reopen, retitle};

/// The whole journal, as the service shows it to operators.
async fn journal(fixture: &Fixture) -> Vec<JournalRow> {
    let token = fixture.tokens.token("olga", &[("*", Role::Operator)]);
    let mut client = JournalServiceClient::new(fixture.connection(Some(&token)));
    let request = ReadJournalRequest { source: proto::Source::Post.into(), ..Default::default() };
    let mut answers = client.read_journal(request).await.unwrap().into_inner();
    let mut rows = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        rows.extend(answer.rows);
    }
    rows
}

#[tokio::test]
async fn every_change_is_an_event_in_journal_and_stream() {
    let fixture = Fixture::start().await;
    let mut ada = fixture.client("ada", Role::Author);
    let request_id = Uuid::now_v7();
    let request = CreatePostRequest { request_id: request_id.to_string(), ..create_with_key("k") };
    let post = ada.create_post(request).await.unwrap().into_inner().post.unwrap();
    let id = &post.post_id;
    let mut admin = fixture.client("root", Role::Admin);
    admin.close_post(close(id)).await.unwrap();
    ada.update_post(retitle(id, "new")).await.unwrap();
    ada.reopen_post(reopen(id)).await.unwrap();
    ada.delete_post(delete(id)).await.unwrap();

    let rows = journal(&fixture).await;
    let events: Vec<Event> =
        rows.iter().map(|row| Event::decode(row.event.clone()).unwrap()).collect();
    let created = proto::PostCreated {
        external_key: "k".into(),
        title: Some(plain("keyed")),
        body: Some(plain("a body")),
        author: Some(proto::Author { id: "ada".into(), name: Some(plain("ADA")) }),
        create_time: post.create_time,
    };
    let updated = proto::PostUpdated {
        revision: 2,
        title: Some(plain("new")),
        body: Some(plain("a body")),
        closed: true,
    };
    let kinds = [
        Kind::PostCreated(created),
        Kind::PostClosed(proto::PostClosed { revision: 1 }),
        Kind::PostUpdated(updated),
        Kind::PostReopened(proto::PostReopened { revision: 2 }),
        Kind::PostDeleted(proto::PostDeleted { revision: 2 }),
    ];
    assert!(events.iter().map(|event| &event.kind).eq(&kinds));
    let actors: Vec<_> = events.iter().map(|event| event.actor.as_str()).collect();
    assert_eq!(actors, ["ada", "root", "ada", "ada", "ada"]);
    assert_eq!(events[0].request.unwrap().id, request_id.into());
    for event in &events {
        assert_eq!((event.source, event.site.as_str()), (Source::Post, SITE));
        assert_eq!(event.post_id.unwrap().to_string(), *id);
        assert_eq!(event.aggregate.unwrap().to_string(), *id);
    }

    fixture.nats.holds(Source::Post, Sequence(5)).await;
    let stream = fixture.nats.jetstream().await.get_stream("AGORA_POST").await.unwrap();
    let tokens = ["created", "closed", "updated", "reopened", "deleted"];
    let mut head = Checkpoint::ZERO;
    for (row, token) in rows.iter().zip(tokens) {
        head = head.extend(&row.event);
        assert_eq!((row.sequence, row.hash.as_ref()), (head.sequence.0, head.hash.0.as_slice()));
        let message = stream.get_raw_message(row.sequence).await.unwrap();
        assert_eq!(message.payload, row.event);
        assert_eq!(message.subject.as_str(), format!("agora.post.{SITE}.{token}"));
    }
}
