//! Parsing of request fields into domain types: every violation is collected and
//! told at once.

use std::str::FromStr;

use bus_schema::{Author, Site, Time};
use prost_types::Timestamp;
use unicode_normalization::UnicodeNormalization as _;

use crate::{Error, error::Violation};

/// How long a text may be and what may stand in it. Control characters other than
/// newline and tab never may; the result is NFC-normalised.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Whether it may be empty, or of white space alone.
    pub may_be_empty: bool,
    /// How long it may be, after normalisation.
    pub max: Max,
    /// Whether newline and tab may stand in it.
    pub multiline: bool,
}

/// The greatest length of a text.
#[derive(Clone, Copy, Debug)]
pub enum Max {
    /// In characters (Unicode scalar values).
    Characters(usize),
    /// In bytes of UTF-8.
    Bytes(usize),
}

/// A principal's id: 1 to 200 characters, one line.
pub const AUTHOR_ID: Limit =
    Limit { may_be_empty: false, max: Max::Characters(200), multiline: false };
/// A person's name: at most 200 characters, one line.
pub const AUTHOR_NAME: Limit =
    Limit { may_be_empty: true, max: Max::Characters(200), multiline: false };
/// How many resources a page has if a request does not say.
pub const DEFAULT_PAGE_SIZE: usize = 50;
/// How many resources a page has at most.
pub const MAX_PAGE_SIZE: usize = 500;

/// Whom an import names as the author of something, and when it was written if that was
/// earlier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributed {
    /// Who wrote it.
    pub author: Author,
    /// When, if not now.
    pub create_time: Option<Time>,
}

/// Collects the violations of one request.
///
/// ```
/// # use chassis::fields::Fields;
/// let mut fields = Fields::new();
/// let site = fields.site("site", "Not A Slug");
/// assert!(site.is_none());
/// assert!(fields.finish().is_err());
/// ```
#[derive(Debug, Default)]
pub struct Fields {
    violations: Vec<Violation>,
}

impl Fields {
    /// Nothing is wrong so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that a field is wrong.
    pub fn refuse(&mut self, field: &str, description: impl Into<String>) {
        self.violations.push(Violation { field: field.into(), description: description.into() });
    }

    /// The value, or nothing and a violation with the error's text.
    pub fn check<T, E: std::fmt::Display>(
        &mut self,
        field: &str,
        result: Result<T, E>,
    ) -> Option<T> {
        result.map_err(|error| self.refuse(field, error.to_string())).ok()
    }

    /// A site's slug.
    pub fn site(&mut self, field: &str, value: &str) -> Option<Site> {
        self.check(field, value.parse())
    }

    /// An id that must be there.
    pub fn id<T: FromStr>(&mut self, field: &str, value: &str) -> Option<T> {
        self.check(field, value.parse().map_err(|_| "must be a UUID"))
    }

    /// An id that may be absent: `Some(None)` if it is empty.
    pub fn optional_id<T: FromStr>(&mut self, field: &str, value: &str) -> Option<Option<T>> {
        if value.is_empty() { Some(None) } else { self.id(field, value).map(Some) }
    }

    /// A text within its limits, NFC-normalised.
    pub fn text(&mut self, field: &str, value: &str, limit: Limit) -> Option<String> {
        self.check(field, text(value, limit))
    }

    /// A page size: 0 means [`DEFAULT_PAGE_SIZE`], more than [`MAX_PAGE_SIZE`] counts as
    /// that.
    pub fn page_size(&mut self, field: &str, value: i32) -> Option<usize> {
        match usize::try_from(value) {
            Err(_) => {
                self.refuse(field, format!("must be between 0 and {MAX_PAGE_SIZE}"));
                None
            }
            Ok(0) => Some(DEFAULT_PAGE_SIZE),
            Ok(size) => Some(size.min(MAX_PAGE_SIZE)),
        }
    }

    /// A time that must not be in the future; it may be absent.
    pub fn past_time(&mut self, field: &str, value: Option<&Timestamp>) -> Option<Option<Time>> {
        let Some(timestamp) = value else { return Some(None) };
        match Time::try_from(timestamp) {
            Err(error) => self.check(field, Err(error)),
            Ok(time) if time > Time::now() => self.check(field, Err("must not be in the future")),
            Ok(time) => Some(Some(time)),
        }
    }

    /// What a request's `attribution` holds.
    pub fn attribution(
        &mut self,
        author_id: &str,
        author_name: &str,
        create_time: Option<&Timestamp>,
    ) -> Option<Attributed> {
        let id = self.text("attribution.author_id", author_id, AUTHOR_ID);
        let name = self.text("attribution.author_name", author_name, AUTHOR_NAME);
        let create_time = self.past_time("attribution.create_time", create_time);
        let author = Author { id: id?, name: name? };
        Some(Attributed { author, create_time: create_time? })
    }

    /// Ends the parsing.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every violation, if there is one.
    pub fn finish(self) -> Result<(), Error> {
        if self.violations.is_empty() { Ok(()) } else { Err(Error::Invalid(self.violations)) }
    }

    /// The error with every violation; for the branch in which a value is missing.
    pub fn into_error(self) -> Error {
        Error::Invalid(self.violations)
    }
}

/// A text within its limits, NFC-normalised, or what is wrong with it.
///
/// # Errors
/// What is wrong, with the limit, as the description of a violation.
pub fn text(value: &str, limit: Limit) -> Result<String, String> {
    // Normalising can lengthen a text at most threefold: refuse what is far too long
    // before doing it.
    let (max, unit) = match limit.max {
        Max::Characters(max) => (max, "characters"),
        Max::Bytes(max) => (max, "bytes"),
    };
    if value.len() > max.saturating_mul(12) {
        return Err(format!("must have at most {max} {unit}"));
    }
    let normal: String = value.nfc().collect();
    let length = match limit.max {
        Max::Characters(_) => normal.chars().count(),
        Max::Bytes(_) => normal.len(),
    };
    if length > max {
        return Err(format!("must have at most {max} {unit}, has {length}"));
    }
    if !limit.may_be_empty && normal.trim().is_empty() {
        return Err("must not be empty".into());
    }
    let allowed = |character: char| {
        !character.is_control() || (limit.multiline && matches!(character, '\n' | '\t'))
    };
    if let Some(character) = normal.chars().find(|character| !allowed(*character)) {
        let exception = if limit.multiline { " other than newline and tab" } else { "" };
        return Err(format!(
            "must not contain control characters{exception}, has {}",
            character.escape_unicode()
        ));
    }
    Ok(normal)
}
