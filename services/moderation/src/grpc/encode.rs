use agora_proto::moderation::v1 as proto;
use bus_schema::{CommentId, RevisionId, Site};
use chassis::content;

use crate::{
    domain::{Record, SetPolicy, public},
    rules::Mode,
    store::{Case, Context, Revision},
};

pub(super) fn policy(site: &Site, set: SetPolicy) -> proto::Policy {
    let SetPolicy { version, policy, set_by, time } = set;
    let mode = match policy.mode {
        Mode::ApproveUnlessHeld => proto::Mode::ApproveUnlessHeld,
        Mode::HoldAll => proto::Mode::HoldAll,
    };
    proto::Policy {
        site: site.to_string(),
        version,
        mode: mode.into(),
        banned_words: policy.banned_words,
        suspect_words: policy.suspect_words,
        suspect_patterns: policy.suspect_patterns,
        max_links: policy.max_links,
        listed_domains: policy.listed_domains,
        repeated_text_count: policy.repeated_text.map_or(0, |repeated| repeated.count),
        repeated_text_window: policy
            .repeated_text
            .and_then(|repeated| prost_types::Duration::try_from(repeated.window).ok()),
        max_length: policy.max_length.unwrap_or_default(),
        hold_first_comments: policy.hold_first_comments,
        trusted_author_ids: policy.trusted_author_ids,
        update_time: time.map(Into::into),
        updated_by: set_by,
    }
}

pub(super) fn case(case: Case) -> proto::Case {
    let state = if case.open { proto::CaseState::Open } else { proto::CaseState::Closed };
    let Revision { id, number, body, .. } = case.revision;
    proto::Case {
        comment_id: case.comment_id.to_string(),
        site: case.site.to_string(),
        post_id: case.post_id.to_string(),
        parent_id: case.parent_id.as_ref().map(CommentId::to_string).unwrap_or_default(),
        state: state.into(),
        author_id: case.author_id,
        author_name: case.author_name,
        revision_id: id.to_string(),
        revision: number,
        body: if case.deleted { String::new() } else { body },
        deleted: case.deleted,
        decision: case.decision.map(record),
        create_time: Some(case.create_time.into()),
        open_time: case.open_time.map(Into::into),
    }
}

pub(super) fn context(context: Context) -> proto::CaseContext {
    let (parent_body, parent_author_name) = context.parent.unwrap_or_default();
    proto::CaseContext {
        post_title: context.post_title,
        parent_body,
        parent_author_name,
        revisions: context.revisions.into_iter().map(revision).collect(),
        decisions: context.decisions.into_iter().map(record).collect(),
        author_approved: context.author.0,
        author_rejected: context.author.1,
    }
}

fn revision(revision: Revision) -> proto::Revision {
    proto::Revision {
        revision_id: revision.id.to_string(),
        revision: revision.number,
        body: revision.body,
        create_time: Some(revision.time.into()),
    }
}

pub(super) fn record(record: Record) -> proto::DecisionRecord {
    use agora_proto::event::v1::Cause;

    let decided = record.decided;
    let cause = match decided.cause() {
        Cause::Unspecified => proto::Cause::Unspecified,
        Cause::Policy => proto::Cause::Policy,
        Cause::Moderator => proto::Cause::Moderator,
    };
    let decider_id = if cause == proto::Cause::Moderator { record.decider } else { String::new() };
    let hits = decided.hits.iter().map(|hit| proto::RuleHit {
        // The enums of event and API have the same numbers, which a test checks.
        rule: hit.rule,
        detail: content::open(hit.detail.as_ref()).unwrap_or_default().to_owned(),
    });
    proto::DecisionRecord {
        decision_id: record.id.to_string(),
        revision_id: RevisionId::from_slice(&decided.revision_id)
            .map(|id| id.to_string())
            .unwrap_or_default(),
        revision: decided.revision,
        decision: public(decided.decision()).into(),
        cause: cause.into(),
        reason: content::open(decided.reason.as_ref()).unwrap_or_default().to_owned(),
        decider_id,
        policy_version: decided.policy_version,
        hits: hits.collect(),
        decide_time: Some(record.time.into()),
    }
}

#[cfg(test)]
mod tests {
    use agora_proto::{event::v1 as event, moderation::v1 as proto};

    #[test]
    fn rules_have_the_same_numbers_in_events_and_answers() {
        for number in 0..=20 {
            let (ours, theirs) = (event::Rule::try_from(number), proto::Rule::try_from(number));
            assert_eq!(
                ours.map(|rule| rule.as_str_name()).ok(),
                theirs.map(|rule| rule.as_str_name()).ok()
            );
        }
    }
}
