//! Programs that a test starts: the generator, and servers that end with the value.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The generator.
pub(crate) const LOAD: &str = env!("CARGO_BIN_EXE_synapse-load");

/// What the generator did.
pub(crate) struct Done {
    pub(crate) succeeded: bool,
    pub(crate) printed: String,
    pub(crate) complained: String,
    pub(crate) report: Option<serde_json::Value>,
}

/// Runs the generator for a short while.
pub(crate) fn load(socket: &Path, args: &[&str]) -> Done {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("report");
    let mut command = Command::new(LOAD);
    command.arg("--unix").arg(socket).arg("--json").arg(&json).args(["--warmup", "0", "--seconds", "0.3"]);
    let output = command.args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Done {
        succeeded: output.status.success(),
        printed: text(output.stdout),
        complained: text(output.stderr),
        report: std::fs::read(json).ok().map(|bytes| serde_json::from_slice(&bytes).unwrap()),
    }
}

/// A running server.
pub(crate) struct Server {
    dir: tempfile::TempDir,
    child: Child,
}

// === impl Server ===

impl Server {
    /// Starts a server; `{socket}` and `{dir}` in its arguments are filled in. Waits until it accepts.
    pub(crate) fn start(program: &str, args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        let fill = |arg: &&str| arg.replace("{socket}", &format!("{path}/s")).replace("{dir}", path);
        let mut command = Command::new(program);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SYNAPSE_")) {
            command.env_remove(name);
        }
        command.args(args.iter().map(fill)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
        let mut server = Self { dir, child };
        let deadline = Instant::now() + Duration::from_secs(15);
        while UnixStream::connect(server.socket()).is_err() {
            assert!(server.child.try_wait().unwrap().is_none(), "{program} ended");
            assert!(Instant::now() < deadline, "{program} does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        server
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    pub(crate) fn pid(&self) -> String {
        self.child.id().to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
