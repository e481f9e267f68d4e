use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

use crate::Error;

/// How long the caller is willing to wait.
const HEADER: &str = "grpc-timeout";
/// How many digits gRPC allows in it.
const MAX_DIGITS: usize = 8;

/// When a request must be answered: the caller's deadline or the server's, whichever is
/// earlier.
///
/// # Errors
/// [`Error::Invalid`] if the caller's cannot be read.
pub(super) fn of(headers: &HeaderMap, request_timeout: Duration) -> Result<Instant, Error> {
    let timeout = match headers.get(HEADER) {
        None => request_timeout,
        Some(value) => parse(value.as_bytes())
            .ok_or_else(|| Error::invalid(HEADER, "must be digits and a unit, such as 100m"))?
            .min(request_timeout),
    };
    Ok(Instant::now() + timeout)
}

/// At most 8 digits and a unit, as the gRPC protocol has it.
fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.len() > MAX_DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    match unit {
        b'H' => Some(Duration::from_secs(number * 3_600)),
        b'M' => Some(Duration::from_secs(number * 60)),
        b'S' => Some(Duration::from_secs(number)),
        b'm' => Some(Duration::from_millis(number)),
        b'u' => Some(Duration::from_micros(number)),
        b'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_digits() {
        assert_eq!(parse(b"2H"), Some(Duration::from_secs(7_200)));
        assert_eq!(parse(b"3M"), Some(Duration::from_secs(180)));
        assert_eq!(parse(b"99999999S"), Some(Duration::from_secs(99_999_999)));
        assert_eq!(parse(b"100m"), Some(Duration::from_millis(100)));
        assert_eq!(parse(b"5u"), Some(Duration::from_micros(5)));
        assert_eq!(parse(b"7n"), Some(Duration::from_nanos(7)));
        for wrong in ["", "m", "1", "123456789m", "-1m", "+1m", "1.5S", "1x"] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
