//! What an import did.

use eventstore::Position;
use serde::Serialize;

use crate::render::{count, style, text};

/// How many skipped rows are listed for people.
const MAX_LISTED: usize = 20;

/// What became of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub file: String,
    pub post_id: String,
    /// Rows that were read, the header aside.
    pub rows: u64,
    /// Comments that this import wrote.
    pub imported: u64,
    /// Comments that an earlier import had written.
    pub already_there: u64,
    /// Rows that are no comments now.
    pub skipped: Vec<Skipped>,
    /// Imported rows without a usable date: they count as written at the import.
    pub without_date: u64,
    /// Whether the end of the file was not reached.
    pub stopped: bool,
    /// What a read must include to show all of it.
    #[serde(skip)]
    pub position: Position,
}

/// A row that was not imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    pub row: u64,
    pub reason: String,
}

impl Report {
    /// For people.
    pub fn lines(&self) -> String {
        let mut lines = vec![format!(
            "{} {}",
            style::strong(&text::line(&self.file)),
            style::faint(&format!("→ post {}", self.post_id))
        )];
        let mut parts = vec![
            count(self.rows, "row"),
            style::good(&format!("{} imported", self.imported)),
            format!("{} already there", self.already_there),
        ];
        let skipped = format!("{} skipped", self.skipped.len());
        parts.push(if self.skipped.is_empty() { skipped } else { style::pending(&skipped) });
        lines.push(format!("  {}", parts.join(", ")));
        if self.without_date > 0 {
            let rows = count(self.without_date, "row");
            lines.push(format!("  {rows} without a date: written now, as far as Agora knows"));
        }
        for skipped in self.skipped.iter().take(MAX_LISTED) {
            lines.push(format!("  row {} {}", skipped.row, text::line(&skipped.reason)));
        }
        if let Some(more) = self.skipped.len().checked_sub(MAX_LISTED).filter(|more| *more > 0) {
            lines.push(format!("  … and {more} more: --json lists them all"));
        }
        if self.stopped {
            lines.push(style::pending("  stopped before the end of the file"));
        }
        lines.join("\n")
    }
}

/// All of them together, each of which is a `noun`.
pub fn total(reports: &[Report], noun: &str) -> String {
    let imported: u64 = reports.iter().map(|report| report.imported).sum();
    let already_there: u64 = reports.iter().map(|report| report.already_there).sum();
    let skipped: usize = reports.iter().map(|report| report.skipped.len()).sum();
    let of = count(reports.len() as u64, noun);
    format!(
        "{of}: {} imported, {already_there} already there, {skipped} skipped",
        count(imported, "comment")
    )
}

/// How many comments on the posts of an import wait for a moderator, as far as that is known,
/// and the command that shows them.
pub fn held(held: Option<(u64, bool)>, queue: &str) -> String {
    match held {
        Some((0, false)) => "nothing is held for a moderator".to_owned(),
        Some((number, false)) => {
            let held =
                style::pending(&format!("{} held for a moderator", count(number, "comment")));
            format!("{held}: {queue}")
        }
        Some((number, true)) => {
            let least = count(number, "comment");
            let held = style::pending(&format!("at least {least} held for a moderator"));
            format!("{held}: {queue}")
        }
        None => format!("what is held waits for a moderator: {queue}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_was_skipped_and_why() {
        owo_colors::set_override(false);
        let skipped = (0..25).map(|row| Skipped { row: row + 2, reason: "has no text".into() });
        let report = Report {
            file: "x.csv".into(),
            post_id: "0198".into(),
            rows: 30,
            imported: 4,
            already_there: 1,
            skipped: skipped.collect(),
            without_date: 1,
            stopped: true,
            position: Position::ZERO,
        };
        let lines: Vec<String> = report.lines().lines().map(str::to_owned).collect();
        assert_eq!(lines[0], "x.csv → post 0198");
        assert_eq!(lines[1], "  30 rows, 4 imported, 1 already there, 25 skipped");
        assert_eq!(lines[2], "  1 row without a date: written now, as far as Agora knows");
        assert_eq!(lines[3], "  row 2 has no text");
        assert_eq!(lines[23], "  … and 5 more: --json lists them all");
        assert_eq!(lines[24], "  stopped before the end of the file");
        assert_eq!(
            total(&[report.clone(), report], "file"),
            "2 files: 8 comments imported, 2 already there, 50 skipped"
        );
    }

    #[test]
    fn what_is_held_is_told_with_its_queue() {
        owo_colors::set_override(false);
        let queue = "agora queue --site music";
        assert_eq!(
            held(Some((2, false)), queue),
            "2 comments held for a moderator: agora queue --site music"
        );
        assert_eq!(held(Some((0, false)), queue), "nothing is held for a moderator");
        assert!(held(Some((9, true)), queue).starts_with("at least 9 comments"));
        assert!(held(None, queue).ends_with(queue));
    }
}
