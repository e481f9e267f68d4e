//! Who answers, decided without I/O.

use std::{collections::VecDeque, time::Duration};

use bus_schema::{Source, Time};
use eventstore::Position;
use tokio::time::Instant;

/// A view that lacks so many events when it is looked for the first time is being made.
const NEW: u64 = 1_000;
/// How often in a row an owner must fail before it is left alone.
const FAILURES: u32 = 3;
/// For how long.
const REST: Duration = Duration::from_secs(10);
/// How many looks in a row must find that the view has what the look before saw.
const STEADY: u32 = 3;
/// How many looks are remembered at most.
const MAX_SAMPLES: usize = 3_600;

/// Who answers, and why.
#[derive(Debug)]
pub(super) struct State {
    /// How long the view may lack something.
    after: Duration,
    /// Where the owners were, and when, as far as the view does not include it yet.
    samples: VecDeque<Sample>,
    /// The last moment whose state the view includes, and how far the owners were then.
    included: Option<(Position, Time)>,
    /// Whether the owners answer.
    on: bool,
    /// Whether it was looked before.
    has_looked: bool,
    /// How many looks in a row have found the view caught up.
    steady: u32,
    failures: u32,
    /// Until then the owners are left alone.
    rest: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    heads: Position,
    seen: Instant,
    time: Time,
}

impl State {
    pub(super) const fn new(after: Duration) -> Self {
        Self {
            after,
            samples: VecDeque::new(),
            included: None,
            on: false,
            has_looked: false,
            steady: 0,
            failures: 0,
            rest: None,
        }
    }

    /// Whether the owners answer.
    pub(super) const fn is_on(&self) -> bool {
        self.on && self.rest.is_none()
    }

    /// Whether the owners are left alone still.
    pub(super) fn rests(&mut self, now: Instant) -> bool {
        // One look decides whether they are asked again.
        self.rest.is_some_and(|until| now < until)
    }

    /// What is said of it, in words.
    pub(super) const fn said(&self) -> &'static str {
        match (self.on, self.rest.is_some()) {
            (true, false) => "the view is behind: reads fall back to the owners",
            (true, true) => "the view is behind, and the circuit breaker to the owners is open",
            (false, true) => "the circuit breaker to the owners is open",
            (false, false) => "the view answers",
        }
    }

    /// Takes note of where the owners are, if they answered, and of what the view includes.
    pub(super) fn looked(
        &mut self,
        now: Instant,
        heads: Option<(Position, Time)>,
        reached: Position,
    ) {
        let Some((heads, time)) = heads else {
            self.failed(now);
            return;
        };
        (self.failures, self.rest) = (0, None);
        // An owner whose database was restored has another history: nobody will ever include
        // where it was before.
        if self.samples.back().is_some_and(|last| !heads.includes(&last.heads, &Source::ALL)) {
            self.samples.clear();
        }
        if self.samples.len() == MAX_SAMPLES {
            // The oldest tells for how long the view is behind.
            self.samples.pop_back();
        }
        self.samples.push_back(Sample { heads, seen: now, time });
        self.forget(reached);

        let behind = self.samples.front().map_or(Duration::ZERO, |oldest| now - oldest.seen);
        let is_new = !self.has_looked && lag(heads, reached) > NEW;
        self.has_looked = true;
        self.steady = if behind.is_zero() && !is_new { self.steady + 1 } else { 0 };
        if is_new || behind >= self.after {
            self.on = true;
        } else if self.steady >= STEADY || lag(heads, reached) == 0 {
            self.on = false;
        }
    }

    /// An owner did not answer.
    pub(super) fn failed(&mut self, now: Instant) {
        self.failures += 1;
        if self.failures >= FAILURES {
            self.rest = Some(now + REST);
        }
    }

    /// The last moment whose state a view at this position includes.
    pub(super) fn included(&mut self, reached: Position) -> Option<Time> {
        self.forget(reached);
        let (heads, time) = self.included?;
        reached.includes(&heads, &Source::ALL).then_some(time)
    }

    fn forget(&mut self, reached: Position) {
        while let Some(oldest) = self.samples.front()
            && reached.includes(&oldest.heads, &Source::ALL)
        {
            self.included = Some((oldest.heads, oldest.time));
            self.samples.pop_front();
        }
    }
}

fn lag(heads: Position, reached: Position) -> u64 {
    let lag = |source| heads.get(source).0.saturating_sub(reached.get(source).0);
    Source::ALL.into_iter().map(lag).sum()
}

#[cfg(test)]
mod tests {
    use bus_schema::Sequence;

    use super::*;

    const AFTER: Duration = Duration::from_secs(5);

    fn at(sequence: u64) -> Position {
        Position::ZERO.with(Source::Comment, Sequence(sequence))
    }

    /// A state that is looked at every second.
    struct Looks {
        state: State,
        now: Instant,
    }

    impl Looks {
        fn new() -> Self {
            Self { state: State::new(AFTER), now: Instant::now() }
        }

        fn look(&mut self, owner: Option<u64>, view: u64) -> bool {
            self.now += Duration::from_secs(1);
            if !self.state.rests(self.now) {
                let heads = owner.map(|owner| (at(owner), Time::from_micros(1)));
                self.state.looked(self.now, heads, at(view));
            }
            self.state.is_on()
        }
    }

    #[test]
    fn a_view_that_is_being_made_is_not_read() {
        let mut looks = Looks::new();
        assert!(looks.look(Some(5_000), 0));
        assert!(looks.look(Some(5_000), 4_999));
        assert!(!looks.look(Some(5_000), 5_000));
        // A small one is there before anybody asks.
        assert!(!Looks::new().look(Some(10), 0));
    }

    #[test]
    fn a_view_that_follows_is_read_however_much_is_written() {
        let mut looks = Looks::new();
        for second in 1..100 {
            assert!(!looks.look(Some(second * 1_000), second * 1_000 - 900));
        }
    }

    #[test]
    fn owners_answer_while_the_view_is_behind_for_too_long() {
        let mut looks = Looks::new();
        assert!(!looks.look(Some(100), 100));
        for _ in 0..5 {
            assert!(!looks.look(Some(200), 100));
        }
        assert!(looks.look(Some(200), 100));
        assert!(!looks.look(Some(200), 200));
        assert!(looks.state.included(at(200)).is_some());
    }

    #[test]
    fn what_an_owner_has_lost_is_not_waited_for() {
        let mut looks = Looks::new();
        assert!(!looks.look(Some(200), 100));
        for _ in 0..20 {
            assert!(!looks.look(Some(150), 150), "the view has all that there is");
        }
    }

    #[test]
    fn a_busy_view_is_read_again_only_once_it_keeps_up() {
        let mut looks = Looks::new();
        assert!(looks.look(Some(10_000), 0));
        let on: Vec<bool> =
            (1..8).map(|n| looks.look(Some(10_000 + n * 100), 10_000 + n * 100 - 50)).collect();
        assert_eq!(on, [true, true, false, false, false, false, false]);
    }

    #[test]
    fn owners_that_do_not_answer_are_left_alone() {
        let mut looks = Looks::new();
        assert!(looks.look(Some(5_000), 0));
        assert!(looks.look(None, 0));
        assert!(looks.look(None, 0));
        assert!(!looks.look(None, 0));
        for _ in 0..9 {
            assert!(!looks.look(Some(5_000), 0), "they are not even asked");
        }
        assert!(looks.look(Some(5_000), 0));
    }
}
