//! Who asks for a sidecar, since when, and which of those that have none count.

use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::cache::scripted::{NOT_FOUND, client};

fn pod(annotations: serde_json::Value) -> Meta {
    let pod =
        json!({"metadata": {"name": "web", "namespace": "shop", "uid": "u", "annotations": annotations}});
    serde_json::from_value(pod).unwrap()
}

#[test]
fn only_pods_that_ask_are_kept_and_one_that_ceases_to_ask_is_let_go() {
    let (namespaces, mut labels) = store();
    let asking = || pod(json!({names::INJECT: "catalog"}));
    let kept = |event| only_requesting(Ok(event), &namespaces).map(Result::unwrap);
    assert!(matches!(kept(Event::InitApply(asking())), Some(Event::InitApply(_))));
    assert!(matches!(kept(Event::Apply(asking())), Some(Event::Apply(_))));
    assert!(kept(Event::InitApply(pod(json!({})))).is_none());
    assert!(matches!(kept(Event::Apply(pod(json!({})))), Some(Event::Delete(_))));
    let opted_out = pod(json!({names::INJECT: names::OPT_OUT}));
    assert!(matches!(kept(Event::Apply(opted_out.clone())), Some(Event::Delete(_))));
    // In a namespace that asks for all of its pods, who says nothing asks too.
    let labelled = json!({"metadata": {"name": "shop", "labels": {names::INJECT: "catalog"}}});
    labels.apply_watcher_event(&Event::Apply(serde_json::from_value(labelled).unwrap()));
    assert!(matches!(kept(Event::Apply(pod(json!({})))), Some(Event::Apply(_))));
    assert!(matches!(kept(Event::Apply(opted_out)), Some(Event::Delete(_))));
}

#[test]
fn a_request_that_is_younger_than_the_pod_is_told_from_a_webhook_that_was_away() {
    let meta = |kind: &str, owners: &[(&str, &str)]| -> ObjectMeta {
        let managed = owners.iter().map(|(manager, time)| {
            let fields =
                json!({"f:metadata": {(format!("f:{kind}")): {(format!("f:{}", names::INJECT)): {}}}});
            json!({"manager": manager, "time": time, "operation": "Update", "fieldsV1": fields})
        });
        let managed: Vec<_> = managed.collect();
        let created = "2026-01-01T10:00:00Z";
        serde_json::from_value(json!({
            "creationTimestamp": created, kind: {(names::INJECT): "catalog"}, "managedFields": managed,
        }))
        .unwrap()
    };
    let (plain, silent) = (meta("labels", &[]), ObjectMeta::default());
    let pod = |owners: &[(&str, &str)]| meta("annotations", owners);
    let (then, tick, later) = ("2026-01-01T10:00:00Z", "2026-01-01T10:00:01Z", "2026-01-01T11:00:00Z");
    assert!(!asked_later(&pod(&[("controller", then)]), &silent));
    assert!(!asked_later(&pod(&[("controller", tick)]), &silent));
    assert!(asked_later(&pod(&[("kubectl-annotate", later)]), &silent));
    assert!(!asked_later(&pod(&[("controller", then), ("kubectl-annotate", later)]), &silent));
    assert!(!asked_later(&pod(&[]), &silent), "who does not know says the webhook was away");
    // Where the namespace asks, its label counts.
    let pod = ObjectMeta { annotations: None, ..pod(&[]) };
    assert!(asked_later(&pod, &meta("labels", &[("kubectl-label", later)])));
    assert!(!asked_later(&pod, &meta("labels", &[("helm", then)])) && !asked_later(&pod, &plain));
}

/// How many pods the cache counts as naked, and the events, after one was judged in a namespace that the webhook's
/// entry selects by `selector`.
async fn judged(selector: Value) -> (usize, Vec<String>) {
    let events = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&events);
    let asking = pod(json!({names::INJECT: "catalog"}));
    let mut whole = serde_json::to_value(&asking).unwrap();
    whole["spec"] = json!({"containers": [{"name": "app", "image": "a"}]});
    let client = client(move |method, path, sent| match (method, path.rsplit('/').next().unwrap()) {
        (&Method::GET, "web") => Ok(whole.clone()),
        (&Method::GET, "shop") => Ok(json!({"metadata": {"name": "shop", "labels": {"name": "shop"}}})),
        (&Method::GET, "injector") => {
            Ok(json!({"webhooks": [{"name": "annotated", "namespaceSelector": selector}]}))
        }
        (&Method::POST, "events") => {
            told.lock().unwrap().push(sent["reason"].as_str().unwrap().to_owned());
            Ok(sent)
        }
        _ => NOT_FOUND,
    });
    let (pods, mut writer) = store();
    writer.apply_watcher_event(&Event::Apply(asking.clone()));
    let (namespaces, figures) = (store().0, Figures::default());
    let judge = Judge {
        reports: Reports::new(client.clone(), "operator-0"),
        client,
        installed: Installed { image: "sidecar:1".into(), version: "1".into() },
        webhook: "injector".into(),
        naked: Naked { pods, namespaces, verdicts: Arc::default(), figures },
    };
    judge.consider(&asking).await;
    let events = events.lock().unwrap().clone();
    (judge.naked.count("shop", "catalog"), events)
}

#[tokio::test]
async fn a_pod_of_a_namespace_that_is_left_out_is_told_and_does_not_count() {
    let excluded = json!({"matchExpressions": [{"key": "name", "operator": "NotIn", "values": ["shop"]}]});
    assert_eq!(judged(excluded).await, (0, vec!["ExcludedNamespace".to_owned()]));
    assert_eq!(judged(json!({})).await, (1, vec!["WebhookNotReached".to_owned()]));
}
