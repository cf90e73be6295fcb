//! The exact figures of every cache and topic, which status rounds, and how reconciling goes: for `/metrics`, `/state` and
//! `/registry`.

mod cache;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use kube::runtime::reflector::Store;
use kube::{Resource, ResourceExt};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use serde::Serialize;
use synapse_api::cache::{SynapseCache, SynapseCacheStatus};
use synapse_api::conditions::READY;
use synapse_api::topic::{SynapseTopic, SynapseTopicStatus};
use synapse_desired::cache::instance::Instance;
use synapse_desired::cache::pods::Observed;
use synapse_desired::topic::Group;
use synapse_desired::topic::status::Outcome;

use crate::queue::{self, Queue};

pub use cache::{Cache, Running};

/// Bounds in seconds: from a tenth of a millisecond to the limit of a call.
const BOUNDS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 10.0];

/// The kinds that are reconciled.
const KINDS: [&str; 2] = ["SynapseCache", "SynapseTopic"];

/// What the leader saw last.
#[derive(Debug)]
pub struct State {
    caches: Mutex<BTreeMap<Key, Cache>>,
    topics: Mutex<BTreeMap<Key, Topic>>,
    queues: [(&'static str, Queue); 2],
    seconds: Family<Kind, Histogram>,
    failures: Family<Kind, Counter>,
}

/// Namespace and name.
type Key = (String, String);

/// One reconciliation.
#[derive(Debug)]
pub(crate) struct Visit<'a> {
    state: &'a State,
    kind: &'static str,
    begun: Instant,
    _running: Option<queue::Running>,
}

/// A topic, exactly.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Topic {
    namespace: String,
    name: String,
    ready: bool,
    entries: u64,
    first_id: Option<String>,
    last_id: Option<String>,
    consumer_groups: Vec<GroupState>,
}

/// A consumer group, exactly.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupState {
    name: String,
    lag: Option<u64>,
    pending: u64,
    consumers: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

impl State {
    /// Nothing seen yet; the histograms of reconciliations are put into `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let state = Self {
            caches: Mutex::default(),
            topics: Mutex::default(),
            queues: KINDS.map(|kind| (kind, Queue::default())),
            seconds: Family::new_with_constructor(|| Histogram::new(BOUNDS)),
            failures: Family::default(),
        };
        for kind in KINDS {
            drop(state.seconds.get_or_create(&Kind { kind }));
            drop(state.failures.get_or_create(&Kind { kind }));
        }
        registry.register("synapse_reconcile_seconds", "Time of one reconciliation", state.seconds.clone());
        registry.register("synapse_reconcile_failures", "Reconciliations to repeat", state.failures.clone());
        state
    }

    /// Counts the objects of a kind that wait, from those that `store` holds.
    pub(crate) fn follow<K>(&self, store: Store<K>)
    where
        K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    {
        if let Some(queue) = self.queue::<K>() {
            queue.follow(store);
        }
    }

    /// Counts one reconciliation of `object`, which begins here.
    pub(crate) fn visit<K: Resource<DynamicType = ()>>(&self, object: &K) -> Visit<'_> {
        let kind = KINDS.into_iter().find(|kind| *kind == K::kind(&())).unwrap_or_default();
        let running = self.queue::<K>().map(|queue| queue.begin(object));
        Visit { state: self, kind, begun: Instant::now(), _running: running }
    }

    /// Forgets what was done about an object that is gone.
    pub(crate) fn gone<K: Resource<DynamicType = ()>>(&self, namespace: &str, name: &str) {
        if let Some(queue) = self.queue::<K>() {
            queue.forget(namespace, name);
        }
    }

    fn queue<K: Resource<DynamicType = ()>>(&self) -> Option<&Queue> {
        self.queues.iter().find(|(kind, _)| *kind == K::kind(&())).map(|(_, queue)| queue)
    }

    /// Notes what was seen of a cache and its pods.
    pub(crate) fn saw_cache(
        &self,
        cache: &SynapseCache,
        status: &SynapseCacheStatus,
        pods: &[(Observed, Option<Instance>)],
    ) {
        let key = (cache.namespace().unwrap_or_default(), cache.name_any());
        lock(&self.caches).insert(key, Cache::new(cache, status, pods));
    }

    /// Forgets a cache that is gone.
    pub(crate) fn forget_cache(&self, namespace: &str, name: &str) {
        lock(&self.caches).remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// Every cache, in the order of namespaces and names.
    pub fn caches(&self) -> Vec<Cache> {
        lock(&self.caches).values().cloned().collect()
    }

    /// Every pod with a sidecar, in the order of namespaces and caches.
    pub fn running(&self) -> Vec<Running> {
        lock(&self.caches).values().flat_map(|cache| cache.running.iter().cloned()).collect()
    }

    /// Notes what was seen of a topic.
    pub fn saw_topic(&self, topic: &SynapseTopic, outcome: &Outcome, status: &SynapseTopicStatus) {
        let key = (topic.namespace().unwrap_or_default(), topic.name_any());
        let mut guard = lock(&self.topics);
        let entry = guard.entry(key.clone()).or_default();
        (entry.namespace, entry.name) = key;
        entry.ready = is_ready(&status.conditions);
        if let Outcome::Worked { seen, .. } = outcome {
            entry.entries = seen.entries;
            (entry.first_id, entry.last_id) = (seen.first.clone(), seen.last.clone());
            entry.consumer_groups = seen.groups.iter().map(group_state).collect();
        }
    }

    /// Forgets a topic that is going.
    pub fn forget_topic(&self, namespace: &str, name: &str) {
        lock(&self.topics).remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// Every topic, in the order of namespaces and names.
    pub fn topics(&self) -> Vec<Topic> {
        lock(&self.topics).values().cloned().collect()
    }
}

// === impl Visit ===

impl Visit<'_> {
    /// Ends it.
    pub(crate) fn done(self, succeeded: bool) {
        let kind = Kind { kind: self.kind };
        self.state.seconds.get_or_create(&kind).observe(self.begun.elapsed().as_secs_f64());
        if !succeeded {
            self.state.failures.get_or_create(&kind).inc();
        }
    }
}

impl Collector for State {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let topics = self.topics();
        let mut gauge = |name: &str, help: &str, rows: Vec<(Vec<(&str, String)>, u64)>| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (labels, value) in rows {
                let value = i64::try_from(value).unwrap_or(i64::MAX);
                family.encode_family(&labels)?.encode_gauge(&value)?;
            }
            Ok(())
        };
        let per_kind = |value: fn(&Queue) -> usize| {
            let row = |(kind, queue): &(&'static str, Queue)| {
                (vec![("kind", (*kind).to_owned())], u64::try_from(value(queue)).unwrap_or(u64::MAX))
            };
            self.queues.iter().map(row).collect()
        };
        gauge("synapse_reconcile_running", "Reconciliations under way", per_kind(Queue::running))?;
        gauge(
            "synapse_reconcile_waiting",
            "Objects whose newest version no reconciliation has begun with",
            per_kind(Queue::waiting),
        )?;
        let of_topic =
            |topic: &Topic| vec![("namespace", topic.namespace.clone()), ("topic", topic.name.clone())];
        let per_topic = |value: fn(&Topic) -> u64| topics.iter().map(|t| (of_topic(t), value(t))).collect();
        gauge("synapse_topic_ready", "Whether the topic is Ready", per_topic(|t| t.ready.into()))?;
        gauge("synapse_topic_entries", "Entries in the stream", per_topic(|t| t.entries))?;
        let per_group = |value: fn(&GroupState) -> Option<u64>| {
            let rows = topics.iter().flat_map(|topic| {
                topic.consumer_groups.iter().filter_map(move |group| {
                    let mut labels = of_topic(topic);
                    labels.push(("group", group.name.clone()));
                    Some((labels, value(group)?))
                })
            });
            rows.collect()
        };
        gauge("synapse_topic_lag", "Entries that a group has not been given", per_group(|g| g.lag))?;
        gauge("synapse_topic_pending", "Entries given and not acknowledged", per_group(|g| Some(g.pending)))
    }
}

fn lock<T>(locked: &Mutex<T>) -> MutexGuard<'_, T> {
    locked.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_ready(conditions: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition]) -> bool {
    conditions.iter().any(|condition| condition.type_ == READY && condition.status == "True")
}

fn group_state(group: &Group) -> GroupState {
    let lag = group.lag.or_else(|| group.oldest_undelivered.is_none().then_some(0));
    GroupState { name: group.name.clone(), lag, pending: group.pending, consumers: group.consumers }
}
