//! Lists, page by page.

use crate::{
    error::Error,
    json,
    options::{Options, Page},
    output,
};

/// A page of a list, as the server answers it.
pub struct Listed<R> {
    pub items: Vec<R>,
    /// Empty on the last page.
    pub next_page_token: String,
    pub position: String,
}

/// Prints a page, or all of them, and says how it goes on; `command` is the one that was given.
/// Returns whether there was anything.
pub async fn print<R: json::Resource>(
    options: &Options,
    page: &Page,
    command: &str,
    fetch: impl AsyncFn(String) -> Result<Listed<R>, Error>,
    show: impl Fn(&R) -> String,
) -> Result<bool, Error> {
    let mut token = page.page_token.clone().unwrap_or_default();
    let mut shown = false;
    loop {
        let Listed { items, next_page_token, position } = fetch(token).await?;
        for item in &items {
            shown = true;
            output::print(match options.json {
                true => json::line(item, &position),
                false => show(item),
            })?;
        }
        if next_page_token.is_empty() {
            return Ok(shown);
        }
        if !page.all {
            super::more(options, command, &next_page_token);
            return Ok(shown);
        }
        token = next_page_token;
    }
}
