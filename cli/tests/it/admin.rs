//! What operators do, by the program.

use serde_json::Value;

use crate::{
    program::{agora, refused, text},
    up::Up,
};

#[test]
fn streams_are_shown_and_verified() {
    let up = Up::start();
    up.agora(&["post", "create", "--title", "Hello"]);
    let status = up.agora(&["admin", "stream", "status", "--json"]);
    let posts: Value = serde_json::from_str(status.lines().next().unwrap()).unwrap();
    assert_eq!((&posts["source"], &posts["journalSequence"]), (&"post".into(), &1.into()));
    assert_eq!(status.lines().count(), 3, "{status}");
    up.agora(&["verify"]);
    let verified = up.agora(&["admin", "stream", "verify", "post"]);
    assert!(verified.contains("post: 1 message: equal"), "{verified}");

    let data = text(up.folder.path());
    let line = refused(&mut agora(&["admin", "stream", "refill", "post", "--data", data]));
    assert!(line.contains("STREAM_HEALTHY"), "{line}");
}

#[test]
fn the_view_is_made_anew_and_back() {
    let up = Up::start();
    up.agora(&["post", "create", "--title", "Hello"]);
    up.agora(&["verify"]);
    let data = text(up.folder.path());
    let line = refused(&mut agora(&["admin", "rebuild", "query", "--undo", "--data", data]));
    assert!(line.contains("NO_OLD_VIEW"), "{line}");
    for arguments in [&["admin", "rebuild", "query"][..], &["admin", "rebuild", "query", "--undo"]]
    {
        let made = up.agora(arguments);
        assert!(made.contains("switched to the new view, rebuilt from 1 event"), "{made}");
        assert!(up.agora(&["feed"]).contains("Hello"));
    }
    up.agora(&["verify"]);
}

#[test]
fn a_database_is_made_again() {
    let up = Up::start();
    up.agora(&["post", "create", "--title", "Hello"]);
    up.agora(&["verify"]);
    let made = up.agora(&["admin", "restore", "post"]);
    assert!(made.contains("its journal has 1 event"), "{made}");
    up.agora(&["post", "create", "--title", "Again"]);
    up.agora(&["verify"]);
    let data = text(up.folder.path());
    let line = refused(&mut agora(&["admin", "fork", "post", "--data", data]));
    assert!(line.contains("NOT_FORKED"), "{line}");
}

#[test]
fn dead_letters_are_asked_for_by_name() {
    let up = Up::start();
    assert_eq!(up.agora(&["admin", "dead-letters", "list", "--json"]), "");
    assert_eq!(up.agora(&["admin", "dead-letters", "log"]), "");
    assert!(up.agora(&["admin", "dead-letters", "retry", "--all"]).contains("0 events applied"));
    let data = text(up.folder.path());
    let one = ["moderation", "comment:1", "--data", data];
    for (command, reason) in [("show", &[][..]), ("retry", &[]), ("drop", &["--reason", "a test"])]
    {
        let arguments = [&["admin", "dead-letters", command], &one[..], reason].concat();
        let line = refused(&mut agora(&arguments));
        assert!(line.contains("DEAD_LETTER_NOT_FOUND"), "{command}: {line}");
    }
    let drop = ["admin", "dead-letters", "drop", "query", "comment:1", "--reason", "no"];
    let line = refused(&mut agora(&[&drop[..], &["--data", data]].concat()));
    assert!(line.contains("DEAD_LETTER_KEPT"), "{line}");
    let show = ["admin", "dead-letters", "show", "nobody", "comment:1", "--data", data];
    assert!(refused(&mut agora(&show)).contains("SERVICE_NOT_HERE"));
}
