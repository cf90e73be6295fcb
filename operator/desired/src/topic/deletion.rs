//! What becomes of a stream whose object is being deleted: every path ends.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use synapse_api::topic::{DeletionPolicy, SynapseTopicSpec};

use super::InvalidSpec;

/// How long a deletion may take when the spec does not say.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(3600);

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Give the stream back if the broker can be reached, and let the object go.
    Release,
    /// Delete the stream, and let the object go once that is done; try again until this moment.
    Delete {
        /// Whether the groups must have read everything.
        drained: bool,
        /// When to give up.
        until: Timestamp,
    },
    /// The deadline has passed: retain the stream, say so, and let the object go.
    GiveUp,
}

/// Decides by the policy, the deadline and the clock alone, so that nothing which is gone (broker, Secret,
/// namespace, permission) can keep the object.
pub fn next(spec: &SynapseTopicSpec, deleted_at: Timestamp, now: Timestamp) -> Next {
    let policy = spec.deletion_policy.unwrap_or(DeletionPolicy::Retain);
    if policy == DeletionPolicy::Retain {
        return Next::Release;
    }
    // A deadline that cannot be read must not be one that never comes.
    let deadline = deadline(spec).unwrap_or(DEFAULT_DEADLINE);
    let deadline = SignedDuration::try_from(deadline).unwrap_or(SignedDuration::MAX);
    let until = deleted_at.checked_add(deadline).unwrap_or(Timestamp::MAX);
    if now >= until {
        return Next::GiveUp;
    }
    Next::Delete { drained: policy == DeletionPolicy::DeleteWhenDrained, until }
}

/// Whether an object with this spec carries the finalizer.
pub fn needs_finalizer(spec: &SynapseTopicSpec) -> bool {
    spec.deletion_policy.unwrap_or(DeletionPolicy::Retain) != DeletionPolicy::Retain
}

fn deadline(spec: &SynapseTopicSpec) -> Result<Duration, InvalidSpec> {
    spec.deletion_deadline
        .as_deref()
        .map_or(Ok(DEFAULT_DEADLINE), |text| super::span("spec.deletionDeadline", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(policy: &str, deadline: Option<&str>) -> SynapseTopicSpec {
        let mut spec = serde_json::json!({"broker": {"redis": {"connection": {"url": "redis://r"}}}});
        spec["deletionPolicy"] = policy.into();
        if let Some(deadline) = deadline {
            spec["deletionDeadline"] = deadline.into();
        }
        serde_json::from_value(spec).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_default_deadline_is_an_hour_and_then_the_object_goes() {
        let spec = spec("DeleteWhenDrained", None);
        assert_eq!(next(&spec, at(0), at(3599)), Next::Delete { drained: true, until: at(3600) });
        assert_eq!(next(&spec, at(0), at(3600)), Next::GiveUp);
    }

    #[test]
    fn the_deadline_written_is_the_one_that_holds() {
        let spec = spec("Delete", Some("90s"));
        assert_eq!(next(&spec, at(0), at(89)), Next::Delete { drained: false, until: at(90) });
        assert_eq!(next(&spec, at(0), at(90)), Next::GiveUp);
    }

    #[test]
    fn an_unreadable_deadline_is_the_default_one() {
        assert_eq!(next(&spec("Delete", Some("soon")), at(0), at(3600)), Next::GiveUp);
    }

    #[test]
    fn retain_waits_for_nothing_and_has_no_finalizer() {
        assert_eq!(next(&spec("Retain", None), at(0), at(0)), Next::Release);
        assert!(!needs_finalizer(&spec("Retain", None)) && needs_finalizer(&spec("Delete", None)));
    }
}
