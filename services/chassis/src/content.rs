//! What people wrote, as events hold it.

use agora_proto::event::v1::{self as event, Content};
use bus_schema::Author;

/// Content that this program cannot open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is sealed with a key that is not here.
    #[error("content is sealed with key {0}, which is not known here")]
    UnknownKey(String),
    /// It is plain and no UTF-8.
    #[error("content is not UTF-8")]
    NotText,
}

/// The text of a content, the one place where contents are opened. Absent content is
/// an empty text.
///
/// # Errors
/// [`OpenError`] if it cannot be opened here.
pub fn open(content: Option<&Content>) -> Result<&str, OpenError> {
    let Some(content) = content else { return Ok("") };
    if !content.key_id.is_empty() {
        return Err(OpenError::UnknownKey(content.key_id.clone()));
    }
    std::str::from_utf8(&content.data).map_err(|_| OpenError::NotText)
}

/// The author that an event names.
///
/// # Errors
/// [`OpenError`] if the name cannot be opened here.
pub fn author(author: &event::Author) -> Result<Author, OpenError> {
    Ok(Author { id: author.id.clone(), name: open(author.name.as_ref())?.to_owned() })
}
