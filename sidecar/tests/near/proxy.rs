//! A proxy between a sidecar and Redis that holds back, on each connection on its own, what either side says.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

/// The proxy; it ends with the value.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    gates: Arc<Gates>,
    acceptor: JoinHandle<()>,
}

/// Which way, of which kind of connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Gate {
    /// From the sidecar, on the tracking connection.
    OrderedRequests,
    /// To the sidecar, on the tracking connection: answers and announcements.
    OrderedAnswers,
    /// From the sidecar, on the others.
    ReadRequests,
    /// To the sidecar, on the others.
    ReadAnswers,
}

struct Gates {
    open: watch::Sender<[bool; 4]>,
    pumps: std::sync::Mutex<Vec<AbortHandle>>,
}

impl Proxy {
    pub(crate) async fn start(redis_port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let gates = Arc::new(Gates { open: watch::Sender::new([true; 4]), pumps: Default::default() });
        let shared = Arc::clone(&gates);
        let acceptor = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let Ok(server) = TcpStream::connect(("127.0.0.1", redis_port)).await else { continue };
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let pump = tokio::spawn(pump(client, server, Arc::clone(&shared)));
                shared.pumps.lock().unwrap().push(pump.abort_handle());
            }
        });
        Self { port, gates, acceptor }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn close(&self, gate: Gate) {
        self.gates.open.send_modify(|open| open[gate as usize] = false);
    }

    pub(crate) fn open(&self, gate: Gate) {
        self.gates.open.send_modify(|open| open[gate as usize] = true);
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        self.gates.pumps.lock().unwrap().drain(..).for_each(|pump| pump.abort());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
        self.cut();
    }
}

async fn pump(client: TcpStream, server: TcpStream, gates: Arc<Gates>) {
    let ordered = watch::Sender::new(false);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = carry(from_client, to_server, &gates, &ordered, Gate::ReadRequests, Gate::OrderedRequests) => {}
        () = carry(from_server, to_client, &gates, &ordered, Gate::ReadAnswers, Gate::OrderedAnswers) => {}
    }
}

/// A connection is the ordered one from the moment at which it asks for tracking.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    gates: &Gates,
    ordered: &watch::Sender<bool>,
    read: Gate,
    tracking: Gate,
) {
    let mut buffer = vec![0; 1 << 16];
    let mut open = gates.open.subscribe();
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
        if buffer[..count].windows(8).any(|window| window == b"TRACKING") {
            ordered.send_replace(true);
        }
        let gate = if *ordered.borrow() { tracking } else { read };
        let _ = open.wait_for(|open| open[gate as usize]).await;
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
