//! The admin door over TCP: `/livez`, `/readyz`, `/metrics`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use synapse_protocol::http::head::{HttpError, Method};
use synapse_protocol::http::request::{Decoder, Request, Step};
use synapse_protocol::http::response::Response;
use synapse_protocol::http::target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{Span, warn};

use crate::backend::Backend;
use crate::drain::Drain;
use crate::metrics::{self, Metrics};
use crate::trace;

/// Most connections at a time: probes and scrapers are few.
const MAX_CONNECTIONS: usize = 64;

/// How long a connection may take for one request, or to read its answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait when no connection can be accepted, for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const TEXT: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A bound admin door.
#[derive(Debug)]
pub struct Admin {
    socket: TcpListener,
    served: Arc<Served>,
}

#[derive(Debug)]
struct Served {
    backend: Arc<Backend>,
    registry: Registry,
}

impl Admin {
    /// Listens on a TCP address.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn bind(address: SocketAddr, backend: Arc<Backend>, metrics: Arc<Metrics>) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let registry = metrics::registry(&metrics, &backend);
        Ok(Self { socket, served: Arc::new(Served { backend, registry }) })
    }

    /// The address it listens on, its port chosen by the system if the wanted one was 0.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers for as long as it is polled. While the drain asks for the end it goes on, and says that this server is
    /// not ready: the caller ends it last, by dropping it.
    pub async fn run(self, drain: Drain) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Some(_) = connections.join_next() => {}
                accepted = self.socket.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        let talk = talk(stream, Arc::clone(&self.served), drain.clone());
                        connections.spawn(talk);
                    }
                    Err(error) => {
                        warn!(%error, "cannot accept an admin connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }
}

/// Serves one connection; one that breaks, or is slow, just ends.
async fn talk(mut stream: TcpStream, served: Arc<Served>, drain: Drain) {
    let (mut decoder, mut input, mut out) = (Decoder::without_bodies(), BytesMut::new(), BytesMut::new());
    let mut until = Instant::now() + PATIENCE;
    loop {
        let goes_on = match decoder.decode(&mut input) {
            Ok(Step::Incomplete) => {
                if !matches!(timeout_at(until, stream.read_buf(&mut input)).await, Ok(Ok(1..))) {
                    return;
                }
                continue;
            }
            Ok(Step::Continue) => continue,
            Ok(Step::Request(request)) => {
                // Probes and scrapers come all day: they make a span only of a trace that they bring.
                let span = request.head.trace.as_ref().map(|_| trace::request(&request.head, "/admin"));
                span.unwrap_or_else(Span::none).in_scope(|| served.answer(&request, &drain, &mut out));
                request.head.keep_alive
            }
            Err(error) => {
                refuse(error, &mut out);
                false
            }
        };
        let written = timeout(PATIENCE, stream.write_all_buf(&mut out)).await;
        if !goes_on || !matches!(written, Ok(Ok(()))) {
            return;
        }
        until = Instant::now() + PATIENCE;
    }
}

impl Served {
    fn answer(&self, request: &Request, drain: &Drain, out: &mut BytesMut) {
        let (path, query) = target::split(&request.head.target);
        let (status, kind, body) = match (request.head.method, path) {
            (Method::Get | Method::Head, "/livez") => (200, TEXT, "ok\n".to_owned()),
            (Method::Get | Method::Head, "/readyz") => {
                let verbose = target::parameters(query, "verbose").next().is_some();
                self.readiness(drain.is_draining(), verbose)
            }
            (Method::Get | Method::Head, "/metrics") => self.metrics(),
            (Method::Get | Method::Head, _) => {
                (404, TEXT, "/livez, /readyz and /metrics are here\n".to_owned())
            }
            _ => (405, TEXT, "only GET and HEAD work here\n".to_owned()),
        };
        let head_only = request.head.method == Method::Head;
        let keep_alive = request.head.keep_alive;
        let headers = &[("Content-Type", kind)];
        trace::answered(status);
        Response { status, headers, body: body.as_bytes(), head_only, keep_alive }.write(out);
    }

    /// A Redis that is away does not make the pod unready: its socket answers. `?verbose` says it.
    fn readiness(&self, draining: bool, verbose: bool) -> (u16, &'static str, String) {
        let (status, word) = if draining { (503, "draining") } else { (200, "ok") };
        let mut body = format!("{word}\n");
        if verbose {
            body += &match (self.backend.figures().near, self.backend.health()) {
                (None, _) => "redis: none, memory is all there is\n".to_owned(),
                (Some(_), Ok(())) => "redis: ok\n".to_owned(),
                (Some(_), Err(why)) => format!("redis: {why}\n"),
            };
        }
        (status, TEXT, body)
    }

    fn metrics(&self) -> (u16, &'static str, String) {
        let mut body = String::new();
        match text::encode(&mut body, &self.registry) {
            Ok(()) => (200, OPEN_METRICS, body),
            Err(error) => (500, TEXT, format!("the metrics cannot be written: {error}\n")),
        }
    }
}

fn refuse(error: HttpError, out: &mut BytesMut) {
    let (body, headers) = (format!("{error}\n"), &[("Content-Type", TEXT)]);
    let status = error.status();
    Response { status, headers, body: body.as_bytes(), head_only: false, keep_alive: false }.write(out);
}
