use std::time::Duration;

use http::Request;
use prost::Message as _;
use tokio::time::Instant;
use tonic::{Code, Status, body::Body};
use tonic_types::StatusExt as _;
use tower::ServiceExt as _;

use super::fixture::{Fixture, channel, client, http, list, reason};
use crate::host::MAX_RESPONSE_BYTES;

const LIST: &str = "/agora.post.v1.PostService/ListPosts";

/// A message in the frame that gRPC puts around it.
fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[0][..], &length.to_be_bytes(), message].concat()
}

/// The status of a call whose message is made of these bytes.
async fn raw(fixture: &Fixture, path: &str, body: Vec<u8>) -> Status {
    let running = fixture.serve().await;
    let request = Request::post(format!("http://{}{path}", running.grpc_address()))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(http_body_util::Full::from(body)))
        .unwrap();
    let answer = channel(&running).await.oneshot(request).await.unwrap();
    let status = Status::from_header_map(answer.headers()).unwrap();
    running.stop().await.unwrap();
    status
}

#[tokio::test]
async fn a_call_reaches_its_service() {
    let fixture = Fixture::new();
    let running = fixture.serve().await;
    let mut client = client(&running).await;
    client.list_posts(list("blog")).await.unwrap();

    let calls = std::mem::take(&mut *fixture.stub.calls.lock().unwrap());
    let [call] = &calls[..] else { panic!("{} calls", calls.len()) };
    assert!(call.caller.principal().is_none());
    let left = call.deadline - Instant::now();
    assert!(left > Duration::from_secs(5) && left <= Duration::from_secs(10), "{left:?}");
    assert_eq!(call.traceparent, "", "nothing is traced");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_large_request_is_refused() {
    let fixture = Fixture::new();
    let running = fixture.serve().await;
    let mut client = client(&running).await;
    let error = client.list_posts(list(&"x".repeat(2 << 20))).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert_eq!(reason(&error), "REQUEST_TOO_LARGE");
    let info = error.get_details_error_info().unwrap();
    assert_eq!(info.metadata["max_bytes"], (1 << 20).to_string());
    client.list_posts(list(&"x".repeat(1_000_000))).await.unwrap();
    running.stop().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_read_is_the_callers_fault() {
    let fixture = Fixture::new();
    let text = list("blog").encode_to_vec();
    let cut_off = &text[..text.len() - 1];
    let not_utf8 = [0x0a, 1, 0xff];
    let unknown_packing = [&[7_u8][..], &frame(b"")[1..]].concat();
    let packed_unsaid = [&[1_u8][..], &frame(b"")[1..]].concat();
    for (what, body) in [
        ("cut off", frame(cut_off)),
        ("not UTF-8", frame(&not_utf8)),
        ("garbage", frame(&[0xff; 20])),
        ("unknown packing", unknown_packing),
        ("packed, and not said how", packed_unsaid),
        ("half a frame", frame(&text)[..6].to_vec()),
        ("nothing", Vec::new()),
    ] {
        let status = raw(&fixture, LIST, body).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status:?}");
        assert_eq!(reason(&status), "MALFORMED_REQUEST", "{what}");
    }
}

#[tokio::test]
async fn unknown_methods_are_named_so() {
    let fixture = Fixture::new();
    for path in ["/agora.post.v1.PostService/Nonsense", "/nonsense.Service/Method", "/", "/metrics"]
    {
        let status = raw(&fixture, path, frame(b"")).await;
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
        assert_eq!(reason(&status), "METHOD_UNKNOWN", "{path}");
    }
}

#[tokio::test]
async fn every_error_gets_a_reason() {
    let fixture = Fixture::new();
    let running = fixture.serve().await;
    let mut client = client(&running).await;
    let bare = client.list_posts(list("bare")).await.unwrap_err();
    assert_eq!((bare.code(), reason(&bare).as_str()), (Code::Aborted, "ABORTED"));
    assert_eq!(bare.message(), "without details");
    // Told in the trailers: the answer had begun.
    let big = client.list_posts(list("big")).await.unwrap_err();
    assert_eq!((big.code(), reason(&big).as_str()), (Code::OutOfRange, "OUT_OF_RANGE"));
    assert!(big.message().contains(&MAX_RESPONSE_BYTES.to_string()), "{big:?}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_panic_is_an_internal_error_of_one_call() {
    let fixture = Fixture::new();
    let running = fixture.serve().await;
    let mut client = client(&running).await;
    let error = client.list_posts(list("panic")).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::Internal, "INTERNAL"));
    client.list_posts(list("blog")).await.unwrap();
    running.stop().await.unwrap();
}

#[tokio::test]
async fn the_servers_time_out_is_deadline_exceeded() {
    let mut fixture = Fixture::new();
    fixture.config.server.request_timeout_ms = 20;
    let running = fixture.serve().await;
    let error = client(&running).await.list_posts(list("slow")).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert_eq!(reason(&error), "DEADLINE_EXCEEDED");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn the_callers_time_out_is_deadline_exceeded() {
    let fixture = Fixture::new();
    let running = fixture.serve().await;
    let ask = async |timeout: &str| {
        // Over gRPC-Web: tonic's client would end the call by itself.
        let head = format!(
            "POST {LIST} HTTP/1.1\r\nHost: localhost\r\ngrpc-timeout: {timeout}\r\n\
             content-type: application/grpc-web"
        );
        let body = frame(&list("slow").encode_to_vec());
        http(running.grpc_address(), &head, &body).await
    };
    let answer = ask("20m").await;
    assert!(answer.contains("grpc-status: 4"), "{answer}");
    let answer = ask("soon").await;
    assert!(answer.contains("grpc-status: 3"), "{answer}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_too_much_is_shed() {
    let mut fixture = Fixture::new();
    fixture.config.server.max_in_flight = 1;
    fixture.config.server.drain_timeout_ms = 1;
    let running = fixture.serve().await;
    let mut slow = client(&running).await;
    let waiting = tokio::spawn(async move { slow.list_posts(list("slow")).await });
    fixture.stub.arrived.notified().await;

    // From another connection: the limit is the process's.
    let mut other = client(&running).await;
    let error = other.list_posts(list("blog")).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::ResourceExhausted, "OVERLOADED"));
    assert!(error.get_details_retry_info().unwrap().retry_delay.is_some());

    waiting.abort();
    let asking = async || match other.list_posts(list("blog")).await {
        Ok(_) => "OK".to_owned(),
        Err(error) => error.to_string(),
    };
    super::fixture::eventually("a left call makes room", asking, |answer| answer == "OK").await;
    running.stop().await.unwrap();
}
