//! What the webhook knows without asking: caches and namespaces, as the watches last told.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use synapse_api::cache::SynapseCacheSpec;
use synapse_desired::inject::Bounds;
use tokio::sync::watch;

/// The caches, the labels of namespaces and what these allow, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Caches by namespace and name.
    pub caches: BTreeMap<String, BTreeMap<String, SynapseCacheSpec>>,
    /// Value of the label `synapse.dev/inject` by namespace, where there is one.
    pub namespace_labels: BTreeMap<String, String>,
    /// What containers are allowed, by namespace, where something says it.
    pub bounds: BTreeMap<String, Bounds>,
}

/// What is known, read without a lock and replaced as a whole.
#[derive(Debug)]
pub struct Worlds {
    known: ArcSwap<Known>,
    changed: watch::Sender<u64>,
}

// === impl Worlds ===

impl Default for Worlds {
    fn default() -> Self {
        Self { known: ArcSwap::default(), changed: watch::Sender::new(0) }
    }
}

impl Worlds {
    /// Replaces what is known and wakes who waits for a change.
    pub fn publish(&self, known: Known) {
        self.known.store(Arc::new(known));
        self.changed.send_modify(|version| *version = version.wrapping_add(1));
    }

    /// What is known now.
    #[must_use]
    pub fn known(&self) -> Arc<Known> {
        self.known.load_full()
    }

    /// A receiver that sees every later change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
