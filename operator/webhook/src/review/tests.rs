//! Reviews as an API server sends them, and what is no review at all.

use std::collections::BTreeMap;

use prometheus_client::registry::Registry;

use super::*;
use crate::world::Known;

fn admission(known: Known) -> Admission {
    let worlds = Arc::new(Worlds::default());
    worlds.publish(known);
    let installed = Installed { image: "sidecar:1".into(), version: "1".into() };
    Admission::new(worlds, installed, Metrics::register(&mut Registry::default()))
}

fn review_of(annotations: Value) -> Vec<u8> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "annotations": annotations},
        "spec": {"containers": [{"name": "app", "image": "app:1"}], "futureField": {"kept": true}},
    });
    let request =
        json!({"uid": "7", "namespace": "shop", "name": "web", "operation": "CREATE", "object": pod});
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
    serde_json::to_vec(&review).unwrap()
}

fn patch_of(answer: &Value) -> Vec<Value> {
    let patch = STANDARD.decode(answer["response"]["patch"].as_str().unwrap()).unwrap();
    serde_json::from_slice(&patch).unwrap()
}

#[tokio::test]
async fn an_annotated_pod_is_allowed_with_a_patch_that_only_adds() {
    let body = review_of(json!({"synapse.dev/inject": "catalog"}));
    let answer = admission(Known::default()).review(&body).await.unwrap();
    assert_eq!(answer["response"]["uid"], "7");
    assert_eq!(answer["response"]["allowed"], true);
    assert_eq!(answer["response"]["patchType"], "JSONPatch");
    assert!(patch_of(&answer).iter().all(|operation| operation["op"] == "add"));
    // The cache is not known yet: said at once, injected all the same.
    assert!(answer["response"]["warnings"][0].as_str().unwrap().contains("CacheNotFound"));
}

#[tokio::test]
async fn a_wrong_name_is_allowed_unchanged_and_explained() {
    let body = review_of(json!({"synapse.dev/inject": "Not A Name"}));
    let answer = admission(Known::default()).review(&body).await.unwrap();
    assert_eq!(answer["response"]["allowed"], true);
    assert!(answer["response"].get("patch").is_none());
    assert!(answer["response"]["warnings"][0].as_str().unwrap().contains("InvalidCacheName"));
}

#[tokio::test]
async fn an_opted_out_pod_is_left_alone_in_silence() {
    let body = review_of(json!({"synapse.dev/inject": "false"}));
    let answer = admission(Known::default()).review(&body).await.unwrap();
    assert_eq!(answer["response"], json!({"uid": "7", "allowed": true}));
}

#[tokio::test]
async fn a_pod_created_in_one_breath_with_its_namespace_waits_for_the_label() {
    let admission = admission(Known::default());
    let worlds = Arc::clone(&admission.worlds);
    let body = review_of(json!({}));
    let labels = BTreeMap::from([("shop".to_owned(), "catalog".to_owned())]);
    let (answer, ()) = tokio::join!(admission.review(&body), async {
        tokio::task::yield_now().await;
        worlds.publish(Known { namespace_labels: labels, ..Known::default() });
    });
    assert!(!patch_of(&answer.unwrap()).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_label_that_never_comes_does_not_hold_a_pod_up() {
    let answer = admission(Known::default()).review(&review_of(json!({}))).await.unwrap();
    assert_eq!(answer["response"], json!({"uid": "7", "allowed": true}));
}

#[tokio::test]
async fn what_is_no_review_is_refused() {
    let admission = admission(Known::default());
    for body in
        ["", "nonsense", "[]", "{}", r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#]
    {
        assert!(admission.review(body.as_bytes()).await.is_err(), "{body}");
    }
}
