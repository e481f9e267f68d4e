use std::os::unix::fs::PermissionsExt as _;

use crate::program::{agora, refused, stdout, text};

#[test]
fn a_token_is_printed_for_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let pair = chassis::auth::token::generate_key().unwrap();
    let key = folder.path().join("key.pem");
    std::fs::write(&key, pair.private_pem).unwrap();
    let arguments =
        ["token", "--user", "ann", "--site", "blog", "--role", "author,moderator", "--key"];
    let output = agora(&[&arguments[..], &[text(&key)]].concat()).output().unwrap();
    assert!(output.status.success());
    assert_eq!(stdout(&output).trim().split('.').count(), 3);
}

#[test]
fn a_key_that_is_not_there_or_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["token", "--user", "ann", "--role", "author", "--data", text(folder.path())];
    let line = refused(&mut agora(&arguments));
    assert!(line.contains("key.pem"), "{line}");
    std::fs::write(folder.path().join("key.pem"), "no key").unwrap();
    let line = refused(&mut agora(&arguments));
    assert!(line.contains("key.pem") && line.contains("Ed25519"), "{line}");
}

#[test]
fn a_token_is_written_to_a_file_that_its_owner_alone_may_read() {
    let folder = tempfile::tempdir().unwrap();
    let pair = chassis::auth::token::generate_key().unwrap();
    let (key, file) = (folder.path().join("key.pem"), folder.path().join("token"));
    std::fs::write(&key, pair.private_pem).unwrap();
    let arguments = ["token", "--user", "agora-query", "--site", "*", "--role", "service"];
    let to = ["--key", text(&key), "--to", text(&file)];
    let output = agora(&[&arguments[..], &to].concat()).output().unwrap();
    assert!(output.status.success());
    assert_eq!(stdout(&output), "");
    assert_eq!(std::fs::read_to_string(&file).unwrap().split('.').count(), 3);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let nowhere = folder.path().join("absent/token");
    let to = ["--key", text(&key), "--to", text(&nowhere)];
    let line = refused(&mut agora(&[&arguments[..], &to].concat()));
    assert!(line.contains("absent"), "{line}");
}
