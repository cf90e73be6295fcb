//! A cache and its pods, exactly: what `GET /state` and `GET /registry` show of them.

use kube::ResourceExt;
use serde::Serialize;
use synapse_api::cache::{Pods, SynapseCache, SynapseCacheStatus};
use synapse_desired::cache::instance::Instance;
use synapse_desired::cache::pods::Observed;

use super::is_ready;

/// A cache, exactly.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cache {
    namespace: String,
    name: String,
    ready: bool,
    revision: Option<String>,
    pods: Option<Pods>,
    hits: u64,
    misses: u64,
    entries: u64,
    bytes: u64,
    #[serde(skip)]
    pub(super) running: Vec<Running>,
}

/// A pod with a sidecar: where it is, and what its service says that it does.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Running {
    namespace: String,
    pod: String,
    node: Option<String>,
    service: Option<String>,
    cache: String,
    publishes: Vec<String>,
    consumes: Vec<String>,
    /// Of the sidecar itself where it is heard, else of who injected it.
    version: String,
    revision: Option<String>,
    ready: bool,
    /// Whether the sidecar's own words were found in Redis.
    heard: bool,
}

impl Cache {
    pub(super) fn new(
        cache: &SynapseCache,
        status: &SynapseCacheStatus,
        pods: &[(Observed, Option<Instance>)],
    ) -> Self {
        let (namespace, name) = (cache.namespace().unwrap_or_default(), cache.name_any());
        let heard = || pods.iter().filter_map(|(_, instance)| instance.as_ref());
        let sum = |of: fn(&Instance) -> u64| heard().map(of).fold(0, u64::saturating_add);
        Self {
            ready: is_ready(&status.conditions),
            revision: status.revision.clone(),
            pods: status.pods.clone(),
            hits: sum(|one| one.hits),
            misses: sum(|one| one.misses),
            entries: sum(|one| one.entries),
            bytes: sum(|one| one.bytes),
            running: pods.iter().map(|(pod, said)| running(&namespace, &name, pod, said.as_ref())).collect(),
            namespace,
            name,
        }
    }
}

/// What was injected says who the service is; the sidecar says how it runs.
fn running(namespace: &str, cache: &str, pod: &Observed, said: Option<&Instance>) -> Running {
    Running {
        namespace: namespace.to_owned(),
        pod: pod.name.clone(),
        node: pod.node.clone(),
        service: pod.service.clone(),
        cache: cache.to_owned(),
        publishes: pod.publishes.clone(),
        consumes: pod.consumes.clone(),
        version: said.and_then(|said| said.version.clone()).unwrap_or_else(|| pod.version.clone()),
        revision: said.and_then(|said| said.revision.clone()),
        ready: pod.ready,
        heard: said.is_some(),
    }
}
