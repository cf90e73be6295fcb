//! Traces: the caller's goes on to the collector that the environment names, and without one nothing leaves.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

use crate::collector::{Collector, bytes};
use crate::redis_server::eventually;
use crate::sidecar::Sidecar;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const OTHER: &str = "1bf7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

fn ask(mut door: impl Read + Write, target: &str, trace: &str) -> String {
    write!(
        door,
        "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\ntraceparent: 00-{trace}-{CALLER}-01\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    door.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test]
async fn the_callers_trace_goes_on_to_the_collector() {
    let collector = Collector::start();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = collector.endpoint();
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "50")];
    // The level of the logs does not decide about traces.
    let args = ["--http", &format!("127.0.0.1:{port}"), "--log-level", "error"];
    let mut sidecar = Sidecar::start(&args, &variables);
    let answer = ask(UnixStream::connect(sidecar.socket()).unwrap(), "/cache/secret-key", TRACE);
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let parts =
        [&bytes(TRACE)[..], &bytes(CALLER), b"GET /cache/{key}", b"synapse-sidecar", b"http.response"];
    eventually("the span arrives", async || collector.has("/v1/traces", &parts)).await;
    assert!(!collector.has("/v1/traces", &[b"secret-key"]), "keys are no business of traces");

    // What was not exported yet is exported at the end.
    let answer = ask(TcpStream::connect(("127.0.0.1", port)).unwrap(), "/readyz", OTHER);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(sidecar.signal("-TERM").0.success());
    assert!(collector.has("/v1/traces", &[&bytes(OTHER), &bytes(CALLER)]));
}

#[test]
fn without_an_endpoint_nothing_connects() {
    let sidecar = Sidecar::start(&[], &[]);
    let answer = ask(UnixStream::connect(sidecar.socket()).unwrap(), "/cache/k", TRACE);
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert_eq!(sidecar.tcp_sockets(), 0);
    assert!(!sidecar.threads().iter().any(|name| name.starts_with("OpenTel")), "{:?}", sidecar.threads());
}

#[test]
fn a_collector_that_cannot_be_meant_or_is_away_costs_nobody_the_cache() {
    let (endpoint, hasty) = ("OTEL_EXPORTER_OTLP_ENDPOINT", ("OTEL_BSP_SCHEDULE_DELAY", "10"));
    for variables in [
        [(endpoint, "http://127.0.0.1:1"), hasty],
        [(endpoint, "http://u:hunter2@127.0.0.1:1"), hasty],
        [(endpoint, "http://u:hunter2@not an address"), hasty],
        [(endpoint, "u:hunter2@collector"), hasty],
        [(endpoint, "http://127.0.0.1:1"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
    ] {
        let mut sidecar = Sidecar::start(&["--log-level", "trace"], &variables);
        ask(UnixStream::connect(sidecar.socket()).unwrap(), "/cache/k", TRACE);
        assert_eq!(sidecar.cli(&["SET", "k", "v"]), "OK");
        let (status, took) = sidecar.signal("-TERM");
        assert!(status.success() && took.as_secs() < 10, "{status} {took:?}");
        assert!(sidecar.log().contains("traces"), "{}", sidecar.log());
        assert!(!sidecar.log().contains("hunter2"), "{}", sidecar.log());
    }
}
