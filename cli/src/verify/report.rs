//! What was compared, and what differs first.

use serde::Serialize;

use super::Difference;
use crate::render::style;

/// One comparison: of a journal, a stream or a table of the view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Its number in the design: `I2`, `I3` or `I5`.
    pub invariant: &'static str,
    /// What was compared: `journal`, `stream` or `view`.
    pub what: &'static str,
    /// Which one: a source, or a table.
    pub name: String,
    /// How many events or rows.
    pub compared: u64,
    /// What differs first; nothing if all is equal.
    pub difference: Option<Difference>,
}

impl Finding {
    /// For people.
    pub fn line(&self) -> String {
        let Self { invariant, what, name, compared, difference } = self;
        let (noun, equal) = match *what {
            "journal" => ("events", "no holes, the chain verifies"),
            "stream" => ("messages", "the same bytes in the same order, nothing extra"),
            _ => ("rows", "equal to a fresh fold of the journals"),
        };
        let head = format!("{invariant}  {what:<8} {name:<22} {compared:>9} {noun:<9}");
        match difference {
            None => format!("{head} {}", style::good(equal)),
            Some(difference) => format!("{head} {}", style::bad(difference)),
        }
    }

    /// For scripts.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("a finding is JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_what_was_compared() {
        owo_colors::set_override(false);
        let mut finding = Finding {
            invariant: "I2",
            what: "journal",
            name: "post".into(),
            compared: 3,
            difference: None,
        };
        assert_eq!(
            finding.line(),
            "I2  journal  post                           3 events    no holes, the chain verifies"
        );
        finding.difference = Some("a hole".into());
        assert!(finding.line().ends_with("a hole"));
        assert!(finding.json().contains(r#""difference":"a hole""#));
    }
}
