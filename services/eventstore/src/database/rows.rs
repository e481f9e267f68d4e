//! Reading rows of any database: what a column holds becomes a value, or an error that
//! names the column.

use std::{error::Error, str::FromStr};

/// A column that holds what it must not.
pub fn invalid(column: &str, error: impl Into<Box<dyn Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: error.into() }
}

/// A value from its text.
///
/// # Errors
/// [`invalid`].
pub fn parse<T: FromStr<Err: Error + Send + Sync + 'static>>(
    column: &str,
    text: &str,
) -> Result<T, sqlx::Error> {
    text.parse().map_err(|error| invalid(column, error))
}

/// A number that is never negative, which databases hold as one that may be.
///
/// # Errors
/// [`invalid`].
pub fn unsigned(column: &str, number: i32) -> Result<u32, sqlx::Error> {
    u32::try_from(number).map_err(|error| invalid(column, error))
}

/// A number that is never negative, as databases hold it.
pub const fn signed(number: u32) -> i32 {
    number.cast_signed()
}
