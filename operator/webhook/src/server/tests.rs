//! The door over real TLS-less HTTP semantics: sizes, garbage, methods.

use axum::body::Body;
use axum::http::Request;
use prometheus_client::registry::Registry;
use serde_json::json;
use synapse_desired::inject::Installed;
use tower::ServiceExt;

use super::*;
use crate::metrics::Metrics;
use crate::weight::Room;
use crate::world::Worlds;

fn routes() -> Router {
    routes_within(Room::default())
}

fn routes_within(room: Room) -> Router {
    let installed = Installed { image: "sidecar:1".into(), pull_policy: None, version: "1".into() };
    let metrics = Metrics::register(&mut Registry::default());
    let admission = Admission::new(Arc::new(Worlds::default()), installed, metrics).within(room);
    router(Arc::new(admission))
}

async fn status_of(request: Request<Body>) -> StatusCode {
    routes().oneshot(request).await.unwrap().status()
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

#[tokio::test]
async fn what_would_take_the_operators_memory_is_refused_before_it_is_parsed() {
    for part in ["0,", "[0],", "{},", r#"{"a":0},"#] {
        let mut body = br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","x":["#.to_vec();
        body.extend(part.as_bytes().repeat(((3 << 20) - body.len()) / part.len()));
        body.extend(b"0]}");
        assert_eq!(status_of(post_of(body)).await, StatusCode::PAYLOAD_TOO_LARGE, "{part}");
    }
}

#[tokio::test]
async fn text_is_no_structure_however_many_commas_it_has() {
    let review = String::from_utf8(review_with_a_filler_of(3 << 20)).unwrap();
    let review = review.replace("xxxxxxxx", r#"1,{[:\"2,"#).into_bytes();
    assert_eq!(status_of(post_of(review)).await, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn bodies_that_never_come_give_their_room_back() {
    let routes = routes();
    let late = |_| {
        let body = Body::from_stream(futures::stream::pending::<Result<&str, std::io::Error>>());
        routes.clone().oneshot(Request::post(PATH).body(body).unwrap())
    };
    let late: futures::stream::FuturesUnordered<_> = (0..4).map(late).collect();
    let (codes, honest) = tokio::join!(
        late.map(|answer| answer.unwrap().status()).collect::<Vec<_>>(),
        // All the room is taken by then; it is free again before the API server gives up.
        async { routes.clone().oneshot(post_of(review_with_a_filler_of(8))).await.unwrap().status() },
    );
    assert!(codes.iter().all(|code| *code == StatusCode::REQUEST_TIMEOUT), "{codes:?}");
    assert_eq!(honest, StatusCode::OK);
}

mod over_tls;
