//! Events that could not be applied, and what was done about them.

use std::time::SystemTime;

use agora_proto::{
    admin::v1::{DeadLetter, DeadLetterAction},
    event::v1::Source,
};
use bus_schema::Event;
use bytes::Bytes;

use super::{event, label, style, text, time};

/// A letter in one line.
pub fn line(letter: &DeadLetter) -> String {
    let parked = time::ago(letter.park_time.as_ref(), SystemTime::now());
    let kind = if letter.r#type.is_empty() { "of an unknown type" } else { &letter.r#type };
    let why = if letter.error.is_empty() {
        style::faint("waits behind an earlier one")
    } else {
        style::bad(&text::line(&letter.error))
    };
    format!(
        "{} {} {kind} {} {why}",
        style::strong(&letter.service),
        style::strong(&name(letter.source(), letter.sequence)),
        style::faint(&format!("{} · {parked} ·", text::line(&letter.aggregate_id))),
    )
}

/// A letter with its event.
pub fn show(letter: &DeadLetter, bytes: &[u8]) -> String {
    let event = match Event::decode(Bytes::copy_from_slice(bytes)) {
        Ok(event) => event::line(&event),
        Err(_) => event::hex(bytes),
    };
    let program = format!("parked by agora {}", text::line(&letter.program));
    [line(letter), style::faint(&program), event].join("\n")
}

/// What was done about one.
pub fn action(action: &DeadLetterAction) -> String {
    let done = time::ago(action.time.as_ref(), SystemTime::now());
    let outcome = match (action.reason.as_str(), action.error.as_str()) {
        ("", "") => style::good("applied"),
        ("", error) => style::bad(&text::line(error)),
        (reason, _) => text::line(reason),
    };
    format!(
        "{done} {} {} {} {} {outcome}",
        style::person(&text::line(&action.actor)),
        action.action,
        style::strong(&action.service),
        style::strong(&name(action.source(), action.sequence)),
    )
}

fn name(source: Source, sequence: u64) -> String {
    format!("{}:{sequence}", label(source.as_str_name(), "SOURCE_"))
}
