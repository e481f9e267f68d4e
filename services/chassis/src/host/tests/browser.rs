use prost::Message as _;

use super::fixture::{Fixture, http, list};

const PREFLIGHT: &str = "OPTIONS /agora.post.v1.PostService/ListPosts HTTP/1.1\r\n\
     Host: localhost\r\nOrigin: https://page.example\r\n\
     Access-Control-Request-Method: POST\r\n\
     Access-Control-Request-Headers: content-type,x-grpc-web,authorization";

fn post(host: &str, more: &str) -> String {
    format!(
        "POST /agora.post.v1.PostService/ListPosts HTTP/1.1\r\nHost: {host}\r\n\
         content-type: application/grpc-web{more}"
    )
}

fn body() -> Vec<u8> {
    let message = list("blog").encode_to_vec();
    let length = u32::try_from(message.len()).unwrap();
    [&[0][..], &length.to_be_bytes(), &message].concat()
}

#[tokio::test]
async fn a_page_calls_over_grpc_web() {
    let fixture = Fixture::new();
    let running = fixture.serve().await;
    let answer = http(running.grpc_address(), &post("localhost:1", ""), &body()).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains("grpc-status:0"), "the trailers are in the body: {answer}");
    assert!(answer.contains("application/grpc-web"), "{answer}");
    let not_grpc = "GET / HTTP/1.1\r\nHost: localhost";
    let answer = http(running.grpc_address(), not_grpc, b"").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn no_origin_is_allowed_unless_it_is_configured() {
    let mut fixture = Fixture::new();
    let running = fixture.serve().await;
    let answer = http(running.grpc_address(), PREFLIGHT, b"").await;
    assert!(!answer.contains("access-control-allow-origin"), "{answer}");
    running.stop().await.unwrap();

    fixture.config.server.cors_origins = vec!["https://page.example".into()];
    let running = fixture.serve().await;
    let answer = http(running.grpc_address(), PREFLIGHT, b"").await;
    assert!(answer.contains("access-control-allow-origin: https://page.example"), "{answer}");
    assert!(answer.contains("authorization"), "{answer}");
    let origin = "\r\nOrigin: https://page.example";
    let answer = http(running.grpc_address(), &post("localhost", origin), &body()).await;
    assert!(answer.contains("access-control-allow-origin: https://page.example"), "{answer}");
    for header in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
        let line = answer.lines().find(|line| line.contains("access-control-expose-headers"));
        assert!(line.unwrap().contains(header), "{answer}");
    }
    let other = PREFLIGHT.replace("page.example", "evil.example");
    let answer = http(running.grpc_address(), &other, b"").await;
    assert!(!answer.contains("access-control-allow-origin"), "{answer}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_wrong_origin_is_named() {
    let mut fixture = Fixture::new();
    for origin in ["*", "a\nb"] {
        fixture.config.server.cors_origins = vec![origin.into()];
        let refused = fixture.host().await.serve().await.err().unwrap().to_string();
        assert!(refused.contains("server.cors_origins"), "{refused}");
    }
}

#[tokio::test]
async fn a_rebound_name_is_refused() {
    let mut fixture = Fixture::new();
    fixture.config.server.allowed_hosts = vec!["agora.test".into()];
    let running = fixture.serve().await;
    let (grpc, plain) = (running.grpc_address(), running.http_address());

    let answer = http(grpc, &post("evil.example", ""), &body()).await;
    assert!(answer.contains("grpc-status: 7"), "{answer}");
    let answer = http(plain, "GET /metrics HTTP/1.1\r\nHost: evil.example", b"").await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert_eq!(fixture.stub.calls.lock().unwrap().len(), 0);

    for host in ["127.0.0.1:7400", "[::1]", "agora.test:80"] {
        let answer = http(grpc, &post(host, ""), &body()).await;
        assert!(answer.contains("grpc-status:0"), "{host}: {answer}");
    }
    running.stop().await.unwrap();
}
