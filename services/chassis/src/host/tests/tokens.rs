use std::{collections::BTreeMap, time::Duration};

use tonic::{Code, Status};

use super::fixture::{Fixture, client, create, list, reason, with_token};
use crate::{
    Host, StartError,
    auth::{
        Role,
        token::{Claims, generate_key, sign},
    },
};

fn is(status: &Status, code: Code, wanted: &str) {
    assert_eq!((status.code(), reason(status).as_str()), (code, wanted), "{status:?}");
}

#[tokio::test]
async fn writing_needs_a_token_with_the_right_role() {
    let fixture = Fixture::new();
    let running = fixture.serve().await;
    let mut client = client(&running).await;

    let missing = client.create_post(create("blog", None)).await.unwrap_err();
    is(&missing, Code::Unauthenticated, "TOKEN_MISSING");
    let reader = fixture.token("blog", Role::Reader);
    let low = client.create_post(create("blog", Some(&reader))).await.unwrap_err();
    is(&low, Code::PermissionDenied, "PERMISSION_DENIED");
    let author = fixture.token("news", Role::Author);
    let elsewhere = client.create_post(create("blog", Some(&author))).await.unwrap_err();
    is(&elsewhere, Code::PermissionDenied, "PERMISSION_DENIED");

    let author = fixture.token("blog", Role::Author);
    let created = client.create_post(create("blog", Some(&author))).await.unwrap();
    assert_eq!(created.into_inner().post.unwrap().author_id, "ada");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_wrong_token_is_refused_even_where_none_is_needed() {
    let fixture = Fixture::new();
    let running = fixture.serve().await;
    let mut client = client(&running).await;
    let claims = Claims {
        subject: "ada".into(),
        name: String::new(),
        roles: BTreeMap::new(),
        lifetime: Duration::from_secs(60),
    };
    let stranger = generate_key().unwrap();
    let key = &fixture.key.private_pem;
    let forged = sign(&stranger.private_pem, &claims, "agora", "agora").unwrap();
    let foreign = sign(key, &claims, "elsewhere", "agora").unwrap();
    for token in ["nonsense", &forged, &foreign] {
        let read = client.list_posts(with_token(list("blog"), Some(token))).await.unwrap_err();
        is(&read, Code::Unauthenticated, "TOKEN_INVALID");
        let write = client.create_post(create("blog", Some(token))).await.unwrap_err();
        is(&write, Code::Unauthenticated, "TOKEN_INVALID");
    }
    let token = sign(key, &claims, "agora", "agora").unwrap();
    client.list_posts(with_token(list("blog"), Some(&token))).await.unwrap();
    let last = fixture.stub.calls.lock().unwrap().pop().unwrap();
    assert_eq!(last.caller.id(), Some("ada"));
    running.stop().await.unwrap();
}

#[tokio::test]
async fn an_expired_token_is_refused() {
    let mut fixture = Fixture::new();
    fixture.config.auth.leeway_s = 0;
    let running = fixture.serve().await;
    let mut client = client(&running).await;
    let claims = Claims {
        subject: "ada".into(),
        name: String::new(),
        roles: BTreeMap::new(),
        lifetime: Duration::from_secs(1),
    };
    let token = sign(&fixture.key.private_pem, &claims, "agora", "agora").unwrap();
    // It is remembered, and still must expire.
    client.list_posts(with_token(list("blog"), Some(&token))).await.unwrap();
    let asking = async || {
        let answer = client.list_posts(with_token(list("blog"), Some(&token))).await;
        answer.map_or_else(|error| error.message().to_owned(), |_| "valid".into())
    };
    let told = super::fixture::eventually("it expires", asking, |told| told != "valid").await;
    assert_eq!(told, "invalid token: it has expired");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn without_keys_there_is_only_loopback_and_no_token() {
    let mut fixture = Fixture::new();
    fixture.config.auth.public_keys.clear();
    let running = fixture.serve().await;
    let token = fixture.token("blog", Role::Author);
    let mut client = client(&running).await;
    let error = client.create_post(create("blog", Some(&token))).await.unwrap_err();
    is(&error, Code::Unauthenticated, "TOKEN_INVALID");
    assert!(error.message().contains("no auth.public_keys"), "{error:?}");
    running.stop().await.unwrap();

    fixture.config.server.listen = "0.0.0.0:0".parse().unwrap();
    let refused = Host::open(&fixture.config, "test").await.err().unwrap();
    assert!(matches!(refused, StartError::NoPublicKeys(_)), "{refused}");
    assert!(!refused.to_string().contains('\n'));
}

#[tokio::test]
async fn a_key_that_is_none_is_named() {
    let mut fixture = Fixture::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "no key").unwrap();
    fixture.config.auth.public_keys.push(file.path().to_owned());
    let refused = Host::open(&fixture.config, "test").await.err().unwrap().to_string();
    assert!(refused.contains(&file.path().display().to_string()), "{refused}");
}
