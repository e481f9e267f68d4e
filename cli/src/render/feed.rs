//! A feed: posts with their comment counts and last activity.

use std::time::SystemTime;

use agora_proto::query::v1::{PostState, ThreadPost};

use super::{author, count, style, text, time};

/// A post's line in a feed and the facts below it.
pub fn entry(post: &ThreadPost) -> String {
    const INDENT: usize = 2;
    let width = text::terminal_width().map(|width| width.saturating_sub(INDENT));
    let facts = facts(post, SystemTime::now(), width);
    format!("{}\n  {}", title(post), facts.join("\n  "))
}

/// The title, or what stands in its place.
pub fn title(post: &ThreadPost) -> String {
    match post.state() {
        PostState::Deleted => style::bad("[deleted post]"),
        PostState::Closed => {
            format!("{} {}", style::strong(&text::line(&post.title)), style::pending("[closed]"))
        }
        PostState::Open | PostState::Unspecified => style::strong(&text::line(&post.title)),
    }
}

/// Counts, times and ids, in as many lines as they need.
pub fn facts(post: &ThreadPost, now: SystemTime, width: Option<usize>) -> Vec<String> {
    let counted = count(post.comment_count, "comment");
    let mut facts = vec![
        format!("by {}", author(&post.author_name, &post.author_id)),
        time::ago(post.create_time.as_ref(), now),
        format!("last activity {}", time::ago(post.last_activity_time.as_ref(), now)),
        post.post_id.clone(),
    ];
    if !post.external_key.is_empty() {
        facts.push(format!("key {}", text::line(&post.external_key)));
    }
    let mut parts = vec![style::Part::new(&counted, str::to_owned)];
    parts.extend(facts.iter().map(|fact| style::Part::new(&format!("· {fact}"), style::faint)));
    style::wrapped(&parts, width)
}
