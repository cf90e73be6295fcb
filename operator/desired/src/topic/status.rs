//! The status of a topic, from what was found out.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use synapse_api::conditions::{self, Answer, Reason};
use synapse_api::topic::{Drift, SynapseTopicStatus};

use super::groups::{groups, in_one_line};
use super::{Difference, Owner, Seen, Wanted};
use crate::status::rounded;

/// The fields of the status that move by themselves: a message too, as long as its reason stays.
pub const COUNTERS: [&str; 8] =
    ["entries", "firstId", "lastId", "lag", "lagUnknownReason", "pending", "consumers", "message"];

/// How far the work on a topic came.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The broker could not be used, for this reason.
    Unavailable(Reason, String),
    /// The spec or what it refers to cannot be used.
    Unusable(Reason, String),
    /// The stream is another's.
    Taken(Owner),
    /// The stream is nobody's, and may not be taken.
    NotAdopted,
    /// The key holds another type.
    NotAStream(String),
    /// Stream and groups were looked at and brought forward.
    Worked {
        /// What is there now.
        seen: Seen,
        /// What was found different before.
        differences: Vec<Difference>,
        /// What holds retention back.
        held: Option<Held>,
        /// What a deletion waits for.
        draining: Option<Held>,
    },
}

/// A group that needs an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The group.
    pub group: String,
    /// `pending` or `not delivered`.
    pub why: String,
}

/// The status that says `outcome`, keeping of `before` what is still known.
pub fn status(
    wanted: Option<&Wanted>,
    outcome: &Outcome,
    before: &SynapseTopicStatus,
    generation: Option<i64>,
    now: Time,
) -> SynapseTopicStatus {
    let mut status = SynapseTopicStatus {
        observed_generation: generation,
        conditions: answers(wanted, outcome)
            .into_iter()
            .map(|(kind, answer, reason, message)| {
                conditions::condition(
                    kind,
                    answer,
                    reason,
                    message,
                    generation,
                    now.clone(),
                    &before.conditions,
                )
            })
            .collect(),
        ..before.clone()
    };
    match outcome {
        Outcome::Worked { seen, .. } => {
            status.entries = Some(rounded(seen.entries));
            status.first_id = seen.first.clone();
            status.last_id = seen.last.clone();
            let groups = groups(wanted, seen);
            status.groups = Some(in_one_line(&groups));
            status.consumer_groups = Some(groups);
        }
        // What is another's is not shown as ours; what cannot be reached keeps its last known figures.
        Outcome::Taken(_) | Outcome::NotAdopted | Outcome::NotAStream(_) => {
            status = SynapseTopicStatus {
                conditions: status.conditions,
                observed_generation: generation,
                ..SynapseTopicStatus::default()
            };
        }
        Outcome::Unavailable(..) | Outcome::Unusable(..) => {}
    }
    status
}

type Said = (&'static str, Answer, Reason, String);

fn answers(wanted: Option<&Wanted>, outcome: &Outcome) -> Vec<Said> {
    let (provisioned, conflict) = provisioned(outcome);
    let mut said = vec![provisioned, conflict];
    let (drifted, retention, draining) = match outcome {
        Outcome::Worked { seen, differences, held, draining } => (
            drifted(wanted, seen, differences),
            match held {
                Some(held) => (
                    Answer::True,
                    Reason::HeldByGroup,
                    format!(
                        "group {} holds entries beyond the limits ({}): let it read on, acknowledge, or set retention.unread to Trim",
                        held.group, held.why
                    ),
                ),
                None => (Answer::False, Reason::NotHeld, "nothing is kept beyond the limits".to_owned()),
            },
            match draining {
                Some(held) => (
                    Answer::True,
                    Reason::WaitingForGroups,
                    format!("the deletion waits for group {} ({})", held.group, held.why),
                ),
                None => (Answer::False, Reason::NotDeleting, "no deletion waits for a group".to_owned()),
            },
        ),
        _ => {
            let unknown = || (Answer::Unknown, said[0].2, said[0].3.clone());
            (unknown(), unknown(), unknown())
        }
    };
    for (kind, (answer, reason, message)) in [
        (conditions::DRIFTED, drifted),
        (conditions::RETENTION_BLOCKED, retention),
        (conditions::DRAINING, draining),
    ] {
        said.push((kind, answer, reason, message));
    }
    // Ready says what is most wrong; a group that reads slowly is no fault of the topic.
    let reported_drift =
        said[2].1 == Answer::True && matches!(said[2].2, Reason::GroupMissing | Reason::StreamMissing);
    let ready = if said[0].1 != Answer::True {
        (conditions::READY, Answer::False, said[0].2, said[0].3.clone())
    } else if reported_drift {
        (conditions::READY, Answer::False, said[2].2, said[2].3.clone())
    } else {
        (
            conditions::READY,
            Answer::True,
            Reason::AsDesired,
            "the stream and its groups are as they should be".to_owned(),
        )
    };
    said.insert(0, ready);
    said
}

fn provisioned(outcome: &Outcome) -> (Said, Said) {
    let claimed = (Answer::False, Reason::Claimed, "the stream is claimed by this object".to_owned());
    let unknown = |reason, message: &String| (Answer::Unknown, reason, message.clone());
    let ((answer, reason, message), conflict) = match outcome {
        Outcome::Worked { .. } => {
            ((Answer::True, Reason::StreamReady, "the stream and its groups exist".to_owned()), claimed)
        }
        Outcome::Unavailable(reason, message) => (unknown(*reason, message), unknown(*reason, message)),
        Outcome::Unusable(reason, message) => {
            ((Answer::False, *reason, message.clone()), unknown(*reason, message))
        }
        Outcome::Taken(owner) => {
            let message = format!(
                "the stream was claimed first by SynapseTopic {}/{} of the cluster {}: delete that object, or give this one another spec.name",
                owner.namespace, owner.name, owner.cluster
            );
            (
                (Answer::False, Reason::ClaimedByOther, message.clone()),
                (Answer::True, Reason::ClaimedByOther, message),
            )
        }
        Outcome::NotAdopted => {
            let message = "the stream exists and belongs to no object: set spec.adoption to Adopt to take it over with its entries and groups";
            (
                (Answer::False, Reason::NotAdopted, message.to_owned()),
                (Answer::True, Reason::NotAdopted, message.to_owned()),
            )
        }
        Outcome::NotAStream(kind) => {
            let message =
                format!("the key of that name holds a {kind}, not a stream: give another spec.name");
            (
                (Answer::False, Reason::NotAStream, message.clone()),
                (Answer::True, Reason::NotAStream, message),
            )
        }
    };
    (
        (conditions::PROVISIONED, answer, reason, message),
        (conditions::CONFLICT, conflict.0, conflict.1, conflict.2),
    )
}

fn drifted(wanted: Option<&Wanted>, seen: &Seen, differences: &[Difference]) -> (Answer, Reason, String) {
    if wanted.is_some_and(|wanted| wanted.drift == Drift::Ignore) {
        return (Answer::Unknown, Reason::NotObserved, "spec.drift is Ignore".to_owned());
    }
    // What was put right is an event; what is still missing is a condition.
    let left = differences.iter().find(|difference| match difference {
        Difference::StreamMissing => !seen.exists,
        Difference::GroupMissing(name) => seen.groups.iter().all(|group| group.name != *name),
    });
    match left {
        None => (Answer::False, Reason::AsDesired, "the broker is as this object says".to_owned()),
        Some(Difference::StreamMissing) => {
            (Answer::True, Reason::StreamMissing, "the stream is gone from the broker".to_owned())
        }
        Some(Difference::GroupMissing(name)) => {
            (Answer::True, Reason::GroupMissing, format!("group {name} is gone from the broker"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Group;
    use super::super::tests::wanted_with;
    use super::*;
    use k8s_openapi::jiff::Timestamp;

    fn said(outcome: &Outcome, drift: Drift) -> Vec<(String, String, String)> {
        let now = Time(Timestamp::from_second(0).unwrap());
        let wanted = wanted_with(drift, &["b"]);
        let status = status(Some(&wanted), outcome, &SynapseTopicStatus::default(), Some(3), now);
        assert!(status.conditions.iter().all(|c| c.observed_generation == Some(3)));
        status.conditions.into_iter().map(|c| (c.type_, c.status, c.reason)).collect()
    }

    fn worked(names: &[&str], differences: Vec<Difference>) -> Outcome {
        let groups = names.iter().map(|n| Group { name: (*n).to_owned(), ..Group::default() }).collect();
        let seen = Seen { exists: true, entries: 12_345, groups, ..Seen::default() };
        Outcome::Worked { seen, differences, held: None, draining: None }
    }

    fn has(said: &[(String, String, String)], kind: &str, answer: &str, reason: &str) {
        assert!(
            said.contains(&(kind.into(), answer.into(), reason.into())),
            "{kind} {answer} {reason}: {said:?}"
        );
    }

    #[test]
    fn every_outcome_answers_every_question() {
        let outcomes = [
            worked(&["b"], vec![]),
            Outcome::Unavailable(Reason::BrokerUnreachable, "gone".into()),
            Outcome::NotAdopted,
            Outcome::NotAStream("list".into()),
            Outcome::Taken(Owner { cluster: "c".into(), namespace: "n".into(), name: "t".into() }),
        ];
        for outcome in outcomes {
            let kinds: Vec<String> = said(&outcome, Drift::Enforce).into_iter().map(|s| s.0).collect();
            assert_eq!(
                kinds,
                ["Ready", "Provisioned", "Conflict", "Drifted", "RetentionBlocked", "Draining"]
            );
        }
    }

    #[test]
    fn what_was_put_right_is_ready_and_what_is_only_reported_is_not() {
        let missing = vec![Difference::GroupMissing("b".into())];
        let repaired = said(&worked(&["b"], missing.clone()), Drift::Enforce);
        has(&repaired, "Ready", "True", "AsDesired");
        let left = said(&worked(&[], missing), Drift::Report);
        has(&left, "Drifted", "True", "GroupMissing");
        has(&left, "Ready", "False", "GroupMissing");
    }

    #[test]
    fn an_unreachable_broker_is_unknown_and_keeps_the_last_figures() {
        let before = SynapseTopicStatus { entries: Some(5), ..SynapseTopicStatus::default() };
        let outcome = Outcome::Unavailable(Reason::BrokerUnreachable, "gone".into());
        let now = Time(Timestamp::from_second(0).unwrap());
        let status = status(None, &outcome, &before, None, now);
        assert_eq!(status.entries, Some(5));
        assert_eq!(
            (status.conditions[0].status.as_str(), status.conditions[1].status.as_str()),
            ("False", "Unknown")
        );
    }

    #[test]
    fn listed_groups_come_first_and_a_lag_that_cannot_be_told_has_a_reason() {
        let mut outcome = worked(&["a", "b"], vec![]);
        if let Outcome::Worked { seen, .. } = &mut outcome {
            seen.groups[1].oldest_undelivered = Some("1-1".into());
        }
        let now = Time(Timestamp::from_second(0).unwrap());
        let wanted = wanted_with(Drift::Enforce, &["b"]);
        let status = status(Some(&wanted), &outcome, &SynapseTopicStatus::default(), None, now);
        let groups = status.consumer_groups.unwrap();
        assert_eq!(
            (groups[0].name.as_str(), groups[0].lag, groups[0].lag_unknown_reason.is_some()),
            ("b", None, true)
        );
        assert_eq!((groups[1].name.as_str(), groups[1].lag), ("a", Some(0)));
        assert_eq!((status.entries, status.groups.as_deref()), (Some(12_300), Some("b,a")));
    }
}
