//! Moderation's cases: an entry in the queue, and one with its whole context.

use std::time::SystemTime;

use agora_proto::moderation::v1::{Case, CaseContext, Cause, Decision, DecisionRecord};

use super::{author, label, style, text, time};

/// How much of the parent's text is shown as a reminder.
const EXCERPT: usize = 160;

/// A case in the queue: who, why, what.
pub fn entry(case: &Case) -> String {
    let now = SystemTime::now();
    let mut lines = vec![format!(
        "{} {} {}",
        style::person(&author(&case.author_name, &case.author_id)),
        style::faint(&format!(
            "· {} · {} · revision {}",
            time::ago(case.create_time.as_ref(), now),
            case.comment_id,
            case.revision
        )),
        state(case)
    )];
    if let Some(decision) = &case.decision {
        lines.push(format!("  {}", decided(decision)));
    }
    lines.extend(indented(&case.body));
    lines.join("\n")
}

/// A case with everything that a moderator needs to know.
pub fn show(case: &Case, context: &CaseContext) -> String {
    let mut lines = vec![entry(case), String::new()];
    lines.push(format!(
        "on post {} {}",
        style::strong(&text::line(&context.post_title)),
        style::faint(&case.post_id)
    ));
    if !case.parent_id.is_empty() {
        lines.push(format!(
            "in reply to {}: {}",
            style::person(&text::line(&context.parent_author_name)),
            text::excerpt(&context.parent_body, EXCERPT)
        ));
    }
    lines.push(format!(
        "the author's comments on this site: {} approved, {} rejected",
        context.author_approved, context.author_rejected
    ));
    if context.revisions.len() > 1 {
        for revision in &context.revisions {
            lines.push(String::new());
            lines.push(style::faint(&format!(
                "revision {} · {} · {}",
                revision.revision,
                time::ago(revision.create_time.as_ref(), SystemTime::now()),
                revision.revision_id
            )));
            lines.extend(indented(&revision.body));
        }
    }
    if !context.decisions.is_empty() {
        lines.push(String::new());
        lines.push("decisions, oldest first:".to_owned());
        lines.extend(context.decisions.iter().map(|decision| format!("  {}", decided(decision))));
    }
    lines.join("\n")
}

fn indented(body: &str) -> Vec<String> {
    let lines = text::wrap(body, text::terminal_width(), 2);
    lines.into_iter().map(|line| format!("  {line}")).collect()
}

fn state(case: &Case) -> String {
    if case.deleted {
        return style::bad("[deleted]");
    }
    style::pending(&format!("[{}]", label(case.state().as_str_name(), "CASE_STATE_")))
}

/// `pending by policy 3: suspect word “subscribe”, links “2”`
fn decided(record: &DecisionRecord) -> String {
    let verdict = label(record.decision().as_str_name(), "DECISION_");
    let verdict = match record.decision() {
        Decision::Approved => style::good(&verdict),
        Decision::Rejected => style::bad(&verdict),
        Decision::Pending | Decision::Unspecified => style::pending(&verdict),
    };
    let by = match record.cause() {
        Cause::Moderator => text::line(&record.decider_id),
        Cause::Policy | Cause::Unspecified => format!("policy {}", record.policy_version),
    };
    let mut why: Vec<String> = Vec::new();
    if !record.reason.is_empty() {
        why.push(text::line(&record.reason));
    }
    for hit in &record.hits {
        let rule = label(hit.rule().as_str_name(), "RULE_");
        why.push(match hit.detail.as_str() {
            "" => rule,
            detail => format!("{rule} “{}”", text::line(detail)),
        });
    }
    let time = time::ago(record.decide_time.as_ref(), SystemTime::now());
    let revision = record.revision;
    let head = format!("{verdict} by {by} · revision {revision} · {time}");
    if why.is_empty() { head } else { format!("{head}: {}", why.join(", ")) }
}

#[cfg(test)]
mod tests {
    use agora_proto::moderation::v1::{CaseState, Rule, RuleHit};

    use super::*;

    #[test]
    fn an_entry_says_why_the_comment_is_held() {
        owo_colors::set_override(false);
        let time = Some("2013-11-07T06:20:48Z".parse().unwrap());
        let case = Case {
            comment_id: "0198".into(),
            state: CaseState::Open.into(),
            author_name: "Ann".into(),
            revision: 1,
            body: "please subscribe".into(),
            create_time: time,
            decision: Some(DecisionRecord {
                revision: 1,
                decision: Decision::Pending.into(),
                cause: Cause::Policy.into(),
                policy_version: 3,
                hits: vec![RuleHit { rule: Rule::SuspectWord.into(), detail: "subscribe".into() }],
                decide_time: time,
                ..DecisionRecord::default()
            }),
            ..Case::default()
        };
        assert_eq!(
            entry(&case),
            "Ann · 2013-11-07 06:20 UTC · 0198 · revision 1 [open]\n  \
             pending by policy 3 · revision 1 · 2013-11-07 06:20 UTC: suspect word “subscribe”\n  \
             please subscribe"
        );
    }
}
