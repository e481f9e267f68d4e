//! A thread: a post and its comments as a tree.

use std::{collections::HashMap, time::SystemTime};

use agora_proto::query::v1::{ThreadComment, ThreadPost, Visibility};

use super::{author, count, feed, style, text, time};

/// How many columns a level of the tree is indented by.
const INDENT: usize = 3;
/// So many columns are left for text: deeper replies stand below each other.
const MIN_TEXT: usize = 30;

/// What stands in the tree.
enum Node<'a> {
    /// With the name of whom it replies to, where its place does not tell.
    Comment(&'a ThreadComment, Option<String>),
    /// Replies that are not on this page.
    More(String),
}

/// A node with its depth, and whether it is the last of its siblings.
struct Line<'a> {
    depth: usize,
    last: bool,
    node: Node<'a>,
}

/// How a thread is shown.
pub struct Options<'a> {
    /// The command that shows all of it.
    pub command: &'a str,
    /// The terminal's width.
    pub width: Option<usize>,
    pub now: SystemTime,
}

/// The post above its tree.
pub fn post(post: &ThreadPost, options: &Options<'_>) -> String {
    let mut lines = vec![feed::title(post)];
    lines.extend(feed::facts(post, options.now, options.width));
    if !post.body.is_empty() {
        lines.push(String::new());
        lines.extend(text::wrap(&post.body, options.width, 0));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// The comments as a tree. `next_page_token` goes on after them.
pub fn tree(comments: &[ThreadComment], next_page_token: &str, options: &Options<'_>) -> String {
    let lines = lines(comments, next_page_token, max_depth(options.width));
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
            Node::Comment(comment, parent) => {
                write_comment(&mut out, comment, parent.as_deref(), &below, options);
            }
            Node::More(text) => out.push_str(&(style::faint(&format!("… {text}")) + "\n")),
        }
    }
    if lines.iter().any(|line| matches!(line.node, Node::More(_))) {
        out.push_str(&format!("all of it: {}\n", options.command));
    }
    out
}

/// At which depth the tree goes on without further indentation.
fn max_depth(width: Option<usize>) -> usize {
    // A node's text begins one level to the right of its depth.
    width.map_or(usize::MAX, |width| (width.saturating_sub(MIN_TEXT) / INDENT).saturating_sub(1))
}

fn write_comment(
    out: &mut String,
    comment: &ThreadComment,
    parent: Option<&str>,
    below: &str,
    options: &Options<'_>,
) {
    let who = match comment.deleted {
        true => style::Part::new("[deleted]", style::faint),
        false => style::Part::new(&author(&comment.author_name, &comment.author_id), style::person),
    };
    let mut facts = Vec::new();
    facts.extend(parent.map(|parent| format!("to {parent}")));
    facts.push(time::ago(comment.create_time.as_ref(), options.now));
    if comment.revision > 1 {
        facts.push("edited".to_owned());
    }
    if comment.reply_count > 0 {
        facts.push(replies(comment.reply_count));
    }
    facts.push(comment.comment_id.clone());
    let mut head = vec![who];
    head.extend(facts.iter().map(|fact| style::Part::new(&format!("· {fact}"), style::faint)));
    match comment.visibility() {
        Visibility::Pending => head.push(style::Part::new("[pending]", style::pending)),
        Visibility::Rejected => head.push(style::Part::new("[rejected]", style::bad)),
        Visibility::Public | Visibility::Unspecified => {}
    }
    let indent = below.chars().count();
    let width = options.width.map(|width| width.saturating_sub(indent));
    let body = text::wrap(&comment.body, options.width, indent);
    let lines = style::wrapped(&head, width).into_iter().chain(body);
    for (number, line) in lines.enumerate() {
        // The first stands behind its branch.
        if number > 0 {
            out.push_str(&style::faint(below));
        }
        out.push_str(&line);
        out.push('\n');
    }
}

/// Comments in depth-first order with what is left out at its place.
fn lines<'a>(
    comments: &'a [ThreadComment],
    next_page_token: &str,
    max_depth: usize,
) -> Vec<Line<'a>> {
    let base = comments.first().map_or(1, |comment| comment.depth);
    let depth = |comment: &ThreadComment| comment.depth.saturating_sub(base) as usize;
    let authors: HashMap<&str, &ThreadComment> =
        comments.iter().map(|comment| (comment.comment_id.as_str(), comment)).collect();
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
        // Below the last level nobody sees by the place what is a reply to what.
        let parent = authors
            .get(comment.parent_id.as_str())
            .filter(|_| depth(comment) > max_depth)
            .map(|parent| author(&parent.author_name, &parent.author_id));
        let node = Node::Comment(comment, parent);
        lines.push(Line { depth: depth(comment), last: false, node });
        if !comment.next_page_token.is_empty() {
            waiting.push((comment, 0));
        }
    }
    close(&mut lines, &mut waiting, 0, depth);
    if !next_page_token.is_empty() {
        lines.push(Line { depth: 0, last: false, node: Node::More("more".to_owned()) });
    }
    for line in &mut lines {
        line.depth = line.depth.min(max_depth);
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
        lines.push(Line { depth: depth(comment) + 1, last: false, node: Node::More(text) });
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
        show_in(None, comments, next)
    }

    fn show_in(width: Option<usize>, comments: &[ThreadComment], next: &str) -> String {
        owo_colors::set_override(false);
        let command = "agora thread p --all";
        tree(comments, next, &Options { command, width, now: SystemTime::now() })
    }

    #[test]
    fn replies_stand_below_what_they_reply_to() {
        let comments =
            [comment(1, "A"), comment(2, "B"), comment(3, "C"), comment(2, "D"), comment(1, "E")];
        assert_eq!(
            show(&comments, ""),
            "\
├─ A · 2013-11-07 06:20 UTC · a
│  says A
│  ├─ B · 2013-11-07 06:20 UTC · b
│  │  says B
│  │  └─ C · 2013-11-07 06:20 UTC · c
│  │     says C
│  └─ D · 2013-11-07 06:20 UTC · d
│     says D
└─ E · 2013-11-07 06:20 UTC · e
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
├─ A · 2013-11-07 06:20 UTC · 5 replies · a
│  says A
│  ├─ B · 2013-11-07 06:20 UTC · b
│  │  says B
│  │  └─ C · 2013-11-07 06:20 UTC · c
│  │     says C
│  └─ … 3 more replies
├─ D · 2013-11-07 06:20 UTC · d
│  says D
└─ … more
all of it: agora thread p --all
"
        );
    }

    #[test]
    fn a_page_that_goes_on_deep_in_the_tree_starts_at_the_left() {
        let comments = [comment(7, "A"), comment(8, "B")];
        assert_eq!(
            show(&comments, ""),
            "\
└─ A · 2013-11-07 06:20 UTC · a
   says A
   └─ B · 2013-11-07 06:20 UTC · b
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
├─ A · 2013-11-07 06:20 UTC · a [pending]
│  says A
└─ [deleted] · 2013-11-07 06:20 UTC · b
"
        );
    }

    #[test]
    fn deep_in_the_tree_text_keeps_its_room_and_heads_wrap() {
        const WIDTH: usize = 45;
        let comments: Vec<ThreadComment> = (1..=12)
            .map(|depth| {
                let mut reply = comment(depth, &format!("Person{depth}"));
                reply.parent_id = format!("person{}", depth - 1);
                reply.body = "a word after another, and many of them".into();
                reply
            })
            .collect();
        let shown = show_in(Some(WIDTH), &comments, "");
        for line in shown.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        // 30 of 45 columns are text: no more than five levels of three columns.
        let deepest = &shown[shown.find("Person12").unwrap()..];
        assert_eq!(
            deepest,
            "\
Person12 · to Person11
               · 2013-11-07 06:20 UTC
               · person12
               a word after another, and many
               of them
"
        );
        assert!(!shown.contains("to Person3 "), "{shown}");
    }

    #[test]
    fn what_is_known_of_the_post_wraps() {
        const WIDTH: usize = 40;
        let discussed = ThreadPost {
            post_id: "01a226cd-a9bc-75b3-897d-108e4076f9b3".into(),
            title: "Hello".into(),
            author_id: "ann".into(),
            external_key: "page:1".into(),
            comment_count: 2,
            create_time: Some("2013-11-07T06:20:48Z".parse().unwrap()),
            ..ThreadPost::default()
        };
        owo_colors::set_override(false);
        let options = Options { command: "", width: Some(WIDTH), now: SystemTime::now() };
        let shown = post(&discussed, &options);
        assert!(shown.starts_with("Hello\n2 comments · by ann\n· 2013-11-07 06:20 UTC"), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= WIDTH), "{shown}");
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
