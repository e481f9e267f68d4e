use std::{fs, io::BufRead as _, io::BufReader, process::Stdio};

use serde_json::Value;

use crate::{
    program::{agora, refused, text},
    up::Up,
};

const HEADER: &str = "COMMENT_ID,AUTHOR,DATE,CONTENT,CLASS\n";

fn reports(printed: &str) -> Vec<Value> {
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn imperfect_rows_are_reported_and_nothing_is_doubled() {
    let up = Up::start();
    let file = up.folder.path().join("some page.csv");
    let rows = "1,Ann,2013-11-07T06:20:48,first &lt;3,0\n\
                2,Bob,,no date<br />two lines,1\n\
                3,Cid,2013-11-07T06:20:48,,0\n\
                4,Dan,2013-11-07T06:20:48\n\
                1,Ann,2013-11-07T06:20:48,first &lt;3,0\n";
    fs::write(&file, format!("{HEADER}{rows}")).unwrap();
    let import = ["import", "youtube-csv", "--json", text(&file)];

    let report = &reports(&up.agora(&import))[0];
    assert_eq!((&report["rows"], &report["imported"]), (&5.into(), &2.into()));
    assert_eq!(report["withoutDate"], 1);
    let skipped: Vec<_> =
        report["skipped"].as_array().unwrap().iter().map(|row| row["row"].clone()).collect();
    assert_eq!(skipped, [4, 5, 6]);

    let report = &reports(&up.agora(&import))[0];
    assert_eq!((&report["imported"], &report["alreadyThere"]), (&0.into(), &2.into()));

    // The file grows, and a row of it changes.
    let rows = rows.replace("two lines", "three lines") + "5,Eve,2013-11-07T06:20:48,late,0\n";
    fs::write(&file, format!("{HEADER}{rows}")).unwrap();
    let report = &reports(&up.agora(&import))[0];
    assert_eq!((&report["imported"], &report["alreadyThere"]), (&1.into(), &1.into()));
    assert_eq!(report["skipped"].as_array().unwrap().len(), 4);

    let listed = ["comment", "list", "youtube-csv:some page", "--role", "operator", "--json"];
    let listed = reports(&up.agora(&listed));
    let mut bodies: Vec<_> =
        listed.iter().map(|comment| comment["body"].as_str().unwrap()).collect();
    bodies.sort_unstable();
    assert_eq!(bodies, ["first <3", "late", "no date\ntwo lines"]);
    let first = listed.iter().find(|comment| comment["body"] == "first <3").unwrap();
    assert_eq!(first["authorName"], "Ann");
    assert_eq!(first["createTime"], "2013-11-07T06:20:48Z");
}

#[test]
fn a_deleted_post_is_imported_anew() {
    let up = Up::start();
    let file = up.folder.path().join("page.csv");
    fs::write(&file, format!("{HEADER}1,Ann,,hello,0\n")).unwrap();
    let import = ["import", "youtube-csv", "--json", text(&file)];
    let first = reports(&up.agora(&import));
    up.agora(&["post", "delete", "youtube-csv:page", "--role", "admin"]);
    let second = reports(&up.agora(&import));
    assert_ne!(first[0]["postId"], second[0]["postId"]);
    assert_eq!(second[0]["imported"], 1);
}

#[test]
fn two_files_of_one_name_are_not_mixed() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["a", "b"].map(|name| folder.path().join(name).join("x.csv"));
    for file in &files {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, HEADER).unwrap();
    }
    let arguments = ["import", "youtube-csv", text(&files[0]), text(&files[1])];
    let line = refused(&mut agora(&arguments));
    assert!(line.contains("have the same name"), "{line}");
}

#[test]
fn an_interrupted_import_says_how_to_go_on_and_goes_on() {
    const ROWS: u64 = 8_000;
    let up = Up::start();
    let file = up.folder.path().join("long.csv");
    let rows = (0..ROWS).map(|row| format!("{row},Ann,,comment number {row},0\n"));
    fs::write(&file, HEADER.to_owned() + &rows.collect::<String>()).unwrap();
    let data = text(up.folder.path());
    let import = ["import", "youtube-csv", "--json", text(&file)];

    // Interrupted once the first comments are there.
    let mut tail = agora(&["events", "tail", "--source", "comment", "--limit", "100"])
        .args(["--data", data])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let child = agora(&import)
        .args(["--data", data])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    BufReader::new(tail.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    tail.kill().ok();
    tail.wait().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(String::from_utf8_lossy(&output.stderr).contains("run the same command again"));
    let first = &reports(&String::from_utf8(output.stdout).unwrap())[0];
    assert_eq!(first["stopped"], true);

    let second = &reports(&up.agora(&import))[0];
    assert_eq!(second["stopped"], false);
    assert_eq!(second["alreadyThere"], first["imported"]);
    let imported = first["imported"].as_u64().unwrap() + second["imported"].as_u64().unwrap();
    assert_eq!(imported, ROWS);
}
