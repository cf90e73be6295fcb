//! What a run found: for people as a table, for programs as JSON.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::plan::Plan;
use crate::process::Usage;
use crate::tally::Tally;

/// Above this share of its threads' time the generator is what limits the throughput.
const SATURATED: f64 = 0.95;

/// The head of lines that show a [`Latency`].
pub(crate) const LATENCIES: &str =
    "  latency, us         mean        p50        p90        p99      p99.9        max";

/// What was measured.
#[derive(Debug)]
pub(crate) struct Measured {
    /// The answers.
    pub(crate) tally: Tally,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// What this process used for it.
    pub(crate) generator_cpu_seconds: f64,
    /// The server before and after.
    pub(crate) server: Option<(Usage, Usage)>,
}

/// A report.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    load: Load,
    operations: u64,
    sets: u64,
    /// Of these, that the server had no room for.
    unstored: u64,
    hits: u64,
    misses: u64,
    /// Of all GETs; absent when there were none.
    hit_ratio: Option<f64>,
    seconds: f64,
    operations_per_second: f64,
    server: Option<Server>,
    generator: Generator,
    latency_us: Latencies,
}

/// The load, as far as a reader of the figures must know it.
#[derive(Debug, Serialize)]
struct Load {
    address: String,
    wire: String,
    connections: usize,
    pipeline: usize,
    threads: usize,
    gets: f64,
    rate: Option<f64>,
    keys: u64,
    key_size: usize,
    popularity: String,
    scan: f64,
    drift: Option<u64>,
    sizes: String,
    seed: u64,
}

#[derive(Debug, Serialize)]
struct Server {
    pid: u32,
    cpu_seconds: f64,
    /// Absent when the server used less CPU than can be told.
    operations_per_cpu_second: Option<f64>,
    resident_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Generator {
    cpu_seconds: f64,
    /// Of the time of its threads (0 to 1).
    busy: f64,
    /// It was the generator that limited the throughput.
    saturated: bool,
}

/// Latencies in microseconds; absent for what was not asked.
#[derive(Debug, Serialize)]
struct Latencies {
    get: Option<Latency>,
    set: Option<Latency>,
    all: Option<Latency>,
}

/// How long something took, in microseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Latency {
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

// === impl Report ===

impl Report {
    /// A report of this.
    pub(crate) fn new(plan: &Plan, measured: Measured) -> Self {
        let Measured { tally, elapsed, generator_cpu_seconds, server } = measured;
        let seconds = elapsed.as_secs_f64();
        let (operations, sets, hits, misses) = (tally.operations(), tally.sets, tally.hits, tally.misses);
        let unstored = tally.unstored;
        let busy = generator_cpu_seconds / (seconds * plan.threads as f64);
        let [get, set, all] = tally.latencies().map(|histogram| Latency::of(&histogram));
        Self {
            load: Load::of(plan),
            operations,
            sets,
            unstored,
            hits,
            misses,
            hit_ratio: (hits + misses > 0).then(|| hits as f64 / (hits + misses) as f64),
            seconds,
            operations_per_second: operations as f64 / seconds,
            server: plan.server_pid.zip(server).map(|(pid, server)| Server::of(pid, server, operations)),
            generator: Generator {
                cpu_seconds: generator_cpu_seconds,
                busy,
                saturated: plan.rate.is_none() && !plan.spin && busy > SATURATED,
            },
            latency_us: Latencies { get, set, all },
        }
    }

    /// Writes it as JSON.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        std::fs::write(path, text)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let load = &self.load;
        let pace =
            load.rate.map_or("closed loop".to_owned(), |rate| format!("open loop, {rate} requests a second"));
        writeln!(
            out,
            "{} over {}: {} connections, pipeline {}, {pace}; {} keys {}, values of {} bytes, {} GETs in 100",
            load.wire,
            load.address,
            load.connections,
            load.pipeline,
            load.keys,
            load.popularity,
            load.sizes,
            (load.gets * 100.0).round(),
        )?;
        writeln!(
            out,
            "  answers       {} in {:.2} s, all of them right",
            grouped(self.operations as f64),
            self.seconds
        )?;
        if self.unstored > 0 {
            writeln!(out, "  no room       for {} SETs", grouped(self.unstored as f64))?;
        }
        if let Some(ratio) = self.hit_ratio {
            writeln!(out, "  hit ratio     {ratio:.4} ({} misses)", grouped(self.misses as f64))?;
        }
        writeln!(out, "  throughput    {}/s", grouped(self.operations_per_second))?;
        if let Some(server) = &self.server {
            let rate = server.operations_per_cpu_second.map_or("?".to_owned(), grouped);
            writeln!(out, "  server        {rate}/s of CPU; {:.2} s of CPU used", server.cpu_seconds)?;
            writeln!(
                out,
                "  memory        {:.1} MiB resident",
                server.resident_bytes as f64 / f64::from(1 << 20)
            )?;
        }
        let limit =
            if self.generator.saturated { ": the generator is the limit, not the server" } else { "" };
        writeln!(out, "  generator     busy {:.0} %{limit}", self.generator.busy * 100.0)?;
        writeln!(out, "{LATENCIES}")?;
        for (name, latency) in [("GET", &self.latency_us.get), ("SET", &self.latency_us.set)] {
            if let Some(latency) = latency {
                writeln!(out, "  {name:<13} {latency}")?;
            }
        }
        Ok(())
    }
}

// === impl Load ===

impl Load {
    fn of(plan: &Plan) -> Self {
        Self {
            address: plan.address.to_string(),
            wire: format!("{:?}", plan.wire).to_lowercase(),
            connections: plan.connections,
            pipeline: plan.pipeline,
            threads: plan.threads,
            gets: plan.gets,
            rate: plan.rate,
            keys: plan.popularity.keys,
            key_size: plan.spelling.size(),
            popularity: plan.popularity.law.to_string(),
            scan: plan.popularity.scan,
            drift: plan.popularity.drift,
            sizes: plan.sizes.to_string(),
            seed: plan.seed,
        }
    }
}

// === impl Server ===

impl Server {
    fn of(pid: u32, (before, after): (Usage, Usage), operations: u64) -> Self {
        let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
        Self {
            pid,
            cpu_seconds,
            operations_per_cpu_second: (cpu_seconds > 0.0).then(|| operations as f64 / cpu_seconds),
            resident_bytes: after.resident_bytes,
        }
    }
}

// === impl Latency ===

impl Latency {
    /// What a histogram of nanoseconds holds; nothing when it is empty.
    pub(crate) fn of(histogram_ns: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| histogram_ns.value_at_quantile(quantile) as f64 / 1e3;
        (!histogram_ns.is_empty()).then(|| Self {
            mean: histogram_ns.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram_ns.max() as f64 / 1e3,
        })
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mean, p50, p90, p99, p999, max } = self;
        write!(out, "{mean:>10.1} {p50:>10.1} {p90:>10.1} {p99:>10.1} {p999:>10.1} {max:>10.1}")
    }
}

/// A whole number with its thousands apart.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(
            ["0", "999", "1,000", "1,234,568"],
            [0.0, 999.0, 1000.0, 1_234_567.8].map(grouped).each_ref().map(String::as_str)
        );
    }

    #[test]
    fn nothing_asked_has_no_latency() {
        assert!(Latency::of(&Histogram::new(3).unwrap()).is_none());
    }
}
