//! What the tests of services share: a nats-server of a test's own, tokens, callers,
//! and what callers are told. Only with the feature `testing`, which nothing but
//! dev-dependencies turns on.
//!
//! Nothing here returns errors: what goes wrong fails the test that asked for it.

mod caller;
mod nats;
mod refusal;
mod texts;
mod tokens;

use std::{net::Ipv4Addr, time::Duration};

use tokio::time::{Instant, sleep};

use crate::config;

pub use caller::{Bearer, Connection, connect};
pub use nats::Nats;
pub use refusal::Refusal;
pub use texts::texts;
pub use tokens::Tokens;

/// More than anything here takes, however slow the machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// `[server]` on free ports of loopback.
pub fn server() -> config::Server {
    let any = (Ipv4Addr::LOCALHOST, 0).into();
    config::Server { listen: any, http_listen: any, ..Default::default() }
}

/// `[installation]` of everything in tests.
pub fn installation() -> config::Installation {
    config::Installation { name: Some("test".into()) }
}

/// Asks until there is an answer, at most for [`PATIENCE`].
///
/// # Panics
/// If there is none in time.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        sleep(LOOK_EVERY).await;
    }
}
