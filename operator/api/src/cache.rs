//! SynapseCache: a near cache for every pod that names it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::connection::{Connection, Tls};
use crate::sidecar::Sidecar;

/// A near cache. Every pod that carries the annotation `synapse.dev/inject` with this object's name
/// gets a sidecar that answers on the Unix socket in `SYNAPSE_SOCKET`: memory first, then Redis. An
/// empty spec is a cache in memory alone.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "synapse.dev",
    version = "v1alpha1",
    kind = "SynapseCache",
    doc = "SynapseCache is a near cache. Every pod that carries the annotation `synapse.dev/inject` with this object's name gets a sidecar that answers on the Unix socket in `SYNAPSE_SOCKET`: memory first, then Redis.",
    namespaced,
    status = "SynapseCacheStatus",
    derive = "PartialEq",
    shortname = "scache",
    category = "synapse",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Injected", type_ = "integer", json_path = ".status.pods.injected", description = "Pods that have the sidecar"),
    printcolumn(name = "Pods Ready", type_ = "integer", json_path = ".status.pods.ready", description = "Of these, how many answer"),
    printcolumn(name = "Hit Ratio", type_ = "string", json_path = ".status.hitRatio", description = "Share of reads answered from memory"),
    printcolumn(name = "Outdated", type_ = "integer", json_path = ".status.pods.outdated", priority = 1),
    printcolumn(name = "Naked", type_ = "integer", json_path = ".status.pods.naked", priority = 1),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 63 && !(self.metadata.name in ['true', 'false'])")
        .message("a cache's name becomes the value of a label and of an annotation: at most 63 characters, and neither true nor false")
)]
#[serde(rename_all = "camelCase")]
pub struct SynapseCacheSpec {
    /// What each pod keeps in its own memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// The Redis that holds the truth. Without it, memory is all there is, and pods share nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<Redis>,
    /// The injected container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<Sidecar>,
}

/// What each pod keeps in its own memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.capacity) || !isQuantity(self.capacity) || (quantity(self.capacity).compareTo(quantity('1Mi')) >= 0 && quantity(self.capacity).compareTo(quantity('32Gi')) <= 0)")
        .message("capacity is a quantity between 1Mi and 32Gi")
        .field_path(".capacity")
)]
pub struct Memory {
    /// Bytes for keys, values and their bookkeeping together, such as `256Mi`. 64Mi when absent. The
    /// sidecar's memory limit follows it.
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[0-9]+(\.[0-9]+)?([kMGTPE]|[KMGTPE]i)?$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<String>,
    /// The longest that memory keeps a copy, such as `10m`. TTL answers do not show it.
    #[schemars(length(min = 2, max = 24), regex(pattern = r"^([0-9]+(ms|s|m|h))+$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_to_live: Option<String>,
    /// Whether clients of the pod that know how may map the memory, read-only, and read entries in it without asking
    /// the sidecar. Disabled when absent. The memory of a cache that is read so is not given back to the node while it
    /// runs, and large entries (above 2Ki to 32Ki, by the capacity) have an eighth of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_reads: Option<SharedReads>,
}

/// The Redis (7.0 or later, or Valkey) that holds the truth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.tls) || !has(self.connection.url) || self.connection.url.startsWith('rediss://')")
        .message("tls says whom to trust, and is used only when the url begins with rediss://")
        .field_path(".tls")
)]
pub struct Redis {
    /// Where it is.
    pub connection: Connection,
    /// What every key of this cache begins with in Redis. `<namespace>:<name>:` when absent.
    #[schemars(length(min = 1, max = 256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_prefix: Option<String>,
    /// The deadline of an entry that is written without one, such as `24h`. None when absent.
    #[schemars(length(min = 2, max = 24), regex(pattern = r"^([0-9]+(ms|s|m|h))+$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_to_live: Option<String>,
    /// How the copies in the pods follow what happens in Redis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coherence: Option<Coherence>,
    /// Whether FLUSHDB may delete what lies under the prefix. Refused when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flush: Option<Flush>,
    /// Whom to trust when the url begins with `rediss://`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// How the copies in the pods follow what happens in Redis.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.maxStale) || !has(self.mode) || self.mode == 'Tracking'")
        .message("maxStale bounds a gap in the feed of changes, which only the mode Tracking has; with Off, memory.timeToLive bounds the age of a copy")
        .field_path(".maxStale")
)]
pub struct Coherence {
    /// Tracking (also when absent): Redis announces every change under the prefix, whoever made it.
    /// Off: nothing is announced, and a copy may be as old as `memory.timeToLive`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<CoherenceMode>,
    /// How long copies are still served after the feed of changes was last heard. 5s when absent.
    #[schemars(length(min = 2, max = 24), regex(pattern = r"^([0-9]+(ms|s|m|h))+$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_stale: Option<String>,
}

/// How copies follow the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CoherenceMode {
    /// Redis announces every change under the prefix.
    Tracking,
    /// Nothing is announced.
    Off,
}

/// Whether clients may map the memory and read entries without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SharedReads {
    /// They may.
    Enabled,
    /// They ask over the socket.
    Disabled,
}

/// Whether FLUSHDB may delete what lies under the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Flush {
    /// FLUSHDB deletes every key under the prefix.
    Allowed,
    /// FLUSHDB is answered with an error.
    Refused,
}

/// What the operator observed of a cache and of its pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SynapseCacheStatus {
    /// Ready, Progressing, Degraded and ReferencesResolved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::conditions::list_schema")]
    pub conditions: Vec<Condition>,
    /// The generation that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Hash of the configuration that pods should have.
    #[schemars(length(max = 64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The pods that name this cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<Pods>,
    /// Share of reads answered from memory, over all pods, such as `"0.93"`.
    #[schemars(length(max = 8))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hit_ratio: Option<String>,
    /// What holds for what the spec leaves open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective: Option<Effective>,
}

/// The pods that name a cache, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pods {
    /// Pods that have the sidecar.
    pub injected: i32,
    /// Of these, whose socket answers.
    pub ready: i32,
    /// Of these, which have not yet taken up the current revision.
    pub outdated: i32,
    /// Pods that ask for the sidecar and have none, because the webhook was not reached.
    pub naked: i32,
    /// Injected pods of which the operator could not learn the revision.
    pub unknown: i32,
}

/// What holds for what the spec leaves open.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Effective {
    /// Bytes of memory for entries.
    #[schemars(length(max = 20))]
    pub capacity: String,
    /// What every key begins with in Redis.
    #[schemars(length(max = 512))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_prefix: Option<String>,
    /// How copies follow Redis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coherence: Option<CoherenceMode>,
    /// How long copies are served after the feed of changes was last heard.
    #[schemars(length(max = 24))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_stale: Option<String>,
    /// Whether FLUSHDB works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flush: Option<Flush>,
    /// Image that newly injected pods get.
    #[schemars(length(max = 512))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

// === impl SynapseCacheSpec ===

impl SynapseCacheSpec {
    /// Bytes for entries when the spec does not say: small enough for a sidecar that nobody sized.
    pub const DEFAULT_CAPACITY: &str = "64Mi";

    /// Bytes of memory for entries, as written or by default.
    #[must_use]
    pub fn capacity(&self) -> &str {
        self.memory.as_ref().and_then(|memory| memory.capacity.as_deref()).unwrap_or(Self::DEFAULT_CAPACITY)
    }
}
