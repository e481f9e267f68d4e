use std::path::PathBuf;

use crate::Result;

/// The folder of the real input: `AGORA_TEST_DATA`, else the sample in `examples/`.
pub(crate) fn folder() -> PathBuf {
    match std::env::var_os("AGORA_TEST_DATA") {
        Some(folder) => folder.into(),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples"),
    }
}

/// The files of comments as people wrote them.
///
/// # Errors
/// If the folder cannot be read.
pub fn files() -> Result<Vec<PathBuf>> {
    let folder = folder().join("youtube-comments");
    let entries = std::fs::read_dir(&folder)
        .map_err(|error| format!("cannot read the test data in {}: {error}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "csv") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Texts of comments as people wrote them, those aside that are empty.
///
/// # Errors
/// If the files cannot be read.
pub fn comments() -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for file in files()? {
        for record in csv::Reader::from_path(file)?.records() {
            let record = record?;
            let text = record.get(3).unwrap_or_default().replace(char::is_control, " ");
            if !text.trim().is_empty() {
                texts.push(text);
            }
        }
    }
    Ok(texts)
}
