//! The exact figures of every topic: what status rounds, `/metrics` exports and `/state` shows; and how reconciling goes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use kube::ResourceExt;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use serde::Serialize;
use synapse_api::conditions::READY;
use synapse_api::topic::{SynapseTopic, SynapseTopicStatus};
use synapse_desired::topic::Group;
use synapse_desired::topic::status::Outcome;

/// Bounds in seconds: from a tenth of a millisecond to the limit of a call.
const BOUNDS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 10.0];

/// What the leader saw last.
#[derive(Debug)]
pub struct State {
    seen: RwLock<Topics>,
    seconds: Family<Kind, Histogram>,
    failures: Family<Kind, Counter>,
}

type Topics = BTreeMap<(String, String), Topic>;

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
            seen: RwLock::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(BOUNDS)),
            failures: Family::default(),
        };
        for kind in ["SynapseCache", "SynapseTopic"] {
            drop(state.seconds.get_or_create(&Kind { kind }));
            drop(state.failures.get_or_create(&Kind { kind }));
        }
        registry.register("synapse_reconcile_seconds", "Time of one reconciliation", state.seconds.clone());
        registry.register("synapse_reconcile_failures", "Reconciliations to repeat", state.failures.clone());
        state
    }

    /// Counts one reconciliation.
    pub fn reconciled(&self, kind: &'static str, took: Duration, succeeded: bool) {
        self.seconds.get_or_create(&Kind { kind }).observe(took.as_secs_f64());
        if !succeeded {
            self.failures.get_or_create(&Kind { kind }).inc();
        }
    }

    /// Notes what was seen of a topic.
    pub fn saw_topic(&self, topic: &SynapseTopic, outcome: &Outcome, status: &SynapseTopicStatus) {
        let key = (topic.namespace().unwrap_or_default(), topic.name_any());
        let mut guard = self.write();
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
        self.write().remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// Every topic, in the order of namespaces and names.
    pub fn topics(&self) -> Vec<Topic> {
        self.read().values().cloned().collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Topics> {
        self.seen.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Topics> {
        self.seen.write().unwrap_or_else(std::sync::PoisonError::into_inner)
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

fn is_ready(conditions: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition]) -> bool {
    conditions.iter().any(|condition| condition.type_ == READY && condition.status == "True")
}

fn group_state(group: &Group) -> GroupState {
    let lag = group.lag.or_else(|| group.oldest_undelivered.is_none().then_some(0));
    GroupState { name: group.name.clone(), lag, pending: group.pending, consumers: group.consumers }
}
