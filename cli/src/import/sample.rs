//! What `agora demo` writes: real comments, with replies that it makes of them.

use std::path::Path;

use agora_proto::post::v1::Attribution;
use prost_types::Timestamp;

use super::{
    load::Draft,
    rows::{Comment, Row, Rows},
};
use crate::error::Error;

/// The posts: `examples/README.md` says whose comments these are.
const EXPORTS: [Export; 3] = [
    Export {
        key: "demo:gangnam-style",
        title: "Gangnam Style",
        author: "PSY",
        csv: include_str!("../../../examples/youtube-comments/Youtube01-Psy.csv"),
    },
    Export {
        key: "demo:roar",
        title: "Roar",
        author: "Katy Perry",
        csv: include_str!("../../../examples/youtube-comments/Youtube02-KatyPerry.csv"),
    },
    Export {
        key: "demo:party-rock-anthem",
        title: "Party Rock Anthem",
        author: "LMFAO",
        csv: include_str!("../../../examples/youtube-comments/Youtube03-LMFAO.csv"),
    },
];

const BODY: &str = "What people wrote under the video, from the YouTube Spam Collection by \
                    T. C. Alberto and J. V. Lochter (CC BY 4.0). Who replies to whom was made up \
                    for this demo.";

/// Which one of its group a comment replies to; those without are replies to the post.
const REPLIES_TO: [Option<usize>; 8] =
    [None, Some(0), Some(1), Some(2), Some(0), Some(1), None, Some(6)];

struct Export {
    key: &'static str,
    title: &'static str,
    author: &'static str,
    csv: &'static str,
}

/// A post with its comments.
pub struct Discussion {
    pub draft: Draft,
    pub comments: Vec<Placed>,
}

/// A comment in its place.
pub struct Placed {
    pub row: u64,
    pub comment: Comment,
    /// The one that it replies to, by its place in the list; it stands before this one.
    pub parent: Option<usize>,
    /// 0 for a reply to the post.
    pub depth: usize,
}

/// All of the sample. `is_suspect` says of a text that it may be held: nobody replies to that,
/// as nobody would see it.
pub fn discussions(is_suspect: impl Fn(&str) -> bool) -> Result<Vec<Discussion>, Error> {
    let discussion = |export: &Export| {
        let comments = place(read(export)?, &is_suspect);
        let first = comments.first().and_then(|placed| placed.comment.time);
        Ok(Discussion { draft: draft(export, first), comments })
    };
    EXPORTS.iter().map(discussion).collect()
}

fn draft(export: &Export, create_time: Option<Timestamp>) -> Draft {
    Draft {
        name: export.title.to_owned(),
        external_key: export.key.to_owned(),
        title: export.title.to_owned(),
        body: BODY.to_owned(),
        attribution: Some(Attribution {
            author_id: export.key.to_owned(),
            author_name: export.author.to_owned(),
            create_time,
        }),
    }
}

/// The comments of an export, oldest first.
fn read(export: &Export) -> Result<Vec<(u64, Comment)>, Error> {
    let latest = Timestamp { seconds: i64::MAX, nanos: 0 };
    let rows = Rows::read_from(export.csv.as_bytes(), Path::new(export.title), latest)?;
    let readable = rows.filter_map(|Row { number, comment }| Some((number, comment.ok()?)));
    let mut comments: Vec<_> = readable.collect();
    comments.sort_by_key(|(number, comment)| {
        let time = comment.time.unwrap_or_default();
        (time.seconds, time.nanos, *number)
    });
    Ok(comments)
}

/// Makes replies of what came later.
fn place(comments: Vec<(u64, Comment)>, is_suspect: impl Fn(&str) -> bool) -> Vec<Placed> {
    let mut placed: Vec<Placed> = Vec::new();
    // The places of those in the group that is being filled.
    let mut group: Vec<usize> = Vec::new();
    for (row, comment) in comments {
        let suspect = is_suspect(&comment.body);
        let parent = match suspect {
            // Who advertises does so under what was said first, or on their own.
            true => group.first().copied().filter(|_| row % 2 == 0),
            false => REPLIES_TO[group.len()].map(|nth| group[nth]),
        };
        let depth = parent.map_or(0, |parent| placed[parent].depth + 1);
        if !suspect {
            group.push(placed.len());
        }
        if group.len() == REPLIES_TO.len() {
            group.clear();
        }
        placed.push(Placed { row, comment, parent, depth });
    }
    placed
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn replies_come_after_what_they_reply_to_and_never_to_what_may_be_held() {
        let is_suspect = |text: &str| text.contains("http");
        let discussions = discussions(is_suspect).unwrap();
        assert_eq!(discussions.len(), 3);
        for Discussion { draft, comments } in discussions {
            assert!(comments.len() > 50, "{}", draft.title);
            let keys: HashSet<_> = comments.iter().map(|placed| placed.comment.key).collect();
            assert_eq!(keys.len(), comments.len(), "{}", draft.title);
            let deepest = comments.iter().map(|placed| placed.depth).max();
            assert_eq!(deepest, Some(3), "{}", draft.title);
            for (place, placed) in comments.iter().enumerate() {
                let Some(parent) = placed.parent else { continue };
                assert!(parent < place);
                let parent = &comments[parent];
                assert_eq!(placed.depth, parent.depth + 1);
                assert!(!is_suspect(&parent.comment.body), "{}", parent.comment.body);
                let time = |placed: &Placed| placed.comment.time.unwrap().seconds;
                assert!(time(parent) <= time(placed));
            }
        }
    }
}
