//! How far a consumer is behind its stream, measured beside it: whatever it hangs at, and
//! on replicas that do not consume, too. While the stream cannot be asked, nobody knows that
//! the consumer has everything, so the seconds grow.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use bus_schema::{Sequence, Source};
use metrics::{Gauge, Unit};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::Watermarks;
use chassis::{Bus, Host};

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long the stream may take to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// How many looks are remembered at most: an hour of them.
const MAX_LOOKS: usize = 720;

/// Measures a consumer as long as the host runs.
pub(super) fn watch(host: &mut Host, service: &str, source: Source, watermarks: &Watermarks) {
    let gauges = Gauges::new(service, source);
    let (bus, watermarks) = (host.bus(), watermarks.clone());
    let shutdown = host.shutdown();
    host.spawn(&format!("{service} lag behind {source}"), async move {
        let mut lag = Lag::new(Instant::now());
        let mut every = interval(LOOK_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(every.tick()).await.is_some() {
            let last = last(&bus, source).await;
            let (now, applied) = (Instant::now(), watermarks.reached().get(source));
            lag.looked(now, last, applied);
            gauges.set(&lag, now, applied);
        }
        Ok::<(), Infallible>(())
    });
}

/// Where the stream ends, if it says so and is this installation's.
async fn last(bus: &Bus, source: Source) -> Option<Sequence> {
    let stream = timeout(ANSWER, bus.stream(source)).await.ok()?.ok()??;
    Some(Sequence(stream.cached_info().state.last_sequence))
}

struct Gauges {
    sequence: Gauge,
    events: Gauge,
    seconds: Gauge,
}

impl Gauges {
    fn new(service: &str, source: Source) -> Self {
        metrics::describe_gauge!(
            "agora_consumer_sequence",
            Unit::Count,
            "The last event of a source that a service has applied"
        );
        metrics::describe_gauge!(
            "agora_consumer_lag_events",
            Unit::Count,
            "How many events of a source's stream a service has not applied"
        );
        metrics::describe_gauge!(
            "agora_consumer_lag_seconds",
            Unit::Seconds,
            "For how long a service is not known to have applied all of a source's stream"
        );
        let labels = [("service", service.to_owned()), ("source", source.as_str().to_owned())];
        Self {
            sequence: metrics::gauge!("agora_consumer_sequence", &labels),
            events: metrics::gauge!("agora_consumer_lag_events", &labels),
            seconds: metrics::gauge!("agora_consumer_lag_seconds", &labels),
        }
    }

    fn set(&self, lag: &Lag, now: Instant, applied: Sequence) {
        self.sequence.set(applied.0 as f64);
        self.events.set(lag.events(applied) as f64);
        self.seconds.set((now - lag.current).as_secs_f64());
    }
}

/// Where the stream has ended at which time, as far as that is not applied.
struct Lag {
    looks: VecDeque<(Sequence, Instant)>,
    /// Where the stream has ended last.
    last: Sequence,
    /// What the stream held then, is applied.
    current: Instant,
}

impl Lag {
    /// Of a consumer of which nothing is known yet.
    const fn new(now: Instant) -> Self {
        Self { looks: VecDeque::new(), last: Sequence::ZERO, current: now }
    }

    /// Takes note of where the stream ends, if it says so, and of what is applied.
    fn looked(&mut self, now: Instant, last: Option<Sequence>, applied: Sequence) {
        if let Some(last) = last {
            // A stream that was made anew begins again: what it held before is not waited for.
            self.looks.retain(|(before, _)| *before <= last);
            if self.looks.len() == MAX_LOOKS {
                // The oldest tells for how long it is behind.
                self.looks.pop_back();
            }
            self.looks.push_back((last, now));
            self.last = last;
        }
        while let Some((last, then)) = self.looks.front().copied()
            && last <= applied
        {
            self.current = then;
            self.looks.pop_front();
        }
    }

    fn events(&self, applied: Sequence) -> u64 {
        self.last.0.saturating_sub(applied.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A consumer that is looked at every 5 seconds.
    struct Looks {
        lag: Lag,
        now: Instant,
    }

    impl Looks {
        fn new() -> Self {
            let now = Instant::now();
            Self { lag: Lag::new(now), now }
        }

        /// The lag in events and in seconds.
        fn look(&mut self, last: Option<u64>, applied: u64) -> (u64, u64) {
            self.now += LOOK_EVERY;
            self.lag.looked(self.now, last.map(Sequence), Sequence(applied));
            (self.lag.events(Sequence(applied)), (self.now - self.lag.current).as_secs())
        }
    }

    #[test]
    fn who_has_everything_is_not_behind() {
        let mut looks = Looks::new();
        assert_eq!(looks.look(Some(0), 0), (0, 0));
        assert_eq!(looks.look(Some(100), 100), (0, 0));
    }

    #[test]
    fn who_has_all_that_was_there_before_is_behind_by_one_look() {
        let mut looks = Looks::new();
        looks.look(Some(100), 100);
        for n in 2..1_000 {
            assert!(looks.look(Some(n * 100), n * 100 - 50).1 <= 5);
        }
    }

    #[test]
    fn the_seconds_of_who_stands_still_grow() {
        let mut looks = Looks::new();
        looks.look(Some(100), 100);
        assert_eq!(looks.look(Some(200), 100), (100, 5));
        assert_eq!(looks.look(Some(200), 150), (50, 10));
        assert_eq!(looks.look(Some(200), 200), (0, 0));
    }

    #[test]
    fn the_seconds_grow_while_the_stream_cannot_be_asked() {
        let mut looks = Looks::new();
        looks.look(Some(100), 100);
        let seconds: Vec<u64> = (0..3).map(|_| looks.look(None, 100).1).collect();
        assert_eq!(seconds, [5, 10, 15]);
        assert_eq!(looks.look(Some(100), 100), (0, 0));
    }

    #[test]
    fn a_stream_that_ends_earlier_than_before_is_no_lag() {
        let mut looks = Looks::new();
        looks.look(Some(500), 100);
        assert_eq!(looks.look(Some(100), 100), (0, 0));
    }
}
