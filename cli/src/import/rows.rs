//! The rows of an export of YouTube comments: `COMMENT_ID,AUTHOR,DATE,CONTENT,CLASS`.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::Read,
    path::Path,
};

use csv::{ByteRecord, ReaderBuilder};
use prost_types::Timestamp;
use uuid::Uuid;

use super::clean;
use crate::error::Error;

/// What a row must hold; further columns, such as the spam label, are ignored.
const COLUMNS: [&str; 4] = ["COMMENT_ID", "AUTHOR", "DATE", "CONTENT"];
/// What the comment service takes: bytes of a body.
const MAX_BODY: usize = 16 * 1024;
/// What the comment service takes: characters of a name.
const MAX_NAME: usize = 200;
/// How many characters of a name are in an author's id.
const MAX_SLUG: usize = 40;

/// One row of a file.
#[derive(Debug, PartialEq)]
pub struct Row {
    /// As spreadsheets number it: the header is row 1.
    pub number: u64,
    /// What it holds, or why it is skipped.
    pub comment: Result<Comment, String>,
}

/// A comment to import.
#[derive(Clone, Debug, PartialEq)]
pub struct Comment {
    /// Tells it from the others of its file, whenever the file is read.
    pub key: Uuid,
    pub author_id: String,
    pub author_name: String,
    /// Absent where the file has none, or none that can be read.
    pub time: Option<Timestamp>,
    pub body: String,
}

/// Reads the rows of an export one after another.
pub struct Rows<R> {
    records: csv::ByteRecordsIntoIter<R>,
    columns: [usize; COLUMNS.len()],
    width: usize,
    number: u64,
    seen: Seen,
    now: Timestamp,
}

impl Rows<File> {
    /// Opens a file and finds its columns.
    pub fn open(path: &Path, now: Timestamp) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::file("read", path))?;
        Self::read_from(file, path, now)
    }
}

impl<R: Read> Rows<R> {
    /// Finds the columns of an export that has this name.
    pub fn read_from(export: R, path: &Path, now: Timestamp) -> Result<Self, Error> {
        let reader = ReaderBuilder::new().flexible(true).has_headers(false).from_reader(export);
        let mut records = reader.into_byte_records();
        let header = match records.next() {
            Some(header) => header.map_err(Error::file("read", path))?,
            None => ByteRecord::new(),
        };
        let columns = columns(&header).map_err(|missing| {
            Error::plain(format!(
                "{} is no export of YouTube comments: its first line lacks {}; expected are the \
                 columns {} (and CLASS, which is ignored)",
                path.display(),
                missing.join(", "),
                COLUMNS.join(", "),
            ))
        })?;
        let seen = Seen::default();
        Ok(Self { records, columns, width: header.len(), number: 1, seen, now })
    }

    fn read(&mut self, record: &ByteRecord) -> Result<Comment, String> {
        if record.len() != self.width {
            return Err(format!("has {} columns instead of {}", record.len(), self.width));
        }
        let [id, author, date, content] = self.columns;
        let id = field(record, id)?.trim_matches(['\u{feff}', ' ']);
        let (author, date) = (field(record, author)?, field(record, date)?.trim());
        let content = field(record, content)?;

        let body = clean::text(content);
        if body.is_empty() {
            return Err("has no text".to_owned());
        }
        if body.len() > MAX_BODY {
            return Err(format!("has a text of {} bytes, more than {MAX_BODY}", body.len()));
        }
        let author_name = clean::name(author);
        if author_name.chars().count() > MAX_NAME {
            return Err(format!("has an author's name of more than {MAX_NAME} characters"));
        }
        let row = Uuid::new_v5(&NAMESPACE, [author, date, content].join("\0").as_bytes());
        Ok(Comment {
            key: self.seen.key(self.number, id, row)?,
            author_id: author_id(&author_name),
            author_name,
            time: time(date, &self.now),
            body,
        })
    }
}

impl<R: Read> Iterator for Rows<R> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        let record = self.records.next()?;
        self.number += 1;
        let comment = match record {
            Ok(record) => self.read(&record),
            Err(error) => Err(format!("cannot be read: {error}")),
        };
        Some(Row { number: self.number, comment })
    }
}

/// Where ids that are derived from exports have their origin.
const NAMESPACE: Uuid = Uuid::from_u128(0x6a1f_3c52_9a0e_5f7b_8d4e_2b71_c04d_55aa);

/// Which rows of a file were there before.
#[derive(Default)]
struct Seen {
    /// By COMMENT_ID: its first row, and what that held.
    ids: HashMap<Uuid, (u64, Uuid)>,
    /// Rows that have no COMMENT_ID of their own.
    rows: HashSet<Uuid>,
}

impl Seen {
    /// The key of a row: from its COMMENT_ID; where that is missing or was another
    /// row's, from all that the row holds.
    fn key(&mut self, number: u64, id: &str, row: Uuid) -> Result<Uuid, String> {
        if !id.is_empty() {
            let key = Uuid::new_v5(&NAMESPACE, id.as_bytes());
            match self.ids.get(&key) {
                None => {
                    self.ids.insert(key, (number, row));
                    return Ok(key);
                }
                Some((first, first_row)) if *first_row == row => {
                    return Err(format!("repeats row {first}"));
                }
                Some(_) => {}
            }
        }
        let key = Uuid::new_v5(&row, id.as_bytes());
        if !self.rows.insert(key) {
            return Err("repeats an earlier row".to_owned());
        }
        Ok(key)
    }
}

fn columns(header: &ByteRecord) -> Result<[usize; COLUMNS.len()], Vec<&'static str>> {
    let names: Vec<String> = header
        .iter()
        .map(|name| {
            let name = String::from_utf8_lossy(name);
            name.trim_matches(['\u{feff}', '"', ' ']).to_uppercase()
        })
        .collect();
    let mut columns = [0; COLUMNS.len()];
    let mut missing = Vec::new();
    for (column, wanted) in columns.iter_mut().zip(COLUMNS) {
        match names.iter().position(|name| name == wanted) {
            Some(found) => *column = found,
            None => missing.push(wanted),
        }
    }
    if missing.is_empty() { Ok(columns) } else { Err(missing) }
}

fn field(record: &ByteRecord, column: usize) -> Result<&str, String> {
    let bytes = record.get(column).unwrap_or_default();
    str::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())
}

/// The time of a row, in UTC unless it says otherwise. None if there is none, if it is
/// not one, or if it has not come yet.
fn time(date: &str, now: &Timestamp) -> Option<Timestamp> {
    let time: Timestamp = date.parse().ok()?;
    ((time.seconds, time.nanos) <= (now.seconds, now.nanos)).then_some(time)
}

/// The same id for the same name, wherever it is read.
fn author_id(name: &str) -> String {
    if name.is_empty() {
        return "youtube:unknown".to_owned();
    }
    let mut slug = String::new();
    for character in name.chars() {
        if character.is_ascii_alphanumeric() {
            slug.push(character.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() >= MAX_SLUG {
            break;
        }
    }
    let id = Uuid::new_v5(&NAMESPACE, name.as_bytes()).simple().to_string();
    let short = &id[..8];
    match slug.trim_end_matches('-') {
        "" => format!("youtube:{short}"),
        slug => format!("youtube:{slug}-{short}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const HEADER: &str = "COMMENT_ID,AUTHOR,DATE,CONTENT,CLASS\n";

    fn open(bytes: &[u8]) -> Result<Rows<File>, Error> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        Rows::open(file.path(), "2020-01-01T00:00:00Z".parse().unwrap())
    }

    fn read(rows: &str) -> Vec<Row> {
        open(format!("{HEADER}{rows}").as_bytes()).unwrap().collect()
    }

    fn reasons(rows: &str) -> Vec<(u64, String)> {
        let rows = read(rows).into_iter();
        rows.filter_map(|row| Some((row.number, row.comment.err()?))).collect()
    }

    #[test]
    fn a_row_keeps_author_date_and_text() {
        let rows = read("x1,  Julius NM,2013-11-07T06:20:48,\"Huh,\nanyway &lt;3\u{feff}\",1\n");
        let comment = rows[0].comment.as_ref().unwrap();
        assert_eq!(rows[0].number, 2);
        assert_eq!(comment.author_name, "Julius NM");
        assert!(comment.author_id.starts_with("youtube:julius-nm-"), "{}", comment.author_id);
        assert_eq!(comment.time.unwrap().to_string(), "2013-11-07T06:20:48Z");
        assert_eq!(comment.body, "Huh,\nanyway <3");
    }

    #[test]
    fn dates_may_be_missing_wrong_or_to_come() {
        for date in ["", "yesterday", "2013-13-45T00:00:00", "2999-01-01T00:00:00"] {
            let rows = read(&format!("x,a,{date},text,0\n"));
            assert_eq!(rows[0].comment.as_ref().unwrap().time, None, "{date}");
        }
        for date in ["2015-05-28T21:39:52.376000", "2015-05-28 21:39:52", "2015-05-28T21:39:52Z"] {
            let rows = read(&format!("x,a,{date},text,0\n"));
            assert!(rows[0].comment.as_ref().unwrap().time.is_some(), "{date}");
        }
    }

    #[test]
    fn rows_that_cannot_be_imported_say_why() {
        let long = "x".repeat(MAX_BODY + 1);
        let rows =
            format!("1,a,,ok,0\n2,a,,,0\n3,a,ok,0\n4,a,,<br />,0\n5,a,,{long},0\n\n6,a,,ok,0");
        assert_eq!(
            reasons(&rows),
            [
                (3, "has no text".to_owned()),
                (4, "has 4 columns instead of 5".to_owned()),
                (5, "has no text".to_owned()),
                (6, "has a text of 16385 bytes, more than 16384".to_owned()),
            ]
        );
    }

    #[test]
    fn invalid_utf8_is_no_text() {
        let mut bytes = HEADER.as_bytes().to_vec();
        bytes.extend_from_slice(b"1,a,,caf\xe9,0\n2,a,,ok,0\n");
        let rows: Vec<Row> = open(&bytes).unwrap().collect();
        assert_eq!(rows[0].comment, Err("is not UTF-8".to_owned()));
        assert!(rows[1].comment.is_ok());
    }

    #[test]
    fn repeated_rows_are_imported_once_and_repeated_ids_are_not_confused() {
        let rows = read("1,a,,one,0\n1,a,,one,0\n1,a,,two,0\n1,a,,two,0\n,a,,one,0\n,a,,one,0\n");
        let comments: Vec<_> = rows.iter().map(|row| row.comment.as_ref().ok()).collect();
        let bodies: Vec<_> =
            comments.iter().map(|comment| comment.map(|comment| comment.body.as_str())).collect();
        assert_eq!(bodies, [Some("one"), None, Some("two"), None, Some("one"), None]);
        let keys: HashSet<_> = comments.iter().flatten().map(|comment| comment.key).collect();
        assert_eq!(keys.len(), 3);
        assert_eq!(rows[1].comment, Err("repeats row 2".to_owned()));
    }

    #[test]
    fn keys_and_authors_are_the_same_whenever_a_file_is_read() {
        let rows = "1,Äöü,,one,0\n2,강남,,two,0\n3,,,three,0\n";
        assert_eq!(read(rows), read(rows));
        let authors: HashSet<_> =
            read(rows).into_iter().map(|row| row.comment.unwrap().author_id).collect();
        assert_eq!(authors.len(), 3);
    }

    #[test]
    fn a_file_without_its_columns_is_named() {
        for text in ["", "a,b\n1,2\n", "COMMENT_ID,AUTHOR,CONTENT\n"] {
            let error = open(text.as_bytes()).err().unwrap().to_string();
            assert!(error.contains("lacks") && error.contains("DATE"), "{error}");
        }
    }

    #[test]
    fn columns_are_found_by_name() {
        let text = "\u{feff}Content,comment_id,DATE,AUTHOR\nhello,1,,ann\n";
        let rows: Vec<Row> = open(text.as_bytes()).unwrap().collect();
        assert_eq!(rows[0].comment.as_ref().unwrap().body, "hello");
    }

    #[test]
    fn every_row_of_the_real_files_is_a_comment() {
        let folder = match std::env::var_os("AGORA_TEST_DATA") {
            Some(folder) => std::path::PathBuf::from(folder),
            None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples"),
        };
        let now: Timestamp = "2024-01-01T00:00:00Z".parse().unwrap();
        let mut imported = 0;
        for file in std::fs::read_dir(folder.join("youtube-comments")).unwrap() {
            let path = file.unwrap().path();
            let records = csv::Reader::from_path(&path).unwrap().into_records().count();
            let mut rows = 0;
            for row in Rows::open(&path, now).unwrap() {
                let comment = row.comment.unwrap();
                assert!(comment.time.is_some() && !comment.body.contains('\u{feff}'));
                rows += 1;
            }
            assert_eq!(rows, records, "{}", path.display());
            imported += rows;
        }
        assert!(imported >= 200, "{imported}");
    }
}
