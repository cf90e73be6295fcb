//! SynapseTopic: a stream on a broker, with its consumer groups and its retention.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::connection::{Connection, Tls};

/// A stream on a broker, its consumer groups, and how long its entries are kept.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "synapse.dev",
    version = "v1alpha1",
    kind = "SynapseTopic",
    doc = "SynapseTopic is a stream on a broker, its consumer groups, and how long its entries are kept. The operator creates it, repairs it, and reports what it sees.",
    namespaced,
    status = "SynapseTopicStatus",
    derive = "PartialEq",
    shortname = "stopic",
    category = "synapse",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Entries",
        type_ = "integer",
        json_path = ".status.entries",
        description = "Entries in the stream"
    ),
    printcolumn(
        name = "Groups",
        type_ = "string",
        json_path = ".status.groups",
        description = "Consumer groups on the broker"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    ),
    printcolumn(name = "Last Id", type_ = "string", json_path = ".status.lastId", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.name) == has(oldSelf.name) && (!has(self.name) || self.name == oldSelf.name)")
        .message("the stream's name cannot change, appear or disappear: entries would be left behind; make a new SynapseTopic")
        .field_path(".name"),
    validation = Rule::new("!has(self.deletionDeadline) || (has(self.deletionPolicy) && self.deletionPolicy != 'Retain')")
        .message("deletionDeadline bounds the policies Delete and DeleteWhenDrained; Retain waits for nothing")
        .field_path(".deletionDeadline")
)]
pub struct SynapseTopicSpec {
    /// Where the stream lives.
    pub broker: Broker,
    /// Name of the stream on the broker. The object's name when absent. Cannot be changed.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[^\s]+$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How long entries are kept. For ever when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// The consumer groups that must exist. A group that is not listed here is never deleted.
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer_groups: Option<Vec<ConsumerGroup>>,
    /// What becomes of the stream when this object is deleted. Retain when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// How long a deletion may wait for the broker, or for the groups to drain, before the stream is
    /// retained instead, such as `1h`. 1h when absent.
    #[schemars(length(min = 2, max = 24), regex(pattern = r"^([0-9]+(ms|s|m|h))+$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_deadline: Option<String>,
    /// What happens when the broker differs from this object. Enforce when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// Whether a stream that exists already, and belongs to nobody, is taken over. Refuse when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adoption: Option<Adoption>,
}

/// Where a stream lives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Broker {
    /// A Redis Stream.
    pub redis: RedisBroker,
}

/// The Redis (7.0 or later, or Valkey) of a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.tls) || !has(self.connection.url) || self.connection.url.startsWith('rediss://')")
        .message("tls says whom to trust, and is used only when the url begins with rediss://")
        .field_path(".tls")
)]
pub struct RedisBroker {
    /// Where it is.
    pub connection: Connection,
    /// Whom to trust when the url begins with `rediss://`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// How long entries are kept. What exceeds any of the limits is removed, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.entries) || has(self.age)")
        .message("give entries, age or both: without a limit nothing is removed")
)]
pub struct Retention {
    /// The most entries that are kept.
    #[schemars(range(min = 1, max = 1_000_000_000_000_i64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<i64>,
    /// The longest that an entry is kept, such as `168h`.
    #[schemars(length(min = 2, max = 24), regex(pattern = r"^([0-9]+(ms|s|m|h))+$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<String>,
    /// Protect (also when absent): never remove what a listed group has pending or has not been given;
    /// what holds the limits back is named in the condition RetentionBlocked. Trim: remove it anyway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread: Option<Unread>,
}

/// What retention does with entries that a listed group still needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Unread {
    /// They stay.
    Protect,
    /// They go like all others.
    Trim,
}

/// A consumer group that must exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerGroup {
    /// Its name on the broker.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9_.:]*[A-Za-z0-9])?$"))]
    pub name: String,
    /// The entry that a new group begins after: Latest (only what comes after its creation, also when
    /// absent), Earliest, or an entry's id such as `1700000000000-0`, whose first part is milliseconds
    /// since 1970. It has no effect on a group that exists.
    #[schemars(
        length(min = 1, max = 41),
        regex(pattern = r"^(Latest|Earliest|[0-9]{1,20}(-[0-9]{1,20})?)$")
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_from: Option<String>,
}

/// What becomes of a stream when its object is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It stays, and belongs to nobody.
    Retain,
    /// It is deleted with all entries.
    Delete,
    /// It is deleted once no group has anything pending or unread.
    DeleteWhenDrained,
}

/// What happens when the broker differs from the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Drift {
    /// It is put right.
    Enforce,
    /// It is said in the condition Drifted, and left.
    Report,
    /// It is not looked for.
    Ignore,
}

/// Whether an existing stream that belongs to nobody is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Adoption {
    /// It is left alone, and the condition Conflict says so.
    Refuse,
    /// It is taken over with its entries and groups.
    Adopt,
}

/// What the operator observed of a topic on its broker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SynapseTopicStatus {
    /// Ready, Provisioned, Drifted, Conflict, Draining and RetentionBlocked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::conditions::list_schema")]
    pub conditions: Vec<Condition>,
    /// The generation that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Entries in the stream, rounded while they move.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<i64>,
    /// Id of the oldest entry.
    #[schemars(length(max = 41))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_id: Option<String>,
    /// Id of the newest entry.
    #[schemars(length(max = 41))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_id: Option<String>,
    /// Names of the groups on the broker in one line, and how many more there are where it would become
    /// too long. The groups themselves are in consumerGroups.
    #[schemars(length(max = 160))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<String>,
    /// The groups on the broker, listed ones first.
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer_groups: Option<Vec<ConsumerGroupStatus>>,
}

/// What the operator observed of a consumer group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerGroupStatus {
    /// Its name on the broker.
    #[schemars(length(max = 512))]
    pub name: String,
    /// Entries that it has not been given yet. Absent where Redis cannot tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<i64>,
    /// Why there is no lag.
    #[schemars(length(max = 128))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_unknown_reason: Option<String>,
    /// Entries given to a consumer and not yet acknowledged.
    pub pending: i64,
    /// Consumers known to the broker.
    pub consumers: i64,
}
