//! A sidecar before a Redis, and a Redis of its own for comparison.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::compare::{PATIENCE, Pair, emptied};

/// The two that are asked.
pub(crate) struct Peers {
    ours: PathBuf,
    theirs: PathBuf,
    children: Vec<Child>,
    _dir: tempfile::TempDir,
}

impl Peers {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        let redis = |socket: &Path| {
            let mut command = Command::new("redis-server");
            command.args(["--port", "0", "--save", "", "--appendonly", "no", "--databases", "1"]);
            command.args([Path::new("--unixsocket"), socket, Path::new("--dir"), dir.path()]);
            command.stdout(Stdio::null()).spawn().unwrap()
        };
        let (behind, ours, theirs, file) = (place("behind"), place("ours"), place("theirs"), place("c.yaml"));
        let text = format!(
            "redis: {{url: 'unix://{}', keyPrefix: 'd:', flush: Allowed, commandTimeout: 10s}}",
            behind.display()
        );
        std::fs::write(&file, text).unwrap();
        let mut children = vec![redis(&behind), redis(&theirs)];
        let mut sidecar = Command::new(env!("CARGO_BIN_EXE_synapse-sidecar"));
        sidecar.arg("--config").arg(&file).arg("--socket").arg(&ours).stderr(Stdio::null());
        children.push(sidecar.spawn().unwrap());
        let peers = Self { ours, theirs, children, _dir: dir };
        let deadline = Instant::now() + PATIENCE;
        while !writes(&peers.ours) || !writes(&peers.theirs) {
            assert!(Instant::now() < deadline, "one of the two does not answer");
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
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether every connection behind the socket is there: reads, and the ordered one.
fn writes(path: &Path) -> bool {
    let Some(mut stream) = emptied(path) else { return false };
    let mut answer = [0; 4];
    let asked = stream.write_all(b"*2\r\n$4\r\nINCR\r\n$1\r\nx\r\n*2\r\n$6\r\nEXISTS\r\n$1\r\nx\r\n");
    asked.is_ok() && stream.read_exact(&mut answer).is_ok() && &answer == b":1\r\n"
}
