//! The clock of the deadlines as readers ask for it: CLOCK_BOOTTIME, looked at in full only when the kernel has ticked.

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::reader::Present;

/// A reader's clock. To see that the kernel has not ticked again takes a fifth of the time that the exact one takes.
#[derive(Debug, Clone)]
pub struct Clock {
    tick: Timespec,
    /// Since that tick.
    boottime_ns: u64,
}

/// The present, as milliseconds of the deadlines of one memory.
#[derive(Debug)]
pub struct Moment<'a> {
    clock: &'a mut Clock,
    origin_ns: u64,
}

/// CLOCK_BOOTTIME in nanoseconds: it goes on while the machine sleeps, and is the same in all containers of a node.
#[inline]
pub fn boottime_ns() -> u64 {
    let moment = clock_gettime(ClockId::Boottime);
    moment.tv_sec.unsigned_abs() * 1_000_000_000 + moment.tv_nsec.unsigned_abs()
}

fn millisecond(boottime_ns: u64, origin_ns: u64) -> u64 {
    boottime_ns.saturating_sub(origin_ns) / 1_000_000 + 1
}

impl Clock {
    /// A clock.
    pub fn new() -> Self {
        Self { tick: clock_gettime(ClockId::MonotonicCoarse), boottime_ns: boottime_ns() }
    }

    /// The present, where millisecond 1 began at this moment ([`crate::reader::Reader::origin_ns`]).
    #[inline]
    pub fn since(&mut self, origin_ns: u64) -> Moment<'_> {
        Moment { clock: self, origin_ns }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Present for Moment<'_> {
    #[inline]
    fn lately(&mut self) -> u64 {
        // The kernel ticks a hundred times a second or more, and first of all when it wakes up.
        let tick = clock_gettime(ClockId::MonotonicCoarse);
        if tick != self.clock.tick {
            *self.clock = Clock { tick, boottime_ns: boottime_ns() };
        }
        millisecond(self.clock.boottime_ns, self.origin_ns)
    }

    #[inline]
    fn exactly(&mut self) -> u64 {
        millisecond(boottime_ns(), self.origin_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::LATELY_MS;

    #[test]
    fn milliseconds_are_counted_from_one() {
        assert_eq!(millisecond(5_000_000_000, 5_000_000_000), 1);
        assert_eq!(millisecond(5_098_999_999, 5_000_000_000), 99);
        assert_eq!(millisecond(1, 5), 1);
    }

    #[test]
    fn lately_follows_the_present() {
        let origin = boottime_ns();
        let mut clock = Clock::new();
        // Longer than `LATELY_MS`: a clock that stood still would be seen.
        while clock.since(origin).exactly() < 3 * LATELY_MS {
            let mut now = clock.since(origin);
            let before = now.exactly();
            let lately = now.lately();
            assert!(lately <= now.exactly());
            assert!(lately + LATELY_MS > before, "{lately} is long before {before}");
        }
    }
}
