//! The exact figures of every cache, for Prometheus.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use synapse_api::cache::Pods;
use synapse_api::reasons::SkipReason;
use synapse_desired::cache::instance::Instance;
use synapse_desired::cache::pods::Observed;

/// Gauges by cache. There are as many as there are caches, and those of a cache go with it.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pods: Family<InState, Gauge>,
    memory: Family<Of, Gauge<u64, AtomicU64>>,
    entries: Family<Cache, Gauge<u64, AtomicU64>>,
    bytes: Family<Cache, Gauge<u64, AtomicU64>>,
    not_injected: Family<Because, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cache {
    namespace: String,
    cache: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Because {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    namespace: String,
    cache: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    namespace: String,
    cache: String,
    outcome: &'static str,
}

// === impl Figures ===

impl Figures {
    /// Makes the gauges and puts them into `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let figures = Self::default();
        let Self { pods, memory, entries, bytes, not_injected } = &figures;
        for reason in SkipReason::ALL {
            drop(not_injected.get_or_create(&Because { reason: reason.as_str() }));
        }
        registry.register(
            "synapse_pods_not_injected",
            "Living pods that ask for a sidecar and have none, by reason",
            not_injected.clone(),
        );
        registry.register("synapse_cache_pods", "Pods of a cache by state, as last observed", pods.clone());
        registry.register(
            "synapse_cache_memory_reads",
            "Reads of the living sidecars by outcome (hit or miss), as they last reported",
            memory.clone(),
        );
        registry.register("synapse_cache_entries", "Entries in the memory of all sidecars", entries.clone());
        registry.register("synapse_cache_bytes", "Bytes in the memory of all sidecars", bytes.clone());
        figures
    }

    /// Shows what was found.
    pub(super) fn saw(
        &self,
        namespace: &str,
        cache: &str,
        counted: Option<&Pods>,
        pods: &[(Observed, Option<Instance>)],
    ) {
        let heard = || pods.iter().filter_map(|(_, instance)| instance.as_ref());
        // What stands in Redis can be anything: a sum must not wrap.
        let sum = |of: fn(&Instance) -> u64| heard().map(of).fold(0, u64::saturating_add);
        for (state, count) in counted.map(states).into_iter().flatten() {
            self.pods.get_or_create(&in_state(namespace, cache, state)).set(count.into());
        }
        self.memory.get_or_create(&of(namespace, cache, "hit")).set(sum(|one| one.hits));
        self.memory.get_or_create(&of(namespace, cache, "miss")).set(sum(|one| one.misses));
        let whole = Cache { namespace: namespace.to_owned(), cache: cache.to_owned() };
        self.entries.get_or_create(&whole).set(sum(|one| one.entries));
        self.bytes.get_or_create(&whole).set(sum(|one| one.bytes));
    }

    /// A pod without sidecar was judged, anew or otherwise than before, or is not one any more.
    pub(super) fn judged(&self, before: Option<SkipReason>, now: Option<SkipReason>) {
        let of =
            |reason: SkipReason| self.not_injected.get_or_create_owned(&Because { reason: reason.as_str() });
        if let Some(before) = before {
            of(before).dec();
        }
        if let Some(now) = now {
            of(now).inc();
        }
    }

    /// Removes what was shown of a cache that is gone.
    pub(super) fn forget(&self, namespace: &str, cache: &str) {
        for (state, _) in states(&Pods::default()) {
            self.pods.remove(&in_state(namespace, cache, state));
        }
        self.memory.remove(&of(namespace, cache, "hit"));
        self.memory.remove(&of(namespace, cache, "miss"));
        let whole = Cache { namespace: namespace.to_owned(), cache: cache.to_owned() };
        self.entries.remove(&whole);
        self.bytes.remove(&whole);
    }
}

fn states(pods: &Pods) -> [(&'static str, i32); 5] {
    [
        ("injected", pods.injected),
        ("ready", pods.ready),
        ("outdated", pods.outdated),
        ("naked", pods.naked),
        ("unknown", pods.unknown),
    ]
}

fn in_state(namespace: &str, cache: &str, state: &'static str) -> InState {
    InState { namespace: namespace.to_owned(), cache: cache.to_owned(), state }
}

fn of(namespace: &str, cache: &str, outcome: &'static str) -> Of {
    Of { namespace: namespace.to_owned(), cache: cache.to_owned(), outcome }
}
