//! A sidecar before a Redis, and a Redis of its own for comparison.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::generate::Session;

const PATIENCE: Duration = Duration::from_secs(20);

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

    /// All that each of them answers to the session, from empty memory.
    pub(crate) fn ask(&self, session: &Session) -> (Vec<u8>, Vec<u8>) {
        (talk(&self.ours, session), talk(&self.theirs, session))
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

/// What the documentation says is different before a Redis.
pub(crate) fn is_known(difference: &str) -> bool {
    difference.contains("inside a transaction is not possible in a cache before Redis")
}

/// Whether every connection behind the socket is there: reads, and the ordered one.
fn writes(path: &Path) -> bool {
    let Some(mut stream) = flush(path) else { return false };
    let mut answer = [0; 4];
    let asked = stream.write_all(b"*2\r\n$4\r\nINCR\r\n$1\r\nx\r\n*2\r\n$6\r\nEXISTS\r\n$1\r\nx\r\n");
    asked.is_ok() && stream.read_exact(&mut answer).is_ok() && &answer == b":1\r\n"
}

/// A connection to an emptied server, if it answers.
fn flush(path: &Path) -> Option<UnixStream> {
    let mut stream = UnixStream::connect(path).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(b"*1\r\n$8\r\nFLUSHALL\r\n").ok()?;
    let mut ok = [0; 5];
    stream.read_exact(&mut ok).ok()?;
    (&ok == b"+OK\r\n").then_some(stream)
}

fn talk(path: &Path, session: &Session) -> Vec<u8> {
    let mut stream = flush(path).unwrap();
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
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return answers,
            Err(error) => panic!("no answer from {}: {error}", path.display()),
        }
    }
}
