//! The two servers, started for the test alone.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use synapse_core::clock::SystemClock;
use synapse_engine::arena_tier::ArenaTier;
use synapse_server::backend::Backend;
use synapse_server::drain::{self, Signal};
use synapse_server::listener::{Limits, Listener};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::compare::{PATIENCE, Pair, emptied};

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
        let backend =
            Arc::new(Backend::memory(SystemClock::start(), ArenaTier::new(256 << 20).expect("memory"), None));
        let limits = Limits { connections: 100, grace: Duration::from_secs(1) };
        let listener = {
            let _inside = runtime.enter();
            Listener::bind(&ours, backend, limits).expect("the socket is free")
        };
        runtime.spawn(listener.run(drain));
        let peers = Self { ours, theirs, redis, _signal: signal, _runtime: runtime, _dir: dir };
        let deadline = Instant::now() + PATIENCE;
        while emptied(&peers.theirs).is_none() {
            assert!(Instant::now() < deadline, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
        peers
    }

    pub(crate) fn pair(&self) -> Pair<'_> {
        Pair { ours: &self.ours, theirs: &self.theirs }
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        let _ = self.redis.kill();
        let _ = self.redis.wait();
    }
}
