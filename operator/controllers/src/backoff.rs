//! How soon an object that cannot be brought forward is looked at again: soon at first, then less and less often.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::jitter;

/// The first pause.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest one: what an object waits for is noticed within it, however long that was away.
pub const LONGEST: Duration = Duration::from_secs(10);

/// The failures in a row of each object, by namespace and name.
#[derive(Debug, Default)]
pub struct Backoff(Mutex<HashMap<(String, String), u32>>);

impl Backoff {
    /// The pause after one more failure.
    pub fn failed(&self, namespace: &str, name: &str) -> Duration {
        let failures = self.map(|failures| {
            let failures = failures.entry((namespace.to_owned(), name.to_owned())).or_default();
            *failures = failures.saturating_add(1);
            *failures
        });
        let doubled = SHORTEST.saturating_mul(1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX));
        jitter::lengthen(doubled.min(LONGEST))
    }

    /// Forgets the failures of an object: it works, or it is gone.
    pub fn reset(&self, namespace: &str, name: &str) {
        self.map(|failures| failures.remove(&(namespace.to_owned(), name.to_owned())));
    }

    fn map<T>(&self, work: impl FnOnce(&mut HashMap<(String, String), u32>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew() {
        let backoff = Backoff::default();
        let pause = || backoff.failed("shop", "events").as_secs_f64();
        for expected in [1.0, 2.0, 4.0, 8.0, 10.0, 10.0] {
            let pause = pause();
            assert!((expected..=expected * 1.2).contains(&pause), "{pause} for {expected}");
        }
        for _ in 0..100 {
            assert!(pause() <= 12.0);
        }
        backoff.reset("shop", "events");
        assert!(backoff.failed("shop", "events") < Duration::from_secs(2));
        assert!(backoff.failed("shop", "other") < Duration::from_secs(2));
    }
}
