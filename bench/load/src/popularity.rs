//! Which key a request asks for: evenly, by Zipf's law, with scans between, and with favourites that move.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The most keys of one load.
pub(crate) const MOST_KEYS: u64 = 1 << 28;

/// How often the keys are asked for, compared with each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Law {
    /// All alike.
    Uniform,
    /// The key of rank n as often as n to the power of minus this.
    Zipf(f64),
}

/// Why a text names no law.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no popularity: write uniform, or zipf: and an exponent above 0 and up to 5, as zipf:0.99")]
pub(crate) struct NoLaw(String);

/// What a load asks for.
#[derive(Debug, Clone)]
pub(crate) struct Popularity {
    /// How many keys there are.
    pub(crate) keys: u64,
    /// How often they are asked for.
    pub(crate) law: Law,
    /// The share of requests that ask for a key nobody asked for before (0 to 1): a scan runs through.
    pub(crate) scan: f64,
    /// After how many requests the favourites move on by one key; `None`: never.
    pub(crate) drift: Option<u64>,
}

/// Draws keys, for one of several workers.
#[derive(Debug)]
pub(crate) struct Draw {
    popularity: Popularity,
    table: Option<Arc<Table>>,
    random: fastrand::Rng,
    /// The next key of the scan, and the step to the one after it.
    scan: (u64, u64),
    drawn: u64,
}

/// Walker's alias table: each row is kept or exchanged for its alias, so that one look draws by any law.
#[derive(Debug)]
pub(crate) struct Table {
    /// A row is kept when 32 random bits are below the first; the second is the alias.
    rows: Vec<(u32, u32)>,
}

// === impl Law ===

impl FromStr for Law {
    type Err = NoLaw;

    fn from_str(text: &str) -> Result<Self, NoLaw> {
        if text == "uniform" {
            return Ok(Self::Uniform);
        }
        let exponent = text.strip_prefix("zipf:").and_then(|word| word.parse::<f64>().ok());
        match exponent {
            Some(exponent) if exponent > 0.0 && exponent <= 5.0 => Ok(Self::Zipf(exponent)),
            _ => Err(NoLaw(text.to_owned())),
        }
    }
}

impl fmt::Display for Law {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => out.write_str("uniform"),
            Self::Zipf(exponent) => write!(out, "zipf:{exponent}"),
        }
    }
}

// === impl Popularity ===

impl Popularity {
    /// What the draws of all workers share; it is made once.
    pub(crate) fn table(&self) -> Option<Arc<Table>> {
        match self.law {
            Law::Uniform => None,
            Law::Zipf(exponent) => Some(Arc::new(Table::zipf(self.keys, exponent))),
        }
    }

    /// How many keys a scan takes before it begins again.
    pub(crate) fn scanned(&self) -> u64 {
        if self.scan > 0.0 { self.keys.saturating_mul(16) } else { 0 }
    }
}

// === impl Draw ===

impl Draw {
    /// The draws of worker number `worker` of `workers`.
    pub(crate) fn new(
        popularity: Popularity,
        table: Option<Arc<Table>>,
        seed: u64,
        worker: u64,
        workers: u64,
    ) -> Self {
        let random = fastrand::Rng::with_seed(seed.wrapping_add(worker));
        Self { popularity, table, random, scan: (worker, workers), drawn: 0 }
    }

    /// The next key.
    pub(crate) fn key(&mut self) -> u64 {
        let keys = self.popularity.keys;
        if self.popularity.scan > 0.0 && self.random.f64() < self.popularity.scan {
            let key = keys + self.scan.0;
            self.scan.0 = (self.scan.0 + self.scan.1) % self.popularity.scanned();
            return key;
        }
        let rank = match &self.table {
            Some(table) => table.rank(self.random.u64(..)),
            None => self.random.u64(..keys),
        };
        self.drawn += 1;
        match self.popularity.drift {
            Some(after) => (rank + self.drawn / after) % keys,
            None => rank,
        }
    }

    /// True in `share` of all calls.
    pub(crate) fn chance(&mut self, share: f64) -> bool {
        share >= 1.0 || (share > 0.0 && self.random.f64() < share)
    }
}

// === impl Table ===

impl Table {
    fn zipf(keys: u64, exponent: f64) -> Self {
        let weights: Vec<f64> = (1..=keys).map(|rank| (rank as f64).powf(-exponent)).collect();
        let scale = weights.len() as f64 / weights.iter().sum::<f64>();
        let mut shares: Vec<f64> = weights.into_iter().map(|weight| weight * scale).collect();
        let mut rows: Vec<(u32, u32)> = (0..shares.len() as u32).map(|row| (u32::MAX, row)).collect();
        let (mut poor, mut rich): (Vec<u32>, Vec<u32>) =
            (0..shares.len() as u32).partition(|row| shares[*row as usize] < 1.0);
        while let (Some(one), Some(other)) = (poor.pop(), rich.last().copied()) {
            let share = shares[one as usize];
            rows[one as usize] = ((share * f64::from(u32::MAX)) as u32, other);
            shares[other as usize] -= 1.0 - share;
            if shares[other as usize] < 1.0 {
                rich.pop();
                poor.push(other);
            }
        }
        Self { rows }
    }

    fn rank(&self, random: u64) -> u64 {
        let row = ((random >> 32) * self.rows.len() as u64) >> 32;
        let (kept_below, alias) = self.rows[row as usize];
        if random as u32 <= kept_below { row } else { u64::from(alias) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn popularity(law: Law) -> Popularity {
        Popularity { keys: 1000, law, scan: 0.0, drift: None }
    }

    fn counts(popularity: &Popularity, draws: usize) -> Vec<usize> {
        let mut draw = Draw::new(popularity.clone(), popularity.table(), 7, 0, 1);
        let mut counts = vec![0; 1000];
        (0..draws).for_each(|_| counts[draw.key() as usize] += 1);
        counts
    }

    #[test]
    fn laws_are_read() {
        assert_eq!("uniform".parse(), Ok(Law::Uniform));
        assert_eq!("zipf:0.99".parse(), Ok(Law::Zipf(0.99)));
        for wrong in ["", "zipf", "zipf:", "zipf:0", "zipf:-1", "zipf:NaN", "zipf:inf", "normal"] {
            assert!(wrong.parse::<Law>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn zipf_draws_each_rank_as_often_as_it_says() {
        for exponent in [0.8, 0.99, 1.2] {
            let draws = 2_000_000;
            let counts = counts(&popularity(Law::Zipf(exponent)), draws);
            let whole: f64 = (1..=1000).map(|rank| f64::from(rank).powf(-exponent)).sum();
            for rank in [1, 2, 3, 10, 100] {
                let share = f64::from(rank).powf(-exponent) / whole;
                let got = counts[rank as usize - 1] as f64 / draws as f64;
                assert!((got / share - 1.0).abs() < 0.1, "{exponent}: rank {rank}: {got} for {share}");
            }
        }
    }

    #[test]
    fn uniform_draws_all() {
        let counts = counts(&popularity(Law::Uniform), 1_000_000);
        assert!(counts.iter().all(|count| (800..1200).contains(count)));
    }

    #[test]
    fn favourites_move() {
        let mut moving = popularity(Law::Zipf(1.2));
        moving.drift = Some(1000);
        let mut draw = Draw::new(moving.clone(), moving.table(), 7, 0, 1);
        let mut favourite = || {
            let mut counts = vec![0; 1000];
            (0..1000).for_each(|_| counts[draw.key() as usize] += 1);
            (0..1000).max_by_key(|key| counts[*key]).unwrap()
        };
        assert_eq!(favourite(), 0);
        for _ in 0..8 {
            favourite();
        }
        assert_eq!(favourite(), 9);
    }

    #[test]
    fn a_scan_takes_its_share_and_never_the_same_key_twice() {
        let mut scanned = popularity(Law::Uniform);
        scanned.scan = 0.25;
        let mut seen = std::collections::HashSet::new();
        let mut once = 0;
        for worker in 0..2 {
            let mut draw = Draw::new(scanned.clone(), None, 7, worker, 2);
            for _ in 0..10_000 {
                let key = draw.key();
                if key >= 1000 {
                    assert!(seen.insert(key), "{key} twice");
                    once += 1;
                }
            }
        }
        assert!((4500..5500).contains(&once), "{once}");
    }
}
