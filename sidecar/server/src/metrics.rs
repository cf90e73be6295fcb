//! What the server counts, and how Prometheus reads it. Labels are drawn from fixed lists: no name or key of a client
//! becomes one.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use synapse_core::reply::Reply;
use synapse_engine::command::{COMMANDS, Op};
use synapse_protocol::detect::Wire;

use crate::backend::Backend;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It found what it asked for.
    Hit,
    /// It asked for a key that is not there.
    Miss,
    /// It was done.
    Ok,
    /// It was refused or failed.
    Error,
}

const OUTCOMES: [&str; 4] = ["hit", "miss", "ok", "error"];
const WIRES: [&str; 3] = ["frames", "resp", "http"];

/// How many bounds times have: one microsecond, and each four times the one before, to about four seconds.
const TIME_BOUNDS: usize = 12;

/// The counters of a server. Requests cost one addition each; the time is taken once for each batch.
#[derive(Debug)]
pub struct Metrics {
    requests: [[AtomicU64; OUTCOMES.len()]; COMMANDS.len()],
    unknown: AtomicU64,
    connections: [AtomicU64; WIRES.len()],
    open: AtomicU64,
    refused: AtomicU64,
    batches: Times,
}

/// How many batches took how long.
#[derive(Debug, Default)]
struct Times {
    /// Those up to each bound, and above the one before; the last has none.
    counts: [AtomicU64; TIME_BOUNDS + 1],
    sum_ns: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: std::array::from_fn(|_| Default::default()),
            unknown: AtomicU64::default(),
            connections: Default::default(),
            open: AtomicU64::default(),
            refused: AtomicU64::default(),
            batches: Times::default(),
        }
    }
}

impl Outcome {
    /// How a request that was answered so has ended.
    pub(crate) fn of(op: Op, reply: &Reply) -> Self {
        match (reply, op) {
            (Reply::Error(_), _) => Self::Error,
            (Reply::Bulk(_), Op::Get | Op::Getex | Op::Getdel) => Self::Hit,
            (Reply::Nil, Op::Get | Op::Getex | Op::Getdel) => Self::Miss,
            _ => Self::Ok,
        }
    }
}

impl Metrics {
    pub(crate) fn count(&self, op: Op, outcome: Outcome) {
        self.count_many(op, outcome, 1);
    }

    pub(crate) fn count_many(&self, op: Op, outcome: Outcome, times: u64) {
        if times > 0 {
            self.requests[op as usize][outcome as usize].fetch_add(times, Ordering::Relaxed);
        }
    }

    pub(crate) fn count_unknown(&self) {
        self.unknown.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn connected(&self, wire: Wire) {
        self.connections[wire as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn took(&self, time: Duration) {
        self.batches.add(time);
    }
}

// === impl Times ===

impl Times {
    fn add(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bound_of(ns)].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let bounds = (0..TIME_BOUNDS).map(|n| 1e-6 * 4_f64.powi(n as i32)).chain([f64::INFINITY]);
        let counts: Vec<_> =
            bounds.zip(&self.counts).map(|(bound, count)| (bound, count.load(Ordering::Relaxed))).collect();
        let (sum, count) = (self.sum_ns.load(Ordering::Relaxed), counts.iter().map(|(_, count)| count).sum());
        encoder
            .encode_descriptor(
                "synapse_batch_duration_seconds",
                "Time to execute the commands of a turn: what one read brought, or 64 KiB of answers",
                None,
                MetricType::Histogram,
            )?
            .encode_histogram::<NoLabelSet>(sum as f64 / 1e9, count, &counts, None)
    }
}

/// Which bound is the first that is not below so many nanoseconds.
fn bound_of(ns: u64) -> usize {
    // Powers of four are two bits apart.
    let us = ns.saturating_sub(1) / 1000;
    ((u64::BITS - us.leading_zeros()).div_ceil(2) as usize).min(TIME_BOUNDS)
}

/// A registry of everything that a server counts, the figures of its backend included.
pub fn registry(metrics: &Arc<Metrics>, backend: &Arc<Backend>) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Counted(Arc::clone(metrics))));
    registry.register_collector(Box::new(Observed(Arc::clone(backend))));
    registry
}

/// Reads the counters of the sessions.
#[derive(Debug)]
struct Counted(Arc<Metrics>);

/// Reads the figures of the backend.
#[derive(Debug)]
struct Observed(Arc<Backend>);

impl Collector for Counted {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut requests = Vec::new();
        for (command, outcomes) in COMMANDS.iter().zip(&self.0.requests) {
            for (outcome, count) in OUTCOMES.iter().zip(outcomes).filter(|(_, count)| read(count) > 0) {
                requests.push(([("command", command.name), ("outcome", *outcome)], read(count)));
            }
        }
        requests.push(([("command", "unknown"), ("outcome", "error")], read(&self.0.unknown)));
        counters(&mut encoder, "synapse_requests", "Requests by command and outcome", &requests)?;
        let by_wire: Vec<_> = WIRES
            .iter()
            .zip(&self.0.connections)
            .map(|(wire, count)| ([("protocol", *wire)], read(count)))
            .collect();
        counters(&mut encoder, "synapse_connections", "Connections by the protocol they spoke", &by_wire)?;
        counter(
            &mut encoder,
            "synapse_connections_refused",
            "Connections above the limit",
            read(&self.0.refused),
        )?;
        gauge(&mut encoder, "synapse_connections_open", "Connections now", read(&self.0.open))?;
        self.0.batches.encode(&mut encoder)
    }
}

impl Collector for Observed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let encoder = &mut encoder;
        let figures = self.0.figures();
        let memory = figures.memory;
        let mut lookups = vec![([("tier", "memory"), ("outcome", "hit")], figures.hits())];
        lookups.push(([("tier", "memory"), ("outcome", "miss")], figures.misses()));
        counters(encoder, "synapse_lookups", "Keys looked up by tier and outcome", &lookups)?;
        gauge(encoder, "synapse_memory_bytes", "Bytes held in memory, bookkeeping included", memory.bytes)?;
        gauge(encoder, "synapse_memory_capacity_bytes", "Most bytes held in memory", memory.capacity_bytes)?;
        gauge(encoder, "synapse_memory_entries", "Entries held in memory", memory.entries)?;
        counter(encoder, "synapse_memory_evictions", "Entries dropped to make room", memory.evictions)?;
        counter(
            encoder,
            "synapse_memory_expirations",
            "Entries dropped after their deadline",
            memory.expirations,
        )?;
        if let Some(near) = figures.near {
            let up = u64::from(self.0.health().is_ok());
            gauge(encoder, "synapse_redis_up", "Whether Redis is connected", up)?;
            counter(
                encoder,
                "synapse_redis_failures",
                "Round trips to Redis without an answer",
                near.failures,
            )?;
            gauge(
                encoder,
                "synapse_feed_armed",
                "Whether changes are being announced",
                u64::from(near.armed),
            )?;
            gauge(
                encoder,
                "synapse_feed_silent_milliseconds",
                "Time since the feed was heard",
                near.silent_ms,
            )?;
        }
        Ok(())
    }
}

fn counters<const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: &[([(&'static str, &'static str); N], u64)],
) -> Result<(), fmt::Error> {
    let kind = ConstCounter::new(0u64).metric_type();
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in values {
        ConstCounter::new(*value).encode(family.encode_family(labels)?)?;
    }
    Ok(())
}

fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> Result<(), fmt::Error> {
    let value = ConstCounter::new(value);
    value.encode(encoder.encode_descriptor(name, help, None, value.metric_type())?)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Result<(), fmt::Error> {
    let value = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    value.encode(encoder.encode_descriptor(name, help, None, value.metric_type())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_counts_at_the_first_bound_that_is_not_below_it() {
        let bounds: Vec<u64> = (0..TIME_BOUNDS).map(|n| 1000 << (2 * n)).collect();
        for ns in bounds.iter().flat_map(|bound| [bound - 1, *bound, bound + 1]).chain([0, 1, u64::MAX]) {
            let expected = bounds.iter().position(|bound| ns <= *bound).unwrap_or(TIME_BOUNDS);
            assert_eq!(bound_of(ns), expected, "{ns}");
        }
    }

    #[test]
    fn every_operation_is_counted_under_its_name() {
        for (position, command) in COMMANDS.iter().enumerate() {
            assert_eq!(command.op as usize, position, "{}", command.name);
        }
    }
}
