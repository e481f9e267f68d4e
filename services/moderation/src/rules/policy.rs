use std::time::Duration;

use regex::{Regex, RegexBuilder};

use super::normal;

/// How many words, domains or authors a list has at most.
const MAX_LIST: usize = 10_000;
/// How many characters a word or a domain has at most.
const MAX_WORD: usize = 100;
/// How many characters an author's id has at most.
const MAX_AUTHOR: usize = 200;
/// How many patterns a policy has at most.
const MAX_PATTERNS: usize = 100;
/// How many characters a pattern has at most.
const MAX_PATTERN: usize = 500;
/// How many bytes a compiled pattern has at most, and its cache.
const MAX_COMPILED: usize = 256 * 1024;
/// How deep groups of a pattern may be nested.
const MAX_NESTING: u32 = 50;
/// How often a text can be seen before it counts as repeated.
const MAX_REPEATED: u32 = 100;
/// How far back repeated texts are looked for at most.
const MAX_WINDOW: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What a site has set. See `agora.moderation.v1.Policy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What happens to a text that no rule matches.
    pub mode: Mode,
    /// Words that reject.
    pub banned_words: Vec<String>,
    /// Words that hold.
    pub suspect_words: Vec<String>,
    /// Regular expressions that hold.
    pub suspect_patterns: Vec<String>,
    /// More links hold.
    pub max_links: Option<u32>,
    /// Links to these domains hold.
    pub listed_domains: Vec<String>,
    /// Texts that the site has seen so often hold.
    pub repeated_text: Option<Repeated>,
    /// More characters hold.
    pub max_length: Option<u32>,
    /// So many comments of an author must be approved before others pass.
    pub hold_first_comments: u32,
    /// Their texts pass every rule.
    pub trusted_author_ids: Vec<String>,
}

/// What happens to a text that no rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is approved.
    ApproveUnlessHeld,
    /// It is held.
    HoldAll,
}

/// When a text counts as repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated {
    /// Seen this often before.
    pub count: u32,
    /// Within this time.
    pub window: Duration,
}

/// Something that is wrong with a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {what}")]
pub struct InvalidPolicy {
    /// The field, such as `suspect_patterns[3]`.
    pub field: String,
    /// What is wrong, with the limit.
    pub what: String,
}

impl Default for Policy {
    /// What holds where a site has set nothing: advertising waits for a moderator.
    fn default() -> Self {
        let suspect = [
            "subscribe",
            "my channel",
            "check out my",
            "check out this",
            "check me out",
            "visit my",
            "my video",
            "my videos",
            "follow me",
            "make money",
            "earn money",
            "work from home",
            "click here",
            "free gift",
            "giveaway",
        ];
        Self {
            mode: Mode::ApproveUnlessHeld,
            banned_words: Vec::new(),
            suspect_words: suspect.map(str::to_owned).to_vec(),
            suspect_patterns: Vec::new(),
            max_links: Some(1),
            listed_domains: Vec::new(),
            repeated_text: Some(Repeated { count: 5, window: Duration::from_secs(60 * 60) }),
            max_length: Some(5_000),
            hold_first_comments: 0,
            trusted_author_ids: Vec::new(),
        }
    }
}

impl Policy {
    /// Checks every field, and compiles the patterns.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub(super) fn check(&self) -> Result<Vec<Regex>, Vec<InvalidPolicy>> {
        let mut wrong = Vec::new();
        check_list(&mut wrong, "banned_words", &self.banned_words, MAX_WORD);
        check_list(&mut wrong, "suspect_words", &self.suspect_words, MAX_WORD);
        check_list(&mut wrong, "listed_domains", &self.listed_domains, MAX_WORD);
        check_list(&mut wrong, "trusted_author_ids", &self.trusted_author_ids, MAX_AUTHOR);
        if let Some(Repeated { count, window }) = self.repeated_text {
            if count > MAX_REPEATED {
                refuse(
                    &mut wrong,
                    "repeated_text_count",
                    format!("must be at most {MAX_REPEATED}"),
                );
            }
            if window.is_zero() || window > MAX_WINDOW {
                let what = "must be more than 0 and at most 365 days";
                refuse(&mut wrong, "repeated_text_window", what.to_owned());
            }
        }
        let patterns = check_patterns(&mut wrong, &self.suspect_patterns);
        if wrong.is_empty() { Ok(patterns) } else { Err(wrong) }
    }
}

fn refuse(wrong: &mut Vec<InvalidPolicy>, field: impl Into<String>, what: String) {
    wrong.push(InvalidPolicy { field: field.into(), what });
}

fn check_list(wrong: &mut Vec<InvalidPolicy>, field: &str, values: &[String], max: usize) {
    if values.len() > MAX_LIST {
        refuse(wrong, field, format!("must have at most {MAX_LIST} entries"));
        return;
    }
    for (index, value) in values.iter().enumerate() {
        let length = value.chars().count();
        if length > max || normal(value).trim().is_empty() {
            let what = format!("must have 1 to {max} characters that can be seen");
            refuse(wrong, format!("{field}[{index}]"), what);
        }
    }
}

fn check_patterns(wrong: &mut Vec<InvalidPolicy>, patterns: &[String]) -> Vec<Regex> {
    const FIELD: &str = "suspect_patterns";
    if patterns.len() > MAX_PATTERNS {
        refuse(wrong, FIELD, format!("must have at most {MAX_PATTERNS} entries"));
        return Vec::new();
    }
    let mut compiled = Vec::with_capacity(patterns.len());
    for (index, pattern) in patterns.iter().enumerate() {
        let field = format!("{FIELD}[{index}]");
        if pattern.is_empty() || pattern.chars().count() > MAX_PATTERN {
            refuse(wrong, field, format!("must have 1 to {MAX_PATTERN} characters"));
            continue;
        }
        let regex = RegexBuilder::new(pattern)
            .case_insensitive(true)
            .size_limit(MAX_COMPILED)
            .dfa_size_limit(MAX_COMPILED)
            .nest_limit(MAX_NESTING)
            .build();
        match regex {
            Ok(regex) => compiled.push(regex),
            Err(regex::Error::CompiledTooBig(limit)) => {
                refuse(wrong, field, format!("is too large: compiled at most {limit} bytes"));
            }
            Err(error) => {
                let what = error.to_string();
                let last = what.lines().last().unwrap_or_default().trim();
                refuse(wrong, field, format!("is no regular expression: {last}"));
            }
        }
    }
    compiled
}
