use std::{env, fs, path::PathBuf};

/// Names the folder of real input.
const FOLDER: &str = "AGORA_TEST_DATA";
/// The column of the comments' texts.
const CONTENT: usize = 3;

/// What people wrote: the comments of the YouTube Spam Collection, control characters
/// made spaces, those aside that are blank. From `AGORA_TEST_DATA`, else the sample in
/// `examples/`.
///
/// # Panics
/// If they are not there.
pub fn texts() -> Vec<String> {
    let sample = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let folder = env::var_os(FOLDER).map_or_else(sample, PathBuf::from).join("youtube-comments");
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| {
        panic!("cannot read the test data in {} ({error}): set {FOLDER}", folder.display())
    });
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "csv"));
    files.sort();

    let mut texts = Vec::new();
    for file in files {
        let mut reader = csv::Reader::from_path(&file).expect("a listed file can be opened");
        for record in reader.records() {
            let record = record.expect("the files are CSV in UTF-8");
            let text = record.get(CONTENT).unwrap_or_default().replace(char::is_control, " ");
            if !text.trim().is_empty() {
                texts.push(text);
            }
        }
    }
    texts
}
