//! A post.

use std::time::SystemTime;

use agora_proto::post::v1::{Post, PostState};

use super::{author, label, style, text, time};

/// A post with everything that the post service knows of it.
pub fn post(post: &Post) -> String {
    let mut lines = vec![headline(post)];
    lines.push(style::faint(&facts(post)));
    if !post.body.is_empty() {
        lines.push(String::new());
        lines.extend(text::wrap(&post.body, text::terminal_width(), 0));
    }
    lines.join("\n")
}

/// A post in a list: two lines.
pub fn entry(post: &Post) -> String {
    format!("{}\n  {}", headline(post), style::faint(&facts(post)))
}

fn headline(post: &Post) -> String {
    match post.state() {
        PostState::Deleted => style::bad("[deleted post]"),
        PostState::Open => style::strong(&text::line(&post.title)),
        state @ (PostState::Closed | PostState::Unspecified) => {
            let state = format!("[{}]", label(state.as_str_name(), "POST_STATE_"));
            format!("{} {}", style::strong(&text::line(&post.title)), style::pending(&state))
        }
    }
}

fn facts(post: &Post) -> String {
    let mut facts = vec![post.post_id.clone()];
    facts.push(format!("by {}", author(&post.author_name, &post.author_id)));
    facts.push(time::ago(post.create_time.as_ref(), SystemTime::now()));
    if post.revision > 1 {
        facts.push(format!("revision {}", post.revision));
    }
    if !post.external_key.is_empty() {
        facts.push(format!("key {}", text::line(&post.external_key)));
    }
    facts.join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_shows_its_state_and_its_key() {
        owo_colors::set_override(false);
        let closed = Post {
            post_id: "0198".into(),
            external_key: "page:1".into(),
            title: "Hello".into(),
            author_id: "ann".into(),
            revision: 2,
            state: PostState::Closed.into(),
            create_time: Some("2013-11-07T06:20:48Z".parse().unwrap()),
            ..Post::default()
        };
        assert_eq!(
            entry(&closed),
            "Hello [closed]\n  0198 · by ann · 2013-11-07 06:20 UTC · revision 2 · key page:1"
        );
    }
}
