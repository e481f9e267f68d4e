//! Errors that no service made: tonic's own, for what cannot be read or is not there.
//! They get a reason as all others have, and where tonic blames the server for what a
//! caller sent, the right code.

use http::{HeaderMap, Response};
use tonic::{Code, Status, body::Body};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::error::{DOMAIN, code_name};

/// The header or trailer that says how a request was answered.
const GRPC_STATUS: &str = "grpc-status";
/// The one that holds ErrorInfo and its like.
const DETAILS: &str = "grpc-status-details-bin";
/// What tonic says of messages over `max_decoding_message_size`, packed or unpacked.
const TOO_LARGE: [&str; 2] = ["decoded message length too large", "while decompressing message"];
/// What tonic, as INTERNAL, says of messages that it cannot read.
const MALFORMED: [&str; 6] = [
    "failed to decode Protobuf message",
    "protocol error",
    "Missing request message",
    "Unexpected EOF decoding stream",
    "Error decompressing",
    "buffer underflow",
];

/// Completes an error that is told in the head of an answer.
pub(super) fn head(answer: Response<Body>) -> Response<Body> {
    match incomplete(answer.headers()) {
        None => answer,
        Some(status) => completed(&status).into_http(),
    }
}

/// Completes an error that is told after the messages of an answer.
pub(super) fn trailers(trailers: &mut HeaderMap) {
    if let Some(status) = incomplete(trailers) {
        let mut completed_trailers = HeaderMap::new();
        let completed = with_reason(&status, status.code(), code_name(status.code()), None);
        if completed.add_header(&mut completed_trailers).is_ok() {
            *trailers = completed_trailers;
        }
    }
}

/// An error that lacks details, if it is one.
fn incomplete(headers: &HeaderMap) -> Option<Status> {
    let code = headers.get(GRPC_STATUS)?;
    if code == "0" || headers.contains_key(DETAILS) {
        return None;
    }
    Status::from_header_map(headers)
}

fn completed(status: &Status) -> Status {
    let message = status.message();
    match status.code() {
        Code::Internal if MALFORMED.iter().any(|known| message.contains(known)) => {
            with_reason(status, Code::InvalidArgument, "MALFORMED_REQUEST", None)
        }
        Code::OutOfRange | Code::ResourceExhausted
            if TOO_LARGE.iter().any(|known| message.contains(known)) =>
        {
            let limit = limit(message).map(|limit| ("max_bytes", limit));
            with_reason(status, Code::InvalidArgument, "REQUEST_TOO_LARGE", limit)
        }
        Code::Unimplemented if message.contains("compressed") => {
            with_reason(status, Code::Unimplemented, "COMPRESSION_UNKNOWN", None)
        }
        Code::Unimplemented => {
            let unknown = Status::unimplemented("this server has no such method");
            with_reason(&unknown, Code::Unimplemented, "METHOD_UNKNOWN", None)
        }
        code => with_reason(status, code, code_name(code), None),
    }
}

fn with_reason(
    status: &Status,
    code: Code,
    reason: &str,
    metadata: Option<(&str, String)>,
) -> Status {
    let metadata: std::collections::HashMap<String, String> =
        metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    let message = if status.message().is_empty() { reason } else { status.message() };
    Status::with_error_details(code, message, details)
}

/// The number of bytes in `found 5 bytes, the limit is: 4 bytes` and in `size limit, of 4
/// bytes, exceeded`.
fn limit(message: &str) -> Option<String> {
    let (_, after) = message.rsplit_once("limit")?;
    after.split_whitespace().find(|word| word.parse::<u64>().is_ok()).map(str::to_owned)
}
