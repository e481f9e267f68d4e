use agora_proto::moderation::v1 as proto;
use chassis::fields::Fields;

use crate::rules::{Compiled, Mode, Policy, Repeated};

/// A policy, with everything that is wrong with it told at once.
pub(super) fn policy(fields: &mut Fields, policy: Option<&proto::Policy>) -> Option<Policy> {
    let Some(policy) = policy else {
        fields.refuse("policy", "must be given");
        return None;
    };
    let mode = match policy.mode() {
        proto::Mode::ApproveUnlessHeld => Some(Mode::ApproveUnlessHeld),
        proto::Mode::HoldAll => Some(Mode::HoldAll),
        proto::Mode::Unspecified => {
            fields.refuse("policy.mode", "must be given");
            None
        }
    };
    let window = policy.repeated_text_window.map(std::time::Duration::try_from).transpose();
    let window =
        fields.check("policy.repeated_text_window", window.map_err(|_| "must not be negative"))?;
    let repeated_text = (policy.repeated_text_count > 0).then(|| Repeated {
        count: policy.repeated_text_count,
        window: window.unwrap_or_default(),
    });
    let parsed = Policy {
        mode: mode.unwrap_or(Mode::HoldAll),
        banned_words: policy.banned_words.clone(),
        suspect_words: policy.suspect_words.clone(),
        suspect_patterns: policy.suspect_patterns.clone(),
        max_links: policy.max_links,
        listed_domains: policy.listed_domains.clone(),
        repeated_text,
        max_length: Some(policy.max_length).filter(|length| *length > 0),
        hold_first_comments: policy.hold_first_comments,
        trusted_author_ids: policy.trusted_author_ids.clone(),
    };
    match Compiled::new(parsed) {
        Ok(compiled) => mode.map(|_| compiled.policy().clone()),
        Err(wrong) => {
            for wrong in wrong {
                fields.refuse(&format!("policy.{}", wrong.field), wrong.what);
            }
            None
        }
    }
}
