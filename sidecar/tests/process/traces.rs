//! Traces: the caller's goes on to the collector that the environment names, and without one nothing leaves.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::redis_server::eventually;
use crate::sidecar::Sidecar;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const OTHER: &str = "1bf7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// What a collector was sent: paths, and bodies in protobuf.
type Taken = Mutex<Vec<(String, Vec<u8>)>>;

/// A collector that speaks OTLP/HTTP.
struct Collector {
    port: u16,
    taken: Arc<Taken>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, taken) = (listener.local_addr().unwrap().port(), Arc::default());
        let shared = Arc::clone(&taken);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let taken = Arc::clone(&shared);
                thread::spawn(move || take(stream, &taken));
            }
        });
        Self { port, taken }
    }

    /// Whether a body holds all of these bytes.
    fn has(&self, parts: &[&[u8]]) -> bool {
        let holds = |body: &[u8], part: &[u8]| body.windows(part.len()).any(|window| window == part);
        self.taken.lock().unwrap().iter().any(|(_, body)| parts.iter().all(|part| holds(body, part)))
    }
}

fn take(stream: TcpStream, taken: &Taken) {
    let mut answers = stream.try_clone().unwrap();
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
        let _ = answers.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
}

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

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[tokio::test]
async fn the_callers_trace_goes_on_to_the_collector() {
    let collector = Collector::start();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = format!("http://127.0.0.1:{}", collector.port);
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "50")];
    // The level of the logs does not decide about traces.
    let args = ["--http", &format!("127.0.0.1:{port}"), "--log-level", "error"];
    let mut sidecar = Sidecar::start(&args, &variables);
    let answer = ask(UnixStream::connect(sidecar.socket()).unwrap(), "/cache/secret-key", TRACE);
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let parts =
        [&bytes(TRACE)[..], &bytes(CALLER), b"GET /cache/{key}", b"synapse-sidecar", b"http.response"];
    eventually("the span arrives", async || collector.has(&parts)).await;
    assert!(!collector.has(&[b"secret-key"]), "keys are no business of traces");

    // What was not exported yet is exported at the end.
    let answer = ask(TcpStream::connect(("127.0.0.1", port)).unwrap(), "/readyz", OTHER);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(sidecar.signal("-TERM").0.success());
    assert!(collector.has(&[&bytes(OTHER), &bytes(CALLER)]));
    assert!(collector.taken.lock().unwrap().iter().all(|(path, _)| path == "/v1/traces"));
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
