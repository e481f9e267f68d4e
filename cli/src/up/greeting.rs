//! What `agora up` says once it listens.

use crate::{
    folder::{Folder, Run},
    output,
    render::style,
};

/// What listens where, and what to try next. `data` is the folder that was named, if
/// one was: the commands need it too.
pub fn lines(run: &Run, nats: &str, data: Option<&Folder>) -> String {
    let row = |name: &str, address: &str, note: &str| {
        format!("  {name:<16} {address:<28} {}\n", style::faint(note))
    };
    let next = [
        ("agora demo", "a site with real comments and a queue"),
        ("agora import youtube-csv FILE…", "a post per file, with its comments"),
        ("agora post create --title Hello", "a post of your own"),
        ("agora feed", "the posts"),
        ("agora thread POST", "a post and its comments"),
        ("agora queue", "what waits for a moderator"),
        ("agora events tail", "what happens"),
        ("agora verify", "is everything equal everywhere?"),
    ];
    let mut text = style::strong(&format!("agora {} is up", run.version)) + "\n";
    text += &row("gRPC, gRPC-Web", &format!("http://{}", run.grpc), "every service");
    text += &row("HTTP", &format!("http://{}", run.http), "/livez /readyz /metrics");
    text += &row("NATS", &run.nats, nats);
    text += &row("data", &run.data.display().to_string(), "");
    text += "try next, in another terminal:\n";
    if let Some(folder) = data {
        text += &format!(
            "  export AGORA_DATA={}\n",
            output::shell_word(&folder.path().to_string_lossy())
        );
    }
    for (command, note) in next {
        text += &format!("  {command:<34} {}\n", style::faint(note));
    }
    let port = run.grpc.rsplit_once(':').map_or("7400", |(_, port)| port);
    text += &format!("  grpcurl -plaintext localhost:{port} list\n");
    text += "stop with Ctrl-C\n";
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_name_the_folder_that_was_named() {
        owo_colors::set_override(false);
        let run = Run {
            version: "0.1.0".into(),
            process_id: 1,
            grpc: "127.0.0.1:7400".into(),
            http: "127.0.0.1:7480".into(),
            nats: "nats://127.0.0.1:7422".into(),
            nats_process_id: Some(2),
            data: "/a b".into(),
            key: "/a b/key.pem".into(),
            issuer: "agora".into(),
            audience: "agora".into(),
        };
        let folder = Folder::find(Some("/a b".as_ref())).unwrap();
        let text = lines(&run, "nats-server 2.15.1", Some(&folder));
        assert!(text.contains("export AGORA_DATA='/a b'"), "{text}");
        assert!(text.contains("localhost:7400 list"), "{text}");
        assert!(!lines(&run, "", None).contains("AGORA_DATA"));
    }
}
