//! The NATS server that `agora up` runs over: found, checked, configured, started.

use std::{
    env,
    ffi::OsString,
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{error::Error, folder::Folder};

pub use super::supervisor::Server;

use super::disk;

/// Names the program to run.
const PROGRAM: &str = "AGORA_NATS_SERVER";
/// Older servers ignore without a word what the streams need.
const OLDEST: (u32, u32) = (2, 12);
const WHAT_TO_DO: &str = "install one of at least 2.12 (`./dev setup` fetches it), name it with AGORA_NATS_SERVER, or \
     use a running one with --nats-url";

/// What is known before the server is started.
#[derive(Clone, Debug)]
pub struct Setup {
    pub program: OsString,
    /// As it says itself: `2.15.1`.
    pub version: String,
    pub port: u16,
    pub config: PathBuf,
    pub log: PathBuf,
    /// Where it keeps the streams.
    pub store: PathBuf,
}

impl Setup {
    /// Finds the program, takes a port (any free one for 0) and writes the
    /// configuration file into the data folder.
    pub fn new(folder: &Folder, port: u16) -> Result<Self, Error> {
        let named = env::var_os(PROGRAM).filter(|program| !program.is_empty());
        let program = named.unwrap_or_else(|| "nats-server".into());
        let version = version(&program)?;
        let port = free_port(port)?;
        let (config, log) = (folder.file("nats.conf"), folder.file("nats.log"));
        let store = disk::store(folder);
        let text = configuration(port, &store, &log);
        fs::write(&config, text).map_err(Error::file("write", &config))?;
        Ok(Self { program, version, port, config, log, store })
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }
}

/// Asks the program for its version and refuses one that is too old.
fn version(program: &OsString) -> Result<String, Error> {
    let name = program.to_string_lossy();
    let output = Command::new(program).arg("--version").output().map_err(|error| {
        Error::plain(match error.kind() {
            io::ErrorKind::NotFound => format!("there is no {name}: {WHAT_TO_DO}"),
            _ => format!("cannot run {name} ({error}): {WHAT_TO_DO}"),
        })
    })?;
    let output = String::from_utf8_lossy(&output.stdout);
    let Some((version, number)) = parse_version(&output) else {
        return Err(Error::plain(format!("{name} does not print its version: {WHAT_TO_DO}")));
    };
    if number < OLDEST {
        return Err(Error::plain(format!("{name} is version {version}, too old: {WHAT_TO_DO}")));
    }
    Ok(version)
}

/// `nats-server: v2.15.1` is 2.15.1, with 2 and 15.
fn parse_version(output: &str) -> Option<(String, (u32, u32))> {
    let version = output.split_whitespace().last()?.trim_start_matches('v');
    let mut parts = version.split(['.', '-']);
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?.parse().ok()?;
    Some((version.to_owned(), (major, minor)))
}

/// The port itself if it is free; any free one for 0.
pub fn free_port(port: u16) -> Result<u16, Error> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|it| it.local_addr());
    match bound {
        Ok(address) => Ok(address.port()),
        Err(error) => Err(Error::plain(format!(
            "cannot use port {port} for NATS ({error}): stop what listens there, or choose \
             another with --nats-port"
        ))),
    }
}

/// The server's configuration file. A message may have 2 MiB (the streams' own limit)
/// and its headers. The streams may take what the disk has: by itself the server allows them
/// three quarters of what is free when it starts, and keeps to that when there is more room.
fn configuration(port: u16, store: &Path, log: &Path) -> String {
    let quoted = |path: &Path| serde_json::Value::from(path.to_string_lossy()).to_string();
    format!(
        "# Written by `agora up` at every start; changes are lost.\n\
         server_name: agora\n\
         listen: \"127.0.0.1:{port}\"\n\
         max_payload: 3MB\n\
         log_file: {log}\n\
         logfile_size_limit: 16MB\n\
         logfile_max_num: 2\n\
         jetstream {{\n  store_dir: {store}\n  max_file_store: 1PB\n}}\n",
        log = quoted(log),
        store = quoted(store),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let (version, number) = parse_version("nats-server: v2.15.1\n").unwrap();
        assert_eq!((version.as_str(), number), ("2.15.1", (2, 15)));
        assert_eq!(parse_version("nats-server: v2.12.0-RC.1").unwrap().1, (2, 12));
        assert!(parse_version("nats-server: v2.9.10").unwrap().1 < OLDEST);
        assert_eq!(parse_version(""), None);
        assert_eq!(parse_version("something else"), None);
    }

    #[test]
    fn a_missing_program_says_what_to_do() {
        let error = version(&"no-such-nats-server".into()).unwrap_err().to_string();
        assert!(error.starts_with("there is no no-such-nats-server: install"), "{error}");
    }

    #[test]
    fn a_port_in_use_is_named() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = free_port(port).unwrap_err().to_string();
        assert!(error.contains("--nats-port"), "{error}");
        assert_ne!(free_port(0).unwrap(), 0);
    }

    #[test]
    fn paths_are_quoted() {
        let text = configuration(1, Path::new("/a \"b\"/nats"), Path::new("/a \"b\"/nats.log"));
        assert!(text.contains(r#"store_dir: "/a \"b\"/nats""#), "{text}");
    }
}
