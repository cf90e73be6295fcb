//! The two servers, started for the test alone.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use synapse_core::clock::SystemClock;
use synapse_server::backend::Backend;
use synapse_server::drain::{self, Signal};
use synapse_server::listener::{Limits, Listener};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::generate::Session;

const PATIENCE: Duration = Duration::from_secs(20);

/// This server and a redis-server.
pub(crate) struct Peers {
    ours: PathBuf,
    theirs: PathBuf,
    redis: Child,
    _signal: Signal,
    _runtime: Runtime,
    _dir: TempDir,
}

impl Peers {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
        let redis = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--databases", "1"])
            .args([Path::new("--unixsocket"), &theirs, Path::new("--dir"), dir.path()])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        let runtime = Runtime::new().expect("a runtime");
        let (signal, drain) = drain::channel();
        let backend = Arc::new(Backend::memory(SystemClock::start(), 256 << 20));
        let limits = Limits { connections: 100, grace: Duration::from_secs(1) };
        let listener = {
            let _inside = runtime.enter();
            Listener::bind(&ours, backend, limits).expect("the socket is free")
        };
        runtime.spawn(listener.run(drain));
        let peers = Self { ours, theirs, redis, _signal: signal, _runtime: runtime, _dir: dir };
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(&peers.theirs).is_err() {
            assert!(Instant::now() < deadline, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
        peers
    }

    /// All that each of them answers to the session, from empty memory.
    pub(crate) fn ask(&self, session: &Session) -> (Vec<u8>, Vec<u8>) {
        (talk(&self.ours, session), talk(&self.theirs, session))
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        let _ = self.redis.kill();
        let _ = self.redis.wait();
    }
}

fn talk(path: &Path, session: &Session) -> Vec<u8> {
    let mut stream = UnixStream::connect(path).expect("it accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(b"*1\r\n$8\r\nFLUSHALL\r\n").expect("it reads");
    let mut ok = [0; 5];
    stream.read_exact(&mut ok).expect("it answers");
    for piece in session.pieces() {
        // A server that has had enough closes: what it answered before still counts.
        if stream.write_all(piece).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
    let mut answers = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return answers,
            Ok(count) => answers.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return answers,
            Err(error) => panic!("no answer from {}: {error}", path.display()),
        }
    }
}
