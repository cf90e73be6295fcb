//! The injected pods: watched by their label, kept pruned, their problems told as events.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client, ResourceExt};
use synapse_api::cache::SynapseCache;
use synapse_api::names;
use synapse_desired::cache::pods::{Observed, cache, observe, prune};

use crate::report::{Reports, reference};

/// Pods that ended are nobody's business.
pub(super) const ALIVE: &str = "status.phase!=Succeeded,status.phase!=Failed";
/// How many pods are told about at a time.
const AT_ONCE: usize = 8;
/// More pods than this with problems, and some are told again: a bound on memory, not on events.
const MOST_TOLD: usize = 10_000;

/// The injected pods, and their news; each problem that a pod has becomes an event on it, once.
pub(super) fn injected(
    client: &Client,
    reports: Reports,
) -> (Store<Pod>, impl Stream<Item = Result<Pod, watcher::Error>> + Send + use<>) {
    let (reader, writer) = store();
    let api = Api::<Pod>::all(client.clone());
    let config = watcher::Config::default().labels(names::CACHE).fields(ALIVE).page_size(500);
    let news = reflector(writer, watcher(api, config).default_backoff().modify(prune)).touched_objects();
    let told = Arc::new(Mutex::new(HashSet::new()));
    let news = news
        .map(move |pod| {
            let (reports, told) = (reports.clone(), Arc::clone(&told));
            async move {
                if let Ok(pod) = &pod {
                    tell(pod, &reports, &told).await;
                }
                pod
            }
        })
        .buffer_unordered(AT_ONCE);
    (reader, news)
}

/// The cache whose pod it is.
pub(super) fn cache_of(pod: &Pod) -> Option<ObjectRef<SynapseCache>> {
    Some(ObjectRef::new(&cache(&pod.metadata)?).within(&pod.namespace()?))
}

/// What the pods of one cache show.
pub(super) fn of(pods: &Store<Pod>, namespace: &str, name: &str) -> Vec<Observed> {
    let of_cache = |pod: &Pod| {
        pod.metadata.namespace.as_deref() == Some(namespace)
            && cache(&pod.metadata).is_some_and(|cache| cache == name)
    };
    let mut observed: Vec<_> = pods.state_filter(of_cache).iter().filter_map(|pod| observe(pod)).collect();
    observed.sort_by(|one, other| one.name.cmp(&other.name));
    observed
}

async fn tell(pod: &Pod, reports: &Reports, told: &Mutex<HashSet<String>>) {
    let Some(observed) = observe(pod).filter(|observed| !observed.problems.is_empty()) else { return };
    {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= MOST_TOLD {
            told.clear();
        }
        if !told.insert(pod.uid().unwrap_or_default()) {
            return;
        }
    }
    // One event for each reason: of several with one reason, the API server would be told the first.
    let mut details = BTreeMap::<_, Vec<_>>::new();
    for problem in &observed.problems {
        details.entry(problem.reason.as_str()).or_default().push(problem.detail.as_str());
    }
    for (reason, details) in details {
        reports.event(&reference(pod), true, reason, "Inject", details.join("; ")).await;
    }
}
