//! A load that asks nobody: how late it notices its own moments is what the machine adds to every latency.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::pace::{Arrivals, Schedule};
use crate::report::{LATENCIES, Latency};
use crate::tally::histogram;

/// What an open loop without requests found.
#[derive(Debug, Serialize)]
struct Found {
    operations: u64,
    latency_us: Delays,
}

/// Shaped as the latencies of a load are.
#[derive(Debug, Serialize)]
struct Delays {
    all: Option<Latency>,
}

/// Watches the clock for so long, says how late so many moments a second were noticed, and writes it to `json`.
///
/// # Errors
/// When the rate or the length cannot be meant, or the file cannot be written.
pub(crate) fn run(rate: f64, seconds: f64, json: Option<&Path>) -> anyhow::Result<()> {
    anyhow::ensure!((1.0..=1e8).contains(&rate), "--rate: from 1 to 100000000 a second");
    let length = Duration::try_from_secs_f64(seconds).context("--seconds: a number of seconds")?;
    let begun = Instant::now();
    let late = watch(rate, length, || begun.elapsed());
    let found = Found { operations: late.len(), latency_us: Delays { all: Latency::of(&late) } };
    println!("idle: {} moments in {seconds} s, each with the time until it was noticed", found.operations);
    if let Some(delays) = &found.latency_us.all {
        println!("{LATENCIES}\n  {:<13} {delays}", "none");
    }
    match json {
        Some(path) => std::fs::write(path, serde_json::to_string_pretty(&found)? + "\n")
            .with_context(|| format!("writing {}", path.display())),
        None => Ok(()),
    }
}

/// How late each moment was noticed (ns), by a clock that tells the time since the beginning.
fn watch(rate: f64, length: Duration, mut clock: impl FnMut() -> Duration) -> Histogram<u64> {
    let (mut late, mut schedule) = (histogram(), Schedule::new(rate, Arrivals::Poisson, 0, 1));
    loop {
        let elapsed = clock();
        let now = elapsed.as_nanos() as u64;
        while let Some(moment) = schedule.due(now) {
            late.saturating_record((now - moment).max(1));
        }
        if elapsed >= length {
            return late;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_due_while_the_machine_was_away_is_late() {
        let mut now = Duration::ZERO;
        let late = watch(10_000.0, Duration::from_secs(1), || {
            let is_away = (Duration::from_millis(300)..Duration::from_millis(301)).contains(&now);
            now += if is_away { Duration::from_millis(100) } else { Duration::from_micros(10) };
            now
        });
        assert!((9_500..10_500).contains(&late.len()), "{} moments", late.len());
        assert!((99_000_000..=101_000_000).contains(&late.max()), "{} ns", late.max());
        let (p50, p95) = (late.value_at_quantile(0.5), late.value_at_quantile(0.95));
        assert!(p50 < 20_000 && p95 > 40_000_000, "a tenth of all were late: {p50} and {p95} ns");
    }
}
