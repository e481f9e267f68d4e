//! A comment, as the comment service knows it.

use std::time::SystemTime;

use agora_proto::comment::v1::{Comment, Decision};

use super::{author, style, text, time};

/// A comment: a line about it and its body.
pub fn comment(comment: &Comment) -> String {
    let mut facts = vec![comment.comment_id.clone()];
    if comment.revision > 1 {
        facts.push(format!("revision {}", comment.revision));
    }
    facts.push(time::ago(comment.create_time.as_ref(), SystemTime::now()));
    let mut head = format!(
        "{} {}",
        style::person(&author(&comment.author_name, &comment.author_id)),
        style::faint(&format!("· {}", facts.join(" · ")))
    );
    if let Some(mark) = mark(comment) {
        head.push(' ');
        head.push_str(&mark);
    }
    let body = text::wrap(&comment.body, text::terminal_width(), 2);
    let body = body.iter().map(|line| format!("\n  {line}"));
    head + &body.collect::<String>()
}

fn mark(comment: &Comment) -> Option<String> {
    if comment.deleted {
        return Some(style::bad("[deleted]"));
    }
    match comment.decision() {
        Decision::Unspecified => Some(style::pending("[not decided yet]")),
        Decision::Pending => Some(style::pending("[pending]")),
        Decision::Rejected => Some(style::bad("[rejected]")),
        Decision::Approved => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_shows_what_moderation_said() {
        owo_colors::set_override(false);
        let held = Comment {
            comment_id: "0198".into(),
            author_id: "ann".into(),
            author_name: "Ann\u{1b}[31m".into(),
            body: "one\ntwo".into(),
            revision: 1,
            decision: Decision::Pending.into(),
            create_time: Some("2013-11-07T06:20:48Z".parse().unwrap()),
            ..Comment::default()
        };
        assert_eq!(
            comment(&held),
            "Ann␛[31m · 0198 · 2013-11-07 06:20 UTC [pending]\n  one\n  two"
        );
    }
}
