//! A thread: a post and its comments as a tree.

use std::time::SystemTime;

use agora_proto::query::v1::{ThreadComment, ThreadPost, Visibility};

use super::{author, count, feed, style, text, time};

/// What stands in the tree.
enum Node<'a> {
    Comment(&'a ThreadComment),
    /// Replies that are not on this page.
    More {
        text: String,
        page_token: &'a str,
    },
}

/// A node with its depth, and whether it is the last of its siblings.
struct Line<'a> {
    depth: usize,
    last: bool,
    node: Node<'a>,
}

/// How a thread is shown.
pub struct Options<'a> {
    /// The command that shows another page, up to its page token.
    pub command: &'a str,
    /// The terminal's width.
    pub width: Option<usize>,
    pub now: SystemTime,
}

/// The post above its tree.
pub fn post(post: &ThreadPost, options: &Options<'_>) -> String {
    let mut lines = vec![feed::title(post), feed::facts(post, options.now)];
    if !post.body.is_empty() {
        lines.push(String::new());
        lines.extend(text::wrap(&post.body, options.width, 0));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// The comments as a tree. `next_page_token` goes on after them.
pub fn tree(comments: &[ThreadComment], next_page_token: &str, options: &Options<'_>) -> String {
    let lines = lines(comments, next_page_token);
    let mut out = String::new();
    // For every level above: whether a sibling follows, so that its line goes on.
    let mut open: Vec<bool> = Vec::new();
    for line in &lines {
        open.truncate(line.depth);
        let trunk: String = open.iter().map(|open| if *open { "│  " } else { "   " }).collect();
        let branch = if line.last { "└─ " } else { "├─ " };
        open.push(!line.last);
        let below: String = open.iter().map(|open| if *open { "│  " } else { "   " }).collect();
        out.push_str(&style::faint(&(trunk + branch)));
        match &line.node {
            Node::Comment(comment) => write_comment(&mut out, comment, &below, options),
            Node::More { text, page_token } => {
                out.push_str(&style::faint(&format!(
                    "… {text}: {} --page-token {page_token}\n",
                    options.command
                )));
            }
        }
    }
    out
}

fn write_comment(out: &mut String, comment: &ThreadComment, below: &str, options: &Options<'_>) {
    if comment.deleted {
        out.push_str(&style::faint("[deleted]"));
    } else {
        out.push_str(&style::person(&author(&comment.author_name, &comment.author_id)));
    }
    let mut facts = vec![time::ago(comment.create_time.as_ref(), options.now)];
    if comment.revision > 1 {
        facts.push("edited".to_owned());
    }
    if comment.reply_count > 0 {
        facts.push(replies(comment.reply_count));
    }
    facts.push(comment.comment_id.clone());
    out.push_str(&style::faint(&format!(" · {}", facts.join(" · "))));
    match comment.visibility() {
        Visibility::Pending => out.push_str(&style::pending(" [pending]")),
        Visibility::Rejected => out.push_str(&style::bad(" [rejected]")),
        Visibility::Public | Visibility::Unspecified => {}
    }
    out.push('\n');
    for line in text::wrap(&comment.body, options.width, below.chars().count()) {
        out.push_str(&style::faint(below));
        out.push_str(&line);
        out.push('\n');
    }
}

/// Comments in depth-first order with what is left out at its place.
fn lines<'a>(comments: &'a [ThreadComment], next_page_token: &'a str) -> Vec<Line<'a>> {
    let base = comments.first().map_or(1, |comment| comment.depth);
    let depth = |comment: &ThreadComment| comment.depth.saturating_sub(base) as usize;
    let mut lines = Vec::new();
    // Comments whose replies are not all there, and how many of them were shown.
    let mut waiting: Vec<(&ThreadComment, u64)> = Vec::new();
    for comment in comments {
        close(&mut lines, &mut waiting, depth(comment), depth);
        if is_public(comment) {
            for (_, shown) in &mut waiting {
                *shown += 1;
            }
        }
        lines.push(Line { depth: depth(comment), last: false, node: Node::Comment(comment) });
        if !comment.next_page_token.is_empty() {
            waiting.push((comment, 0));
        }
    }
    close(&mut lines, &mut waiting, 0, depth);
    if !next_page_token.is_empty() {
        let node = Node::More { text: "more".to_owned(), page_token: next_page_token };
        lines.push(Line { depth: 0, last: false, node });
    }
    mark_last(&mut lines);
    lines
}

/// Ends the subtrees of the waiting comments that are not above `next`.
fn close<'a>(
    lines: &mut Vec<Line<'a>>,
    waiting: &mut Vec<(&'a ThreadComment, u64)>,
    next: usize,
    depth: impl Fn(&ThreadComment) -> usize,
) {
    while let Some((comment, shown)) = waiting.pop_if(|(comment, _)| depth(comment) >= next) {
        let text = match comment.reply_count.saturating_sub(shown) {
            0 => "more replies".to_owned(),
            1 => "1 more reply".to_owned(),
            more => format!("{more} more replies"),
        };
        let node = Node::More { text, page_token: &comment.next_page_token };
        lines.push(Line { depth: depth(comment) + 1, last: false, node });
    }
}

fn mark_last(lines: &mut [Line<'_>]) {
    // For every level: whether a node of it follows before a higher one does.
    let mut followed: Vec<bool> = Vec::new();
    for line in lines.iter_mut().rev() {
        followed.resize(line.depth + 1, false);
        line.last = !followed[line.depth];
        followed[line.depth] = true;
    }
}

/// Whether a comment counts as a reply: others may be shown, and are not counted.
fn is_public(comment: &ThreadComment) -> bool {
    comment.visibility() == Visibility::Public && !comment.deleted
}

fn replies(number: u64) -> String {
    match number {
        1 => "1 reply".to_owned(),
        number => format!("{number} replies"),
    }
}

/// What is said where a thread has no comment to show.
pub fn none(post: &ThreadPost) -> String {
    match post.comment_count {
        0 => "no comments yet".to_owned(),
        number => format!("{} on other pages", count(number, "comment")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comment(depth: u32, name: &str) -> ThreadComment {
        ThreadComment {
            comment_id: name.to_lowercase(),
            depth,
            author_name: name.into(),
            body: format!("says {name}"),
            revision: 1,
            visibility: Visibility::Public.into(),
            create_time: Some("2013-11-07T06:20:48Z".parse().unwrap()),
            ..ThreadComment::default()
        }
    }

    fn show(comments: &[ThreadComment], next: &str) -> String {
        owo_colors::set_override(false);
        let options =
            Options { command: "agora thread show p", width: None, now: SystemTime::now() };
        tree(comments, next, &options)
    }

    #[test]
    fn replies_stand_below_what_they_reply_to() {
        let comments =
            [comment(1, "A"), comment(2, "B"), comment(3, "C"), comment(2, "D"), comment(1, "E")];
        assert_eq!(
            show(&comments, ""),
            "\
├─ A · 2013-11-07 06:20 · a
│  says A
│  ├─ B · 2013-11-07 06:20 · b
│  │  says B
│  │  └─ C · 2013-11-07 06:20 · c
│  │     says C
│  └─ D · 2013-11-07 06:20 · d
│     says D
└─ E · 2013-11-07 06:20 · e
   says E
"
        );
    }

    #[test]
    fn what_is_left_out_stands_at_its_place() {
        let mut parent = comment(1, "A");
        parent.reply_count = 5;
        parent.next_page_token = "t1".into();
        let comments = [parent, comment(2, "B"), comment(3, "C"), comment(1, "D")];
        assert_eq!(
            show(&comments, "t2"),
            "\
├─ A · 2013-11-07 06:20 · 5 replies · a
│  says A
│  ├─ B · 2013-11-07 06:20 · b
│  │  says B
│  │  └─ C · 2013-11-07 06:20 · c
│  │     says C
│  └─ … 3 more replies: agora thread show p --page-token t1
├─ D · 2013-11-07 06:20 · d
│  says D
└─ … more: agora thread show p --page-token t2
"
        );
    }

    #[test]
    fn a_page_that_goes_on_deep_in_the_tree_starts_at_the_left() {
        let comments = [comment(7, "A"), comment(8, "B")];
        assert_eq!(
            show(&comments, ""),
            "\
└─ A · 2013-11-07 06:20 · a
   says A
   └─ B · 2013-11-07 06:20 · b
      says B
"
        );
    }

    #[test]
    fn what_readers_do_not_see_is_marked() {
        let mut held = comment(1, "A");
        held.visibility = Visibility::Pending.into();
        let mut deleted = comment(1, "B");
        deleted.deleted = true;
        deleted.body.clear();
        assert_eq!(
            show(&[held, deleted], ""),
            "\
├─ A · 2013-11-07 06:20 · a [pending]
│  says A
└─ [deleted] · 2013-11-07 06:20 · b
"
        );
    }

    #[test]
    fn people_cannot_draw_on_the_terminal() {
        let mut comment = comment(1, "Eve\n\u{1b}]0;x\u{7}");
        comment.comment_id = "0198".into();
        comment.body = "\u{1b}[2Jgone".into();
        let shown = show(&[comment], "");
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{7}'), "{shown}");
    }
}
