use std::time::{Duration, SystemTime};

use prost_types::Timestamp;

/// A moment in UTC, in microseconds since 1970: what databases hold. Between the
/// years 1 and 9999, as protobuf's timestamps are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(i64);

/// A timestamp outside the years 1 to 9999.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a time between the years 1 and 9999")]
pub struct InvalidTime;

impl Time {
    const MIN_SECONDS: i64 = -62_135_596_800;
    const MAX_SECONDS: i64 = 253_402_300_799;

    /// The clock's time.
    pub fn now() -> Self {
        let since_epoch = SystemTime::UNIX_EPOCH.elapsed().unwrap_or(Duration::ZERO);
        Self(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }

    /// From microseconds since 1970.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// How long ago it was; nothing if it is still to come, as other machines' clocks differ.
    pub fn elapsed(self) -> Duration {
        Duration::from_micros(u64::try_from(Self::now().0.saturating_sub(self.0)).unwrap_or(0))
    }

    /// The moment this long before; the beginning of time if there is none.
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl From<Time> for Timestamp {
    fn from(time: Time) -> Self {
        Self {
            seconds: time.0.div_euclid(1_000_000),
            nanos: time.0.rem_euclid(1_000_000) as i32 * 1_000,
        }
    }
}

impl TryFrom<&Timestamp> for Time {
    type Error = InvalidTime;

    fn try_from(timestamp: &Timestamp) -> Result<Self, InvalidTime> {
        let seconds_valid = (Self::MIN_SECONDS..=Self::MAX_SECONDS).contains(&timestamp.seconds);
        if !seconds_valid || !(0..1_000_000_000).contains(&timestamp.nanos) {
            return Err(InvalidTime);
        }
        Ok(Self(timestamp.seconds * 1_000_000 + i64::from(timestamp.nanos) / 1_000))
    }
}
