//! Time as the cache sees it: one reading gives the monotonic and the calendar moment together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// One reading of a [`Clock`]. Both fields advance together: their difference never changes during the life
/// of the clock that gave them, so an absolute calendar deadline survives the way to [`Deadline`] and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since an arbitrary start; never goes back, and is 1 at least.
    pub mono_ms: u64,
    /// Milliseconds since the Unix epoch.
    pub unix_ms: i64,
}

impl Now {
    /// The deadline that lies `ttl_ms` milliseconds after this moment.
    pub fn after(&self, ttl_ms: u64) -> Deadline {
        Deadline::at(self.mono_ms.saturating_add(ttl_ms))
    }

    /// The deadline at a calendar moment, in milliseconds since the Unix epoch; `None` when it is before the
    /// start of the clock, which is always in the past.
    pub fn at_unix(&self, unix_ms: i64) -> Option<Deadline> {
        let mono = i128::from(unix_ms) - i128::from(self.unix_ms) + i128::from(self.mono_ms);
        u64::try_from(mono).ok().map(Deadline::at)
    }

    /// The calendar moment of a deadline, in milliseconds since the Unix epoch; `None` for one that never comes.
    pub fn unix_of(&self, deadline: Deadline) -> Option<i64> {
        let mono = deadline.mono_ms()?;
        let unix = i128::from(mono) - i128::from(self.mono_ms) + i128::from(self.unix_ms);
        Some(i64::try_from(unix).unwrap_or(i64::MAX))
    }
}

/// The last monotonic millisecond at which an entry may be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline(u64);

impl Deadline {
    /// No deadline.
    pub const NEVER: Self = Self(u64::MAX);

    /// A deadline that has passed at every moment.
    pub const PAST: Self = Self(0);

    /// A deadline at a monotonic millisecond.
    pub fn at(mono_ms: u64) -> Self {
        Self(mono_ms.min(u64::MAX - 1))
    }

    /// The monotonic millisecond, `None` for [`Deadline::NEVER`].
    pub fn mono_ms(self) -> Option<u64> {
        (self != Self::NEVER).then_some(self.0)
    }

    /// Whether the deadline has passed. The millisecond of the deadline itself still counts as alive, as in Redis.
    pub fn is_past(self, now: Now) -> bool {
        now.mono_ms > self.0
    }

    /// Milliseconds left, 0 when past; `None` for [`Deadline::NEVER`].
    pub fn left_ms(self, now: Now) -> Option<u64> {
        self.mono_ms().map(|at| at.saturating_sub(now.mono_ms))
    }
}

/// Where moments come from.
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Now;
}

/// The clock of the machine. The calendar is read once, at the start, and advanced by the time since the machine was
/// started, sleep included: a step of the wall clock moves no deadline, and a machine that slept does not prolong one.
#[derive(Debug, Clone)]
pub struct SystemClock {
    /// Milliseconds since the machine was started.
    start_ms: u64,
    unix_at_start_ms: i64,
}

impl SystemClock {
    /// A clock that starts now.
    pub fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_at_start_ms = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX / 2);
        Self { start_ms: since_boot().as_millis() as u64, unix_at_start_ms }
    }

    /// When the first millisecond began, in nanoseconds of CLOCK_BOOTTIME: by it, other processes of the node read the
    /// same time.
    pub fn origin_ns(&self) -> u64 {
        self.start_ms.saturating_mul(1_000_000)
    }

    /// A deadline in milliseconds of CLOCK_BOOTTIME: every process of the node means the same moment by it, until the
    /// machine is started anew. `None` for one that never comes.
    pub fn boot_ms_of(&self, deadline: Deadline) -> Option<u64> {
        // The first millisecond is 1.
        deadline.mono_ms().map(|mono_ms| self.start_ms.saturating_add(mono_ms).saturating_sub(1))
    }

    /// The deadline at a millisecond of CLOCK_BOOTTIME, [`Deadline::PAST`] where this clock began after it.
    pub fn at_boot_ms(&self, boot_ms: u64) -> Deadline {
        boot_ms
            .checked_sub(self.start_ms)
            .map_or(Deadline::PAST, |since| Deadline::at(since.saturating_add(1)))
    }

    /// The present millisecond of CLOCK_BOOTTIME.
    pub fn boot_ms(&self) -> u64 {
        since_boot().as_millis() as u64
    }

    /// The present moment, and the same reading as the time since the machine was started: for who measures as well.
    pub fn read(&self) -> (Now, Duration) {
        let since_boot = since_boot();
        let elapsed = (since_boot.as_millis() as u64).saturating_sub(self.start_ms);
        let unix_ms = self.unix_at_start_ms.saturating_add_unsigned(elapsed);
        (Now { mono_ms: elapsed + 1, unix_ms }, since_boot)
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        self.read().0
    }
}

/// Not the monotonic clock of the standard library: that one stands still while the machine sleeps.
fn since_boot() -> Duration {
    let moment = clock_gettime(ClockId::Boottime);
    Duration::new(moment.tv_sec.unsigned_abs(), moment.tv_nsec.unsigned_abs() as u32)
}

/// A clock that stands still until it is advanced: for tests.
#[derive(Debug, Default)]
pub struct ManualClock {
    elapsed_ms: AtomicU64,
}

impl ManualClock {
    /// The calendar moment at which every manual clock starts, in milliseconds since the Unix epoch.
    pub const UNIX_START_MS: i64 = 1_700_000_000_000;

    /// Lets `ms` milliseconds pass.
    pub fn advance(&self, ms: u64) {
        self.elapsed_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Now {
        let elapsed = self.elapsed_ms.load(Ordering::SeqCst);
        Now { mono_ms: elapsed + 1, unix_ms: Self::UNIX_START_MS.saturating_add_unsigned(elapsed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calendar_deadline_survives_the_way_there_and_back() {
        let clock = ManualClock::default();
        let at = clock.now().unix_ms + 1234;
        let deadline = clock.now().at_unix(at).unwrap();
        clock.advance(77);
        assert_eq!(clock.now().unix_of(deadline), Some(at));
    }

    #[test]
    fn the_last_millisecond_is_alive_and_the_next_is_not() {
        let clock = ManualClock::default();
        let deadline = clock.now().after(10);
        clock.advance(10);
        assert!(!deadline.is_past(clock.now()));
        assert_eq!(deadline.left_ms(clock.now()), Some(0));
        clock.advance(1);
        assert!(deadline.is_past(clock.now()));
    }

    #[test]
    fn moments_before_the_clock_started_are_no_deadlines() {
        let now = ManualClock::default().now();
        assert_eq!(now.at_unix(now.unix_ms - 2), None);
        assert!(Deadline::PAST.is_past(now));
        assert_eq!(now.at_unix(i64::MIN), None);
        assert!(now.at_unix(i64::MAX).is_some_and(|d| d != Deadline::NEVER));
    }

    #[test]
    fn two_clocks_of_one_boot_mean_the_same_millisecond() {
        let now = Now { mono_ms: 70, unix_ms: 0 };
        let [first, second] = [1_000, 1_050].map(|start_ms| SystemClock { start_ms, unix_at_start_ms: 0 });
        let carried = second.at_boot_ms(first.boot_ms_of(now.after(5)).unwrap());
        // 75 of the one is 25 of the other, which began 50 later.
        assert_eq!(carried, Deadline::at(25));
        assert_eq!(second.at_boot_ms(first.boot_ms_of(Deadline::at(50)).unwrap()), Deadline::PAST);
        assert_eq!(second.at_boot_ms(first.boot_ms_of(Deadline::at(51)).unwrap()), Deadline::at(1));
        assert_eq!(first.boot_ms_of(Deadline::NEVER), None);
        assert!(second.at_boot_ms(u64::MAX) != Deadline::NEVER);
    }

    #[test]
    fn the_system_clock_reads_the_calendar() {
        let read = SystemClock::start().now().unix_ms;
        assert!(read > ManualClock::UNIX_START_MS, "{read}");
    }
}
