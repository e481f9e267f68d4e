//! A policy as its event holds it, and back.

use agora_proto::event::v1 as event;
use eventstore::domain::ApplyError;

use crate::rules::{Mode, Policy, Repeated};

/// The event that sets a policy.
pub(super) fn set(version: u32, policy: &Policy) -> event::PolicySet {
    let mode = match policy.mode {
        Mode::ApproveUnlessHeld => event::PolicyMode::ApproveUnlessHeld,
        Mode::HoldAll => event::PolicyMode::HoldAll,
    };
    let repeated = policy.repeated_text;
    event::PolicySet {
        version,
        mode: mode.into(),
        banned_words: policy.banned_words.clone(),
        suspect_words: policy.suspect_words.clone(),
        suspect_patterns: policy.suspect_patterns.clone(),
        max_links: policy.max_links,
        listed_domains: policy.listed_domains.clone(),
        repeated_text_count: repeated.map_or(0, |repeated| repeated.count),
        repeated_text_window: repeated
            .and_then(|repeated| prost_types::Duration::try_from(repeated.window).ok()),
        max_length: policy.max_length.unwrap_or_default(),
        hold_first_comments: policy.hold_first_comments,
        trusted_author_ids: policy.trusted_author_ids.clone(),
    }
}

/// The policy that an event has set.
///
/// # Errors
/// If a newer program wrote it.
pub fn policy(set: &event::PolicySet) -> Result<Policy, ApplyError> {
    let mode = match set.mode() {
        event::PolicyMode::ApproveUnlessHeld => Mode::ApproveUnlessHeld,
        event::PolicyMode::HoldAll => Mode::HoldAll,
        event::PolicyMode::Unspecified => return Err("a policy of an unknown mode".into()),
    };
    let window = set.repeated_text_window.map(std::time::Duration::try_from).transpose()?;
    let repeated_text = (set.repeated_text_count > 0)
        .then(|| Repeated { count: set.repeated_text_count, window: window.unwrap_or_default() });
    Ok(Policy {
        mode,
        banned_words: set.banned_words.clone(),
        suspect_words: set.suspect_words.clone(),
        suspect_patterns: set.suspect_patterns.clone(),
        max_links: set.max_links,
        listed_domains: set.listed_domains.clone(),
        repeated_text,
        max_length: Some(set.max_length).filter(|length| *length > 0),
        hold_first_comments: set.hold_first_comments,
        trusted_author_ids: set.trusted_author_ids.clone(),
    })
}
