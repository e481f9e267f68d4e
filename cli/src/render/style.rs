//! Colours, where standard output is a terminal that has them and `NO_COLOR` is not
//! set, unless `--color` says otherwise.

use owo_colors::{OwoColorize as _, Stream::Stdout};
use unicode_width::UnicodeWidthStr as _;

macro_rules! styles {
    ($($(#[$doc:meta])* $name:ident => $($method:ident).+;)*) => {$(
        $(#[$doc])*
        pub fn $name(text: &str) -> String {
            text.if_supports_color(Stdout, |text| text.$($method()).+.to_string()).to_string()
        }
    )*};
}

styles! {
    /// Titles.
    strong => bold;
    /// Who wrote something.
    person => cyan;
    /// Ids, times and lines of the tree.
    faint => dimmed;
    /// What waits.
    pending => yellow;
    /// What is refused, deleted or different.
    bad => red;
    /// What is approved or equal.
    good => green;
}

/// A piece of a line that stays together, and how it is shown.
pub struct Part {
    text: String,
    style: fn(&str) -> String,
}

impl Part {
    pub fn new(text: &str, style: fn(&str) -> String) -> Self {
        Self { text: text.to_owned(), style }
    }
}

/// The parts of a line with spaces between them, in as many lines as they need; one that is
/// wider than a line stands on its own.
pub fn wrapped(parts: &[Part], width: Option<usize>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut used = 0;
    for Part { text, style } in parts {
        let needed = text.width();
        match lines.last_mut() {
            Some(line) if width.is_none_or(|width| used + 1 + needed <= width) => {
                line.push(' ');
                line.push_str(&style(text));
                used += 1 + needed;
            }
            _ => {
                lines.push(style(text));
                used = needed;
            }
        }
    }
    lines
}
