//! Whether the embedded NATS server can write, and what is done if it cannot.
//!
//! A server whose disk was full refuses every further message of a stream, without an answer,
//! until it is started again; `/healthz` of its monitoring port says so.

use std::{net::SocketAddr, path::Path, time::Duration};

use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::disk::Room;

/// How often the server is asked.
const CHECK_EVERY: Duration = Duration::from_secs(2);
/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// The longest answer that is read.
const MAX_ANSWER: u64 = 64 * 1024;
/// How soon after a restart there may be another one, at first and at last.
const MIN_PAUSE: Duration = Duration::from_secs(5);
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// What is said while all is well.
pub const RUNNING: &str = "running";

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Well,
    /// A write has failed, and none will succeed before the next start.
    CannotWrite(String),
    /// Something else that no restart mends.
    Unwell(String),
    Nothing,
}

/// How often a server is started again: at once the first time, then with growing pauses, until
/// it was well for long.
#[derive(Debug)]
pub struct Restarts {
    pause: Duration,
    not_before: Instant,
}

impl Restarts {
    pub fn new() -> Self {
        Self { pause: MIN_PAUSE, not_before: Instant::now() }
    }

    fn is_due(&self) -> bool {
        Instant::now() >= self.not_before
    }

    fn count(&mut self) {
        let now = Instant::now();
        if now > self.not_before + MAX_PAUSE {
            self.pause = MIN_PAUSE;
        }
        self.not_before = now + self.pause;
        self.pause = (self.pause * 2).min(MAX_PAUSE);
    }
}

/// Watches over a server until it must be started again: it cannot write, and its disk has
/// room. What is found meanwhile is told as `detail`.
pub async fn until_stuck(
    monitoring: SocketAddr,
    store: &Path,
    restarts: &mut Restarts,
    detail: &watch::Sender<String>,
) {
    let mut before = Said::Well;
    let mut told = (Said::Well, false);
    loop {
        let said = timeout(ANSWER, ask(monitoring)).await.ok().flatten().unwrap_or(Said::Nothing);
        let full = Room::of(store).filter(|room| !room.is_enough());
        let is_writable = !matches!(said, Said::CannotWrite(_));
        if !is_writable && full.is_none() && restarts.is_due() {
            restarts.count();
            tracing::warn!("the NATS server cannot write though there is room: restarting it");
            tell(detail, "restarting: it could not write".to_owned());
            return;
        }
        // On a busy machine an answer comes late now and then.
        let is_certain = !matches!(said, Said::Unwell(_) | Said::Nothing) || said == before;
        if is_certain {
            let text = in_words(&said, full.as_ref());
            // How much is free changes all the time: that alone is no news.
            let news = (said.clone(), full.is_some());
            if news != told && text != RUNNING {
                tracing::warn!(detail = text, "the NATS server is not well");
            }
            told = news;
            tell(detail, text);
        }
        before = said;
        sleep(CHECK_EVERY).await;
    }
}

fn in_words(said: &Said, full: Option<&Room>) -> String {
    match (said, full) {
        (Said::CannotWrite(_), Some(room)) => {
            format!("it cannot write, so that nothing new is moderated or shown: {}", room.told())
        }
        (Said::CannotWrite(why), None) => format!("it cannot write: {why}"),
        (Said::Unwell(why), _) => why.clone(),
        (Said::Nothing, _) => "it does not say whether it is well".to_owned(),
        (Said::Well, Some(room)) => room.told(),
        (Said::Well, None) => RUNNING.to_owned(),
    }
}

/// Tells what is new.
pub fn tell(detail: &watch::Sender<String>, text: String) {
    detail.send_if_modified(|told| {
        let changed = *told != text;
        *told = text;
        changed
    });
}

/// Asks a server how it is; none if it does not answer.
async fn ask(monitoring: SocketAddr) -> Option<Said> {
    let mut stream = TcpStream::connect(monitoring).await.ok()?;
    // An answer to HTTP/1.0 comes in one piece and ends with the connection.
    let request = format!("GET /healthz HTTP/1.0\r\nHost: {monitoring}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer).await.ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    parse(body)
}

fn parse(body: &str) -> Option<Said> {
    #[derive(Deserialize)]
    struct Health {
        status: String,
        #[serde(default)]
        error: String,
    }

    let Health { status, error } = serde_json::from_str(body).ok()?;
    if status == "ok" {
        return Some(Said::Well);
    }
    let cannot_write = ["write error", "no space left on device"];
    Some(match cannot_write.iter().any(|sign| error.contains(sign)) {
        true => Said::CannotWrite(error),
        false => Said::Unwell(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_read() {
        assert_eq!(parse(r#"{"status": "ok"}"#), Some(Said::Well));
        let error = "JetStream stream '$G > AGORA_POST' write error: write 1.blk: no space left \
                     on device";
        let body = format!(r#"{{"status": "unavailable", "error": "{error}"}}"#);
        assert_eq!(parse(&body), Some(Said::CannotWrite(error.into())));
        let body = r#"{"status": "unavailable", "error": "JetStream is not current"}"#;
        assert_eq!(parse(body), Some(Said::Unwell("JetStream is not current".into())));
        assert_eq!(parse("404 page not found"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn restarts_come_with_growing_pauses() {
        let mut restarts = Restarts::new();
        let mut waited = Vec::new();
        for _ in 0..9 {
            let began = Instant::now();
            while !restarts.is_due() {
                sleep(Duration::from_secs(1)).await;
            }
            restarts.count();
            waited.push(began.elapsed().as_secs());
        }
        assert_eq!(waited, [0, 5, 10, 20, 40, 80, 160, 300, 300]);
        // After a long time without one it begins anew.
        sleep(3 * MAX_PAUSE).await;
        restarts.count();
        sleep(MIN_PAUSE).await;
        assert!(restarts.is_due());
    }
}
