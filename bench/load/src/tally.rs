//! What was counted and timed in a run.

use hdrhistogram::Histogram;

use crate::encoder::Operation;

/// The longest latency told apart from longer ones (ns): a minute.
const LONGEST_NS: u64 = 60_000_000_000;

/// A histogram of nanoseconds.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("bounds and precision are those that the crate takes")
}

/// Counts and latencies.
#[derive(Debug)]
pub(crate) struct Tally {
    /// GETs answered with the value.
    pub(crate) hits: u64,
    /// GETs answered with "no value".
    pub(crate) misses: u64,
    /// SETs.
    pub(crate) sets: u64,
    /// SETs of them that the server did not store, for want of room.
    pub(crate) unstored: u64,
    gets_ns: Histogram<u64>,
    sets_ns: Histogram<u64>,
    /// Answers that took equally long, not yet in a histogram: pipelines bring many of them.
    run: Option<(Operation, u64, u64)>,
}

// === impl Tally ===

impl Tally {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            hits: 0,
            misses: 0,
            sets: 0,
            unstored: 0,
            gets_ns: histogram(),
            sets_ns: histogram(),
            run: None,
        }
    }

    /// An answer, that took so long (ns).
    pub(crate) fn answered(&mut self, operation: Operation, hit: bool, latency_ns: u64) {
        match (operation, hit) {
            (Operation::Set, stored) => {
                self.sets += 1;
                self.unstored += u64::from(!stored);
            }
            (Operation::Get, true) => self.hits += 1,
            (Operation::Get, false) => self.misses += 1,
        }
        match &mut self.run {
            Some((of, latency, count)) if *of == operation && *latency == latency_ns => *count += 1,
            _ => {
                self.settle();
                self.run = Some((operation, latency_ns, 1));
            }
        }
    }

    /// Adds what another worker counted.
    pub(crate) fn add(&mut self, mut other: Self) {
        other.settle();
        self.hits += other.hits;
        self.misses += other.misses;
        self.sets += other.sets;
        self.unstored += other.unstored;
        self.gets_ns += other.gets_ns;
        self.sets_ns += other.sets_ns;
    }

    /// All answers.
    pub(crate) fn operations(&self) -> u64 {
        self.hits + self.misses + self.sets
    }

    /// How long GETs, SETs and both took (ns).
    pub(crate) fn latencies(mut self) -> [Histogram<u64>; 3] {
        self.settle();
        let mut all = self.gets_ns.clone();
        all += &self.sets_ns;
        [self.gets_ns, self.sets_ns, all]
    }

    fn settle(&mut self) {
        if let Some((operation, latency, count)) = self.run.take() {
            let histogram = match operation {
                Operation::Get => &mut self.gets_ns,
                Operation::Set => &mut self.sets_ns,
            };
            histogram.saturating_record_n(latency.max(1), count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_equal_latencies_are_all_counted() {
        let mut tally = Tally::new();
        for (operation, latency) in [(Operation::Get, 1000), (Operation::Get, 1000), (Operation::Set, 1000)] {
            tally.answered(operation, true, latency);
        }
        tally.answered(Operation::Get, false, 5_000_000);
        tally.answered(Operation::Set, false, 1000);
        let mut sum = Tally::new();
        sum.add(tally);
        assert_eq!((sum.hits, sum.misses, sum.sets, sum.unstored), (2, 1, 2, 1));
        assert_eq!(sum.operations(), 5);
        let [gets, sets, all] = sum.latencies();
        assert_eq!((gets.len(), sets.len(), all.len()), (3, 2, 5));
        assert!((1000..1002).contains(&gets.value_at_quantile(0.5)));
        assert!((4_990_000..5_010_000).contains(&gets.max()));
    }
}
