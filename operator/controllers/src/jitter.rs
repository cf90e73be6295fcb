//! Spreads what many would otherwise do in the same instant.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// `base`, lengthened by a random part of at most a fifth.
pub fn lengthen(base: Duration) -> Duration {
    // A fresh `RandomState` is randomly keyed: enough for spreading, and no dependency.
    let random = RandomState::new().build_hasher().finish();
    base + base.mul_f64(0.2 * (random as f64 / u64::MAX as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengthens_by_at_most_a_fifth_and_not_always_the_same() {
        let base = Duration::from_secs(10);
        let drawn: Vec<Duration> = (0..50).map(|_| lengthen(base)).collect();
        assert!(drawn.iter().all(|d| (base..=Duration::from_secs(12)).contains(d)));
        assert!(drawn.iter().any(|d| *d != drawn[0]));
    }
}
