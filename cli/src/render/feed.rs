//! A feed: posts with their comment counts and last activity.

use std::time::SystemTime;

use agora_proto::query::v1::{PostState, ThreadPost};

use super::{author, count, style, text, time};

/// A post's line in a feed and the facts below it.
pub fn entry(post: &ThreadPost) -> String {
    format!("{}\n  {}", title(post), facts(post, SystemTime::now()))
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

/// Counts, times and ids.
pub fn facts(post: &ThreadPost, now: SystemTime) -> String {
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
    format!("{counted} {}", style::faint(&format!("· {}", facts.join(" · "))))
}
