//! Spans on a real connection: what a collector gets, what the API server is sent, and that silence is silence.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

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

use super::*;
use crate::args::Format;
use crate::telemetry;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// Paths and bodies.
type Taken = Mutex<Vec<(String, Vec<u8>)>>;

/// A collector that takes what comes.
#[derive(Default)]
struct Collector {
    port: u16,
    connections: Arc<AtomicUsize>,
    taken: Arc<Taken>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let collector = Self { port: listener.local_addr().unwrap().port(), ..Self::default() };
        let (connections, taken) = (Arc::clone(&collector.connections), Arc::clone(&collector.taken));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::Relaxed);
                let taken = Arc::clone(&taken);
                std::thread::spawn(move || take(&stream, &taken));
            }
        });
        collector
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// The one body that holds all of these.
    fn has(&self, parts: &[&[u8]]) -> bool {
        let holds = |body: &[u8], part: &[u8]| body.windows(part.len()).any(|window| window == part);
        let taken = self.taken.lock().unwrap();
        taken.iter().any(|(path, body)| path == "/v1/traces" && parts.iter().all(|part| holds(body, part)))
    }
}

fn take(stream: &TcpStream, taken: &Taken) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut line, mut path, mut length) = (String::new(), String::new(), 0);
        while reader.read_line(&mut line).unwrap_or(0) > 2 {
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            } else if line.starts_with("POST ") {
                path = line.split(' ').nth(1).unwrap().to_owned();
            }
            line.clear();
        }
        let mut body = vec![0; length];
        if path.is_empty() || reader.read_exact(&mut body).is_err() {
            return;
        }
        taken.lock().unwrap().push((path, body));
        let mut answers = stream;
        let _ = answers.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

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
    let installed = Installed { image: "sidecar:1".into(), pull_policy: None, version: "1".into() };
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
    let export = Export::start(Some(&collector.endpoint()), |_| None).unwrap().unwrap();
    {
        let _listening = listening(Some(&export));
        admit().await;
    }
    export.close().await;
    let (trace, caller) = (bytes(TRACE), bytes(CALLER));
    assert!(collector.has(&[&trace, &caller, b"POST /inject", b"synapse-operator"]));
    assert!(collector.has(&[&trace, b"review", b"shop", b"Injected"]), "what was done is a part of it");
}

#[tokio::test]
async fn without_an_endpoint_there_are_no_spans_and_no_connection() {
    let collector = Collector::start();
    let off = |name: &str| (name == "OTEL_TRACES_EXPORTER").then(|| "none".to_owned());
    for export in [
        Export::start(None, |_| None),
        Export::start(Some(" "), |_| None),
        Export::start(Some(&collector.endpoint()), off),
    ] {
        assert!(export.unwrap().is_none());
    }
    {
        let _listening = listening(None);
        admit().await;
        assert!(info_span!("anything").is_disabled());
        assert_eq!(sent_by_a_call().await.get("traceparent"), None);
    }
    assert_eq!(collector.connections.load(Ordering::Relaxed), 0);
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
    let export = Export::start(Some(&collector.endpoint()), |_| None).unwrap().unwrap();
    let carried = {
        let _listening = listening(Some(&export));
        assert_eq!(sent_by_a_call().await.get("traceparent"), None, "nobody asked for it");
        let carried = sent_by_a_call().instrument(info_span!("reconcile")).await;
        carried["traceparent"].to_str().unwrap().to_owned()
    };
    export.close().await;
    let parts: Vec<&str> = carried.split('-').collect();
    assert_eq!((parts[0], parts[3], parts.len()), ("00", "01", 4), "{carried}");
    assert!(collector.has(&[&bytes(parts[1]), &bytes(parts[2]), b"/api/v1/pods", b"reconcile"]));
}

#[tokio::test]
async fn a_collector_that_is_away_holds_nothing_up() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let export = Export::start(Some(&format!("http://{nobody}")), |_| None).unwrap().unwrap();
    let begun = Instant::now();
    {
        let _listening = listening(Some(&export));
        admit().await;
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
    export.close().await;
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn another_protocol_is_refused_and_the_endpoint_of_traces_is_taken_as_it_is() {
    let grpc = |name: &str| (name == "OTEL_EXPORTER_OTLP_PROTOCOL").then(|| "grpc".to_owned());
    let error = Export::start(Some("http://127.0.0.1:4317"), grpc).err().unwrap();
    assert!(error.to_string().contains("http/protobuf"), "{error}");
    let collector = Collector::start();
    let own = format!("http://127.0.0.1:{}/elsewhere", collector.port);
    let says = |name: &str| (name == "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").then(|| own.clone());
    let export = Export::start(None, says).unwrap().unwrap();
    {
        let _listening = listening(Some(&export));
        drop(info_span!("one"));
    }
    export.close().await;
    assert_eq!(collector.taken.lock().unwrap()[0].0, "/elsewhere");
}
