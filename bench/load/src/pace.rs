//! When requests are due: whenever the ones before are answered, or by a clock that does not wait for answers.

use std::time::Duration;

use clap::ValueEnum;

/// Below this, waiting in the system would oversleep: its timer counts whole milliseconds.
const SPIN: Duration = Duration::from_millis(2);

/// How requests follow each other in an open loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arrivals {
    /// As many users' requests do: at random, some close together
    Poisson,
    /// One after the other with equal gaps
    Even,
}

/// When requests are due.
#[derive(Debug)]
pub(crate) enum Pace {
    /// A connection sends again when it has all answers.
    Closed,
    /// A connection sends at moments that were settled before, whether answers came or not.
    Open(Schedule),
}

/// The moments of an open loop, in nanoseconds of the worker's clock.
#[derive(Debug)]
pub(crate) struct Schedule {
    arrivals: Arrivals,
    gap_ns: f64,
    next_ns: f64,
    random: fastrand::Rng,
    ended: bool,
}

// === impl Pace ===

impl Pace {
    /// Is nothing more due, once everything is answered?
    pub(crate) fn is_over(&self) -> bool {
        match self {
            Self::Closed => true,
            Self::Open(schedule) => schedule.ended,
        }
    }
}

// === impl Schedule ===

impl Schedule {
    /// So many requests a second from `start_ns` on.
    pub(crate) fn new(rate: f64, arrivals: Arrivals, start_ns: u64, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { arrivals, gap_ns: 1e9 / rate, next_ns: start_ns as f64, random, ended: false }
    }

    /// The next moment, when it has come; each moment is given once.
    pub(crate) fn due(&mut self, now_ns: u64) -> Option<u64> {
        let moment = self.next_ns as u64;
        if self.ended || moment > now_ns {
            return None;
        }
        self.next_ns += match self.arrivals {
            Arrivals::Even => self.gap_ns,
            Arrivals::Poisson => -self.gap_ns * (1.0 - self.random.f64()).ln(),
        };
        Some(moment)
    }

    /// There are no more requests.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// How long to sleep until the next moment, `at_most` so long; nothing when it is near.
    pub(crate) fn pause(&self, now_ns: u64, at_most: Duration) -> Duration {
        if self.ended {
            return at_most;
        }
        let left = Duration::from_nanos((self.next_ns as u64).saturating_sub(now_ns));
        left.saturating_sub(SPIN).min(at_most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_worker_is_given_every_moment_that_it_missed() {
        for arrivals in [Arrivals::Even, Arrivals::Poisson] {
            let mut schedule = Schedule::new(1000.0, arrivals, 5, 1);
            let moments: Vec<u64> =
                std::iter::from_fn(|| schedule.due(100_000_000_000)).take(100_000).collect();
            assert!(moments.is_sorted());
            let rate = moments.len() as f64 / (moments[moments.len() - 1] as f64 / 1e9);
            assert!((980.0..1020.0).contains(&rate), "{arrivals:?}: {rate}");
        }
    }

    #[test]
    fn nothing_is_due_early_or_after_the_end() {
        let mut schedule = Schedule::new(1000.0, Arrivals::Even, 0, 1);
        assert_eq!(schedule.due(0), Some(0));
        assert_eq!(schedule.due(999_999), None);
        assert_eq!(schedule.pause(0, Duration::from_secs(1)), Duration::ZERO);
        assert_eq!(schedule.due(1_000_000), Some(1_000_000));
        schedule.end();
        assert_eq!(schedule.due(u64::MAX), None);
        assert_eq!(schedule.pause(0, Duration::from_secs(1)), Duration::from_secs(1));
    }
}
