//! What is tried again, when, and how often.

use std::{error::Error as _, time::Duration};

use backon::{ExponentialBuilder, Retryable as _};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// How long a call is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Somebody waits at the terminal.
    Command,
    /// An import outlives the restart of a server.
    Import,
    /// A check gives a system so long to answer, and to include what was written.
    Check(Duration),
}

const FIRST_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(5);
const CHECK_DELAY: Duration = Duration::from_secs(1);
const COMMAND_RETRIES: usize = 6;
const IMPORT_RETRIES: usize = 20;

/// Makes a call, and again while the server is overloaded or away, at most a bounded
/// number of times.
pub async fn retry<T, F>(patience: Patience, call: impl FnMut() -> F) -> Result<T, Status>
where
    F: Future<Output = Result<T, Status>>,
{
    let backoff = ExponentialBuilder::default()
        .with_min_delay(FIRST_DELAY)
        .with_max_delay(MAX_DELAY)
        .with_jitter();
    let backoff = match patience {
        Patience::Command => backoff.with_max_times(COMMAND_RETRIES),
        Patience::Import => backoff.with_max_times(IMPORT_RETRIES),
        Patience::Check(time) => {
            let often = backoff.with_max_delay(CHECK_DELAY).without_max_times();
            often.with_total_delay(Some(time))
        }
    };
    call.retry(backoff)
        .sleep(tokio::time::sleep)
        .when(|status| is_passing(status, patience))
        .adjust(|status, delay| delay.map(|delay| delay.max(asked(status).unwrap_or_default())))
        .await
}

/// Whether the same call may succeed soon.
fn is_passing(status: &Status, patience: Patience) -> bool {
    // Who is asked to come back much later had better be told.
    if patience == Patience::Command && asked(status).is_some_and(|delay| delay > MAX_DELAY) {
        return false;
    }
    // Only what broke on the way has a source: a server's answer comes without.
    if status.source().is_some() {
        return true;
    }
    match status.code() {
        Code::Unavailable | Code::ResourceExhausted => true,
        // The server took too long, or ended in the middle of the call.
        Code::Cancelled | Code::DeadlineExceeded => patience != Patience::Command,
        _ => false,
    }
}

/// After what time the server asks for a retry.
fn asked(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tonic_types::ErrorDetails;

    use super::*;

    fn unavailable(delay: Duration) -> Status {
        let details = ErrorDetails::with_retry_info(Some(delay));
        Status::with_error_details(Code::Unavailable, "away", details)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_tried_again_until_it_succeeds() {
        let calls = Cell::new(0);
        let answer = retry(Patience::Command, || {
            calls.set(calls.get() + 1);
            let done = calls.get() == 3;
            async move { if done { Ok(()) } else { Err(unavailable(FIRST_DELAY)) } }
        });
        answer.await.unwrap();
        assert_eq!(calls.get(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_retries_is_bounded() {
        let calls = Cell::new(0);
        let answer = retry(Patience::Command, || {
            calls.set(calls.get() + 1);
            async { Err::<(), _>(unavailable(FIRST_DELAY)) }
        });
        answer.await.unwrap_err();
        assert_eq!(calls.get(), COMMAND_RETRIES + 1);
    }

    #[tokio::test]
    async fn a_refusal_is_final() {
        let calls = Cell::new(0);
        let answer = retry(Patience::Import, || {
            calls.set(calls.get() + 1);
            async { Err::<(), _>(Status::not_found("no post")) }
        });
        answer.await.unwrap_err();
        assert_eq!(calls.get(), 1);
    }

    #[test]
    fn a_connection_that_broke_is_made_again() {
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(is_passing(&Status::from_error(broken.into()), Patience::Command));
        assert!(!is_passing(&Status::unknown("a server's own"), Patience::Command));
    }

    #[test]
    fn a_command_does_not_wait_for_long() {
        assert!(!is_passing(&unavailable(Duration::from_secs(30)), Patience::Command));
        assert!(is_passing(&unavailable(Duration::from_secs(30)), Patience::Import));
    }
}
