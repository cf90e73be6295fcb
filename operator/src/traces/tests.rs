//! Spans on a real connection: what a collector gets, what the API server is sent, and that silence is silence.

#[path = "../../../sidecar/traces/tests/support/collector.rs"]
mod collector;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use axum::middleware::from_fn;
use prometheus_client::registry::Registry;
use serde_json::json;
use synapse_desired::inject::Installed;
use synapse_webhook::metrics::Metrics;
use synapse_webhook::review::Admission;
use synapse_webhook::server;
use synapse_webhook::world::Worlds;
use tower::{ServiceBuilder, ServiceExt};
use tracing::{Instrument, info_span, subscriber};

use self::collector::{Collector, bytes};
use super::*;
use crate::args::Format;
use crate::telemetry;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// A review of an annotated pod, as an API server that traces sends it.
fn review() -> Request<Body> {
    let pod = json!({"metadata": {"name": "web", "annotations": {"synapse.dev/inject": "catalog"}},
        "spec": {"containers": [{"name": "app", "image": "a"}]}});
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {"uid": "7", "namespace": "shop", "name": "web", "object": pod}});
    Request::post(server::PATH)
        .header("traceparent", format!("00-{TRACE}-{CALLER}-01"))
        .body(Body::from(review.to_string()))
        .unwrap()
}

async fn admit() {
    let installed = Installed { image: "sidecar:1".into(), version: "1".into() };
    let metrics = Metrics::register(&mut Registry::default());
    let admission = Arc::new(Admission::new(Arc::new(Worlds::default()), installed, metrics));
    let door = server::router(admission).layer(from_fn(follow));
    assert!(door.oneshot(review()).await.unwrap().status().is_success());
}

/// Logs and spans as in the process, on this thread.
fn listening(export: Option<&Export>) -> subscriber::DefaultGuard {
    let tracer = export.map(Export::tracer);
    subscriber::set_default(telemetry::subscriber(telemetry::filter("error").unwrap(), Format::Text, tracer))
}

#[tokio::test]
async fn a_review_is_part_of_the_callers_trace() {
    let collector = Collector::start();
    let export = export(Some(&collector.endpoint()), |_| None).unwrap().unwrap();
    {
        let _listening = listening(Some(&export));
        admit().await;
    }
    export.close().await;
    let (trace, caller) = (bytes(TRACE), bytes(CALLER));
    assert!(collector.has("/v1/traces", &[&trace, &caller, b"POST /inject", b"synapse-operator"]));
    assert!(
        collector.has("/v1/traces", &[&trace, b"review", b"shop", b"Injected"]),
        "what was done is a part of it"
    );
}

#[tokio::test]
async fn the_flag_is_the_general_endpoint_and_the_other_variables_apply() {
    let says = |name: &'static str, value: &'static str| {
        move |asked: &str| (asked == name).then(|| value.to_owned())
    };
    assert!(export(None, says(ENDPOINT, "http://127.0.0.1:1")).unwrap().is_none(), "the flag has read it");
    let collector = Some("http://127.0.0.1:1");
    assert!(export(collector, says("OTEL_TRACES_EXPORTER", "none")).unwrap().is_none());
    let refusal = export(collector, says("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")).err().unwrap();
    assert!(refusal.to_string().contains("http/protobuf"), "{refusal}");
}

#[tokio::test]
async fn without_an_export_there_are_no_spans() {
    let _listening = listening(None);
    admit().await;
    assert!(info_span!("anything").is_disabled());
    assert_eq!(sent_by_a_call().await.get("traceparent"), None);
}

/// The headers of one call to the API server.
async fn sent_by_a_call() -> HeaderMap {
    let call = ServiceBuilder::new().layer(Propagate).service_fn(|request: Request<()>| async move {
        Ok::<_, std::convert::Infallible>(axum::http::Response::new(request.headers().clone()))
    });
    call.oneshot(Request::get("/api/v1/pods").body(()).unwrap()).await.unwrap().into_body()
}

#[tokio::test]
async fn a_call_carries_the_trace_that_it_is_part_of_and_begins_none() {
    let collector = Collector::start();
    let export = export(Some(&collector.endpoint()), |_| None).unwrap().unwrap();
    let carried = {
        let _listening = listening(Some(&export));
        assert_eq!(sent_by_a_call().await.get("traceparent"), None, "nobody asked for it");
        let carried = sent_by_a_call().instrument(info_span!("reconcile")).await;
        carried["traceparent"].to_str().unwrap().to_owned()
    };
    export.close().await;
    let parts: Vec<&str> = carried.split('-').collect();
    assert_eq!((parts[0], parts[3], parts.len()), ("00", "01", 4), "{carried}");
    assert!(
        collector.has("/v1/traces", &[&bytes(parts[1]), &bytes(parts[2]), b"/api/v1/pods", b"reconcile"])
    );
}
