//! An export to a real listener: what a collector gets, and for how long one is waited for that gives no answer.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

#[path = "support/collector.rs"]
mod collector;

use std::io::Read;
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry::trace::{Span, TraceId, Tracer};
use synapse_traces::export::Export;
use synapse_traces::variables::ENDPOINT;

use crate::collector::{Collector, bytes};

/// An export to `endpoint` in which one span was made, and the trace of that.
fn working(variable: &str, endpoint: &str) -> (Export, TraceId) {
    let says = |name: &str| (name == variable).then(|| endpoint.to_owned());
    let export = Export::start("synapse-test", says).unwrap().unwrap();
    let mut span = export.tracer().start("work");
    span.end();
    (export, span.span_context().trace_id())
}

#[tokio::test]
async fn what_is_left_is_exported_at_the_end() {
    let collector = Collector::start();
    let (export, trace) = working(ENDPOINT, &collector.endpoint());
    export.close().await;
    assert!(collector.has("/v1/traces", &[&bytes(&trace.to_string()), b"work", b"synapse-test"]));
    let own = format!("{}/elsewhere", collector.endpoint());
    let (export, trace) = working("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &own);
    export.close().await;
    assert!(collector.has("/elsewhere", &[&bytes(&trace.to_string())]));
}

#[tokio::test]
async fn a_collector_that_gives_no_answer_is_not_waited_for() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let begun = Instant::now();
    let (export, _) = working(ENDPOINT, &format!("http://{}", silent.local_addr().unwrap()));
    assert!(begun.elapsed() < Duration::from_secs(2), "who makes spans waits for nobody");
    export.close().await;
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_collector_by_https_is_never_spoken_to_in_clear() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (export, _) = working(ENDPOINT, &format!("HTTPS://{}", listener.local_addr().unwrap()));
    let hearing = thread::spawn(move || {
        let mut first = [0];
        listener.accept().unwrap().0.read_exact(&mut first).unwrap();
        first[0]
    });
    export.close().await;
    assert_eq!(hearing.join().unwrap(), 22, "the first byte of a TLS handshake");
}
