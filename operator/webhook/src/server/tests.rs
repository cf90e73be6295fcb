//! The door over real TLS-less HTTP semantics: sizes, garbage, methods.

use axum::body::Body;
use axum::http::Request;
use prometheus_client::registry::Registry;
use serde_json::json;
use synapse_desired::inject::Installed;
use tower::ServiceExt;

use super::*;
use crate::metrics::Metrics;
use crate::world::Worlds;

async fn status_of(request: Request<Body>) -> StatusCode {
    let installed = Installed { image: "sidecar:1".into(), pull_policy: None, version: "1".into() };
    let metrics = Metrics::register(&mut Registry::default());
    let admission = Arc::new(Admission::new(Arc::new(Worlds::default()), installed, metrics));
    router(admission).oneshot(request).await.unwrap().status()
}

fn post_of(body: Vec<u8>) -> Request<Body> {
    Request::post(PATH).header("content-type", "application/json").body(Body::from(body)).unwrap()
}

fn review_with_a_filler_of(bytes: usize) -> Vec<u8> {
    let annotations = json!({"synapse.dev/inject": "a", "filler": "x".repeat(bytes)});
    let pod = json!({"kind": "Pod", "metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "a"}]}});
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {"uid": "1", "namespace": "n", "object": pod}});
    serde_json::to_vec(&review).unwrap()
}

#[tokio::test]
async fn a_review_of_three_megabytes_is_accepted() {
    assert_eq!(status_of(post_of(review_with_a_filler_of(3 << 20))).await, StatusCode::OK);
}

#[tokio::test]
async fn a_review_beyond_the_limit_is_refused() {
    assert_eq!(status_of(post_of(review_with_a_filler_of(MAX_REVIEW))).await, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn garbage_is_a_bad_request() {
    assert_eq!(status_of(post_of(b"\xff\x00garbage".to_vec())).await, StatusCode::BAD_REQUEST);
    let get = Request::get(PATH).body(Body::empty()).unwrap();
    assert_eq!(status_of(get).await, StatusCode::METHOD_NOT_ALLOWED);
    let elsewhere = Request::post("/other").body(Body::empty()).unwrap();
    assert_eq!(status_of(elsewhere).await, StatusCode::NOT_FOUND);
}
