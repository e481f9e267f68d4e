//! Standard output, whose reader may leave at any moment.

use std::io::{self, Write as _};

use crate::error::Error;

/// Prints a text with its end of line.
pub fn print(text: impl AsRef<str>) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    let text = text.as_ref();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| {
        if !text.ends_with('\n') {
            stdout.write_all(b"\n")?;
        }
        stdout.flush()
    });
    written.map_err(Error::Output)
}

/// Prints a remark that is not the command's result on standard error. Nothing
/// depends on it: whether it can be written is of no concern.
pub fn remark(text: impl AsRef<str>) {
    writeln!(io::stderr().lock(), "{}", text.as_ref()).ok();
}

/// A path as a shell takes it.
pub fn shell_word(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    match path.bytes().all(plain) {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}
