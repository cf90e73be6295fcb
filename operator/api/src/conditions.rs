//! The conditions of both kinds: their types, their reasons, and the one function that makes one.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::{Schema, SchemaGenerator, json_schema};

/// The summary, on both kinds.
pub const READY: &str = "Ready";
/// A cache whose pods have not all taken up the current revision.
pub const PROGRESSING: &str = "Progressing";
/// A cache that works with less than it should have.
pub const DEGRADED: &str = "Degraded";
/// A cache whose Secrets were found.
pub const REFERENCES_RESOLVED: &str = "ReferencesResolved";
/// A topic whose stream and groups exist.
pub const PROVISIONED: &str = "Provisioned";
/// A topic that differs from its broker.
pub const DRIFTED: &str = "Drifted";
/// A topic whose stream belongs to someone else.
pub const CONFLICT: &str = "Conflict";
/// A topic that waits for its groups before it is deleted.
pub const DRAINING: &str = "Draining";
/// A topic whose retention is held back by a group.
pub const RETENTION_BLOCKED: &str = "RetentionBlocked";

/// The longest message that a condition may have, as Kubernetes has it.
pub const MAX_MESSAGE: usize = 32_768;

/// The answer of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// It could not be found out.
    Unknown,
}

/// Why a condition has its answer. A closed list: alerts are written against these words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Nothing is wrong.
    AsDesired,
    /// There is no pod to speak of.
    NoPods,
    /// Some pods do not answer.
    PodsNotReady,
    /// Some pods have an older revision.
    PodsOutdated,
    /// Some pods have no sidecar although they ask for it.
    PodsNaked,
    /// Some pods mount other Secrets than the object names.
    CredentialsNotMounted,
    /// Every reference leads somewhere.
    Resolved,
    /// A Secret does not exist.
    SecretNotFound,
    /// A Secret lacks the key.
    SecretKeyMissing,
    /// The operator may not read a Secret.
    SecretForbidden,
    /// What a Secret holds is no url.
    InvalidUrl,
    /// A value of the spec cannot be used.
    InvalidSpec,
    /// The configuration could not be put where pods mount it.
    ConfigMapRefused,
    /// The broker cannot be reached.
    BrokerUnreachable,
    /// The broker answers with an error.
    BrokerRefused,
    /// The broker is too old.
    BrokerUnsupported,
    /// The memory limit of some pods cannot hold the capacity.
    LimitBelowCapacity,
    /// Stream and groups exist.
    StreamReady,
    /// The stream is not there yet.
    StreamMissing,
    /// A group is not there.
    GroupMissing,
    /// The key holds something that is not a stream.
    NotAStream,
    /// Another object claimed the stream first.
    ClaimedByOther,
    /// The stream exists, belongs to nobody, and adoption is refused.
    NotAdopted,
    /// The claim is ours.
    Claimed,
    /// A group holds retention back.
    HeldByGroup,
    /// Retention is not held back.
    NotHeld,
    /// Groups have entries left.
    WaitingForGroups,
    /// The deadline of a deletion passed.
    DeadlinePassed,
    /// The object is not being deleted.
    NotDeleting,
    /// Drift is not looked for.
    NotObserved,
}

/// A condition, whose transition time moves only when the answer does.
#[must_use]
pub fn condition(
    kind: &str,
    answer: Answer,
    reason: Reason,
    message: impl Into<String>,
    generation: Option<i64>,
    now: Time,
    before: &[Condition],
) -> Condition {
    let status = answer.as_str();
    let last_transition_time = before
        .iter()
        .find(|old| old.type_ == kind && old.status == status)
        .map_or(now, |old| old.last_transition_time.clone());
    let mut message = message.into();
    if message.len() > MAX_MESSAGE {
        message.truncate(message.floor_char_boundary(MAX_MESSAGE));
    }
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.as_str().to_owned(),
        message,
        observed_generation: generation,
        last_transition_time,
    }
}

/// The schema of a list of conditions: Kubernetes' own type, with its limits written down.
pub fn list_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "One question about the object, and its answer.",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {"type": "string", "maxLength": 316, "description": "The question."},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"], "description": "The answer."},
                "reason": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                    "description": "Why, in one word of a closed list."
                },
                "message": {"type": "string", "maxLength": MAX_MESSAGE, "description": "Why, and what to do, for people."},
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                    "description": "The generation of the object that the answer speaks of."
                },
                "lastTransitionTime": {
                    "type": "string",
                    "format": "date-time",
                    "description": "When the answer last changed."
                }
            }
        }
    })
}

// === impl Answer ===

impl Answer {
    /// As Kubernetes writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Answer {
    fn from(yes: bool) -> Self {
        if yes { Self::True } else { Self::False }
    }
}

// === impl Reason ===

impl Reason {
    /// The word itself.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AsDesired => "AsDesired",
            Self::NoPods => "NoPods",
            Self::PodsNotReady => "PodsNotReady",
            Self::PodsOutdated => "PodsOutdated",
            Self::PodsNaked => "PodsNaked",
            Self::CredentialsNotMounted => "CredentialsNotMounted",
            Self::Resolved => "Resolved",
            Self::SecretNotFound => "SecretNotFound",
            Self::SecretKeyMissing => "SecretKeyMissing",
            Self::SecretForbidden => "SecretForbidden",
            Self::InvalidUrl => "InvalidUrl",
            Self::InvalidSpec => "InvalidSpec",
            Self::ConfigMapRefused => "ConfigMapRefused",
            Self::BrokerUnreachable => "BrokerUnreachable",
            Self::BrokerRefused => "BrokerRefused",
            Self::BrokerUnsupported => "BrokerUnsupported",
            Self::LimitBelowCapacity => "LimitBelowCapacity",
            Self::StreamReady => "StreamReady",
            Self::StreamMissing => "StreamMissing",
            Self::GroupMissing => "GroupMissing",
            Self::NotAStream => "NotAStream",
            Self::ClaimedByOther => "ClaimedByOther",
            Self::NotAdopted => "NotAdopted",
            Self::Claimed => "Claimed",
            Self::HeldByGroup => "HeldByGroup",
            Self::NotHeld => "NotHeld",
            Self::WaitingForGroups => "WaitingForGroups",
            Self::DeadlinePassed => "DeadlinePassed",
            Self::NotDeleting => "NotDeleting",
            Self::NotObserved => "NotObserved",
        }
    }
}
