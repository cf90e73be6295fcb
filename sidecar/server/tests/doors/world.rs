//! A server of its own for each test, and a client that reads and writes bytes.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use synapse_core::clock::SystemClock;
use synapse_engine::arena_tier::ArenaTier;
use synapse_server::admin::Admin;
use synapse_server::backend::Backend;
use synapse_server::drain::{self, Signal};
use synapse_server::listener::{Limits, Listener};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// Longer than anything here should take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const LIMITS: Limits = Limits { connections: 50, grace: Duration::from_secs(10) };

/// A running server.
pub(crate) struct World {
    pub(crate) path: PathBuf,
    pub(crate) admin: SocketAddr,
    pub(crate) signal: Signal,
    pub(crate) serving: JoinHandle<()>,
    pub(crate) runtime: Runtime,
    _dir: TempDir,
}

impl World {
    pub(crate) fn start() -> Self {
        Self::with(LIMITS, 64 << 20)
    }

    pub(crate) fn with(limits: Limits, capacity: u64) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let runtime = Runtime::new().expect("a runtime");
        let (signal, drain) = drain::channel();
        let backend =
            Arc::new(Backend::memory(SystemClock::start(), ArenaTier::new(capacity).expect("memory"), None));
        let (listener, admin) = runtime.block_on(async {
            let listener = Listener::bind(&path, Arc::clone(&backend), limits).expect("the socket is free");
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let admin = Admin::bind(any, backend, listener.metrics()).await.expect("a port is free");
            (listener, admin)
        });
        let address = admin.address().expect("it is bound");
        runtime.spawn(admin.run(drain.clone()));
        let serving = runtime.spawn(listener.run(drain));
        Self { path, admin: address, signal, serving, runtime, _dir: dir }
    }

    pub(crate) fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).expect("it accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// Says something on a new connection and returns all that is answered until the server closes.
    pub(crate) fn ask(&self, said: &[u8]) -> String {
        let mut stream = self.connect();
        // A server that has had enough closes: what it answered before still counts.
        let _ = stream.write_all(said);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        rest(&mut stream)
    }
}

/// All that still comes.
pub(crate) fn rest(stream: &mut impl Read) -> String {
    let mut answers = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return String::from_utf8_lossy(&answers).into_owned(),
            Ok(count) => answers.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                return String::from_utf8_lossy(&answers).into_owned();
            }
            Err(error) => panic!("no answer: {error}"),
        }
    }
}

/// Reads exactly what is expected.
pub(crate) fn expect(stream: &mut impl Read, expected: &str) {
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(String::from_utf8_lossy(&answer), expected);
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
