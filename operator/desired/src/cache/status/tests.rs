//! What is said of a cache in each of its states.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use synapse_api::conditions::{DEGRADED, PROGRESSING, READY, REFERENCES_RESOLVED};

use super::*;
use crate::cache::pods::Credential;
use crate::sidecar_config::render;
use crate::status::is_due;

const IMAGE: &str = "registry.example.com/sidecar:1";

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

fn with_redis() -> SynapseCacheSpec {
    serde_json::from_value(json!({"redis": {"connection": {"url": "redis://redis"}}})).unwrap()
}

fn pod(name: &str, ready: bool) -> Observed {
    Observed {
        name: name.to_owned(),
        node: None,
        service: None,
        publishes: Vec::new(),
        consumes: Vec::new(),
        version: "1".to_owned(),
        ready,
        credentials: Vec::<Credential>::new(),
        memory_limit: Some("128Mi".to_owned()),
        problems: Vec::new(),
    }
}

fn heard(revision: &str, hits: u64, misses: u64) -> Option<Instance> {
    Some(Instance { revision: Some(revision.to_owned()), hits, misses, ..Instance::default() })
}

/// From a condition's type to its answer and reason.
type Answers = Box<dyn Fn(&str) -> String>;

/// The status, and each condition as `answer reason`.
fn said(
    spec: &SynapseCacheSpec,
    pods: &[(Observed, Option<Instance>)],
    change: impl FnOnce(&mut Found<'_>),
) -> (SynapseCacheStatus, Answers) {
    let rendered = render("shop", "catalog", spec).unwrap();
    let mut found = Found {
        spec,
        image: IMAGE,
        rendered: Ok(&rendered),
        unmounted: None,
        unresolved: None,
        pods,
        naked: 0,
        unheard: None,
    };
    change(&mut found);
    let status = status(&found, &SynapseCacheStatus::default(), Some(3), &at(100));
    let conditions = status.conditions.clone();
    let answer = move |kind: &str| {
        let found = conditions.iter().find(|condition| condition.type_ == kind).unwrap();
        format!("{} {}", found.status, found.reason)
    };
    (status, Box::new(answer))
}

#[test]
fn a_cache_without_pods_is_ready_for_them() {
    let (status, answer) = said(&SynapseCacheSpec::default(), &[], |_| {});
    assert_eq!(answer(READY), "True NoPods");
    assert_eq!(answer(PROGRESSING), "False NoPods");
    assert_eq!(answer(DEGRADED), "False AsDesired");
    assert_eq!(answer(REFERENCES_RESOLVED), "True Resolved");
    assert!(status.conditions.iter().all(|condition| condition.observed_generation == Some(3)));
    assert_eq!(status.hit_ratio, None);
}

#[test]
fn pods_are_counted_by_what_they_say() {
    let spec = with_redis();
    let current = render("shop", "catalog", &spec).unwrap().revision;
    let pods = [
        (pod("a", true), heard(&current, 9, 1)),
        (pod("b", true), heard("older", 1, 9)),
        (pod("c", false), None),
    ];
    let (status, answer) = said(&spec, &pods, |_| {});
    let counted = Pods { injected: 3, ready: 2, outdated: 1, naked: 0, unknown: 1 };
    assert_eq!((status.pods, status.hit_ratio.as_deref()), (Some(counted), Some("0.50")));
    assert_eq!(answer(READY), "False PodsNotReady");
    assert_eq!(answer(PROGRESSING), "True PodsOutdated");
    assert_eq!(answer(DEGRADED), "False AsDesired");
}

#[test]
fn an_unreachable_redis_degrades_and_leaves_it_ready() {
    let pods = [(pod("a", true), None)];
    let trouble = (Reason::BrokerUnreachable, "no answer".to_owned());
    let (status, answer) = said(&with_redis(), &pods, |found| found.unheard = Some(trouble));
    assert_eq!(status.pods.unwrap().unknown, 1);
    assert_eq!(answer(READY), "True AsDesired");
    assert_eq!(answer(PROGRESSING), "Unknown BrokerUnreachable");
    assert_eq!(answer(DEGRADED), "True BrokerUnreachable");
}

#[test]
fn missing_secrets_and_naked_pods_are_named() {
    let missing = (Reason::SecretNotFound, "there is no Secret auth".to_owned());
    let (_, answer) = said(&with_redis(), &[], |found| found.unresolved = Some(missing));
    assert_eq!(answer(READY), "False SecretNotFound");
    assert_eq!(answer(REFERENCES_RESOLVED), "False SecretNotFound");
    let (_, answer) = said(&with_redis(), &[], |found| found.naked = 2);
    assert_eq!((answer(READY), answer(DEGRADED)), ("False PodsNaked".into(), "True PodsNaked".into()));
}

#[test]
fn a_pod_with_other_secrets_is_outdated_and_told_apart() {
    let connection = json!({"urlFrom": {"secretKeyRef": {"name": "auth", "key": "url"}}});
    let spec: SynapseCacheSpec =
        serde_json::from_value(json!({"redis": {"connection": connection}})).unwrap();
    let (status, answer) = said(&spec, &[(pod("a", true), None)], |_| {});
    assert_eq!(status.pods.unwrap(), Pods { injected: 1, ready: 1, outdated: 1, naked: 0, unknown: 0 });
    assert_eq!(answer(READY), "False CredentialsNotMounted");
}

#[test]
fn effective_values_show_the_defaults() {
    let (status, _) = said(&with_redis(), &[], |_| {});
    let shown: Value = serde_json::to_value(status.effective).unwrap();
    let expected = json!({
        "capacity": "64Mi", "keyPrefix": "shop:catalog:", "coherence": "Tracking", "maxStale": "5s",
        "flush": "Refused", "image": IMAGE
    });
    assert_eq!(shown, expected);
}

#[test]
fn times_move_with_answers_only_and_nothing_is_due_at_rest() {
    let spec = SynapseCacheSpec::default();
    let rendered = render("shop", "catalog", &spec).unwrap();
    let pods = [(pod("a", true), None)];
    let found = Found {
        spec: &spec,
        image: IMAGE,
        rendered: Ok(&rendered),
        unmounted: None,
        unresolved: None,
        pods: &pods,
        naked: 0,
        unheard: None,
    };
    let first = status(&found, &SynapseCacheStatus::default(), Some(1), &at(100));
    let second = status(&found, &first, Some(1), &at(200));
    assert_eq!(first, second);
    let json = |status: &SynapseCacheStatus| serde_json::to_value(status).unwrap();
    assert!(!is_due(&json(&first), &json(&second), &COUNTERS, None, at(1_000_000).0));
    let naked = status(&Found { naked: 1, ..found }, &second, Some(1), &at(300));
    let since = |kind: &str| {
        let condition = naked.conditions.iter().find(|condition| condition.type_ == kind).unwrap();
        condition.last_transition_time.0.as_second()
    };
    assert_eq!((since(READY), since(PROGRESSING)), (300, 100));
}

#[test]
fn a_capacity_that_grew_beyond_a_pods_limit_degrades_and_leaves_it_ready() {
    let grown = serde_json::from_value(json!({"memory": {"capacity": "65Mi"}})).unwrap();
    let pods = [(pod("a", true), None)];
    let (_, answer) = said(&grown, &pods, |_| {});
    assert_eq!(answer(DEGRADED), "True LimitBelowCapacity");
    assert_eq!(answer(READY), "True AsDesired");
    let (_, answer) = said(&SynapseCacheSpec::default(), &pods, |_| {});
    assert_eq!(answer(DEGRADED), "False AsDesired");
}
