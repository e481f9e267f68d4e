//! What people see: readable text, with colours on a terminal that has them.
//!
//! Nothing that a person wrote reaches the terminal as it is: [`text`] takes the
//! control characters out.

// An arm for all other variants would hide the next one, above all the next type of event.
#![warn(clippy::wildcard_enum_match_arm)]

pub mod case;
pub mod comment;
pub mod dead_letter;
pub mod event;
pub mod feed;
pub mod post;
pub mod style;
pub mod text;
pub mod thread;
pub mod time;

/// What a client command shows of an enum's value: `POST_STATE_CLOSED` is `closed`.
pub fn label(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase().replace('_', " ")
}

/// A number with its noun: `1 comment`, `2 comments`.
pub fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// How somebody is called: by name, else by id.
pub fn author(name: &str, id: &str) -> String {
    text::line(if name.trim().is_empty() { id } else { name })
}
