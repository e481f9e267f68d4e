//! Times as people read them.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Older than this, a date says more than a number of days.
const MAX_RELATIVE: u64 = 30 * DAY;

/// How long ago something was, or its date if that is long ago; empty for no time.
pub fn ago(time: Option<&Timestamp>, now: SystemTime) -> String {
    let Some(time) = time else { return String::new() };
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let Ok(seconds) = u64::try_from(now.saturating_sub(time.seconds)) else {
        // Clocks of two machines may differ by a little.
        return "just now".to_owned();
    };
    match seconds {
        0..MINUTE => "just now".to_owned(),
        MINUTE..HOUR => format!("{} min ago", seconds / MINUTE),
        HOUR..DAY => format!("{} h ago", seconds / HOUR),
        DAY..MAX_RELATIVE => format!("{} d ago", seconds / DAY),
        _ => date(time),
    }
}

/// The date and minute: `2013-11-07 06:20 UTC`.
pub fn date(time: &Timestamp) -> String {
    let text = time.to_string();
    format!("{} UTC", text.get(..16).unwrap_or(&text).replace('T', " "))
}

/// The time in UTC to the second: `2013-11-07T06:20:48Z`; empty for no time.
pub fn exact(time: Option<&Timestamp>) -> String {
    let Some(time) = time else { return String::new() };
    Timestamp { seconds: time.seconds, nanos: 0 }.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn recent_times_are_relative_and_old_ones_are_dates() {
        let now = SystemTime::UNIX_EPOCH
            + Duration::from_secs(at("2024-05-10T12:00:00Z").seconds.unsigned_abs());
        for (time, shown) in [
            ("2024-05-10T11:59:30Z", "just now"),
            ("2024-05-10T12:00:05Z", "just now"),
            ("2024-05-10T11:55:00Z", "5 min ago"),
            ("2024-05-10T09:00:00Z", "3 h ago"),
            ("2024-05-08T11:00:00Z", "2 d ago"),
            ("2013-11-07T06:20:48Z", "2013-11-07 06:20 UTC"),
        ] {
            assert_eq!(ago(Some(&at(time)), now), shown, "{time}");
        }
        assert_eq!(ago(None, now), "");
    }

    #[test]
    fn exact_times_have_no_fraction() {
        assert_eq!(exact(Some(&at("2015-05-28T21:39:52.376Z"))), "2015-05-28T21:39:52Z");
    }
}
