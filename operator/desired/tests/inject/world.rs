//! The world of the tests: what the operator was installed with, and the caches of one namespace.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use synapse_api::cache::SynapseCacheSpec;
use synapse_desired::inject::{Bounds, Injected, Installed, Outcome, World, inject};

/// A namespace as a test sets it up.
pub(crate) struct Namespace {
    pub(crate) label: Option<String>,
    pub(crate) caches: BTreeMap<String, SynapseCacheSpec>,
    pub(crate) bounds: Option<Bounds>,
    pub(crate) installed: Installed,
}

impl Namespace {
    pub(crate) fn new(label: Option<String>, caches: BTreeMap<String, SynapseCacheSpec>) -> Self {
        let image = "registry.example.com/synapse-sidecar:0.1.0".to_owned();
        Self {
            label,
            caches,
            bounds: None,
            installed: Installed { image, pull_policy: None, version: "0.1.0".to_owned() },
        }
    }

    /// The caches that manifests and properties name, and some that nobody defined.
    pub(crate) fn usual() -> Self {
        let specs = [
            (
                "sessions",
                json!({"memory": {"capacity": "64Mi"}, "redis": {"connection": {"url": "redis://redis:6379"}}}),
            ),
            (
                "catalog",
                json!({
                    "memory": {"capacity": "256Mi"},
                    "redis": {
                        "connection": {"urlFrom": {"secretKeyRef": {"name": "redis-auth", "key": "url"}}},
                        "tls": {"caSecretRef": {"name": "redis-ca", "key": "ca.crt"}}
                    },
                    "sidecar": {"port": 9464, "logLevel": "Debug"}
                }),
            ),
            (
                "features",
                json!({"sidecar": {
                    "image": "registry.example.com/other:1",
                    "resources": {"limits": {"cpu": "1", "memory": "512Mi"}, "requests": {"cpu": "20m"}}
                }}),
            ),
        ];
        let caches =
            specs.into_iter().map(|(name, spec)| (name.to_owned(), serde_json::from_value(spec).unwrap()));
        Self::new(None, caches.collect())
    }

    pub(crate) fn inject(&self, pod: &Value) -> Outcome {
        let world = World {
            namespace: "shop",
            namespace_label: self.label.as_deref(),
            caches: Some(&self.caches),
            bounds: self.bounds.as_ref(),
            installed: &self.installed,
        };
        inject(pod, &world)
    }
}

/// The pod that the API server would have after the patch.
pub(crate) fn patched(pod: &Value, injected: &Injected) -> Value {
    let mut after = pod.clone();
    json_patch::patch(&mut after, &injected.patch)
        .unwrap_or_else(|e| panic!("{e}\n{}\n{pod:#}", injected.patch));
    after
}
