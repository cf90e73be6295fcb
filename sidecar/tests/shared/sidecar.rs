//! A sidecar at a path of the test's own that may end and start again there, and a client that asks it.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use synapse_client::shared::SharedReader;

use crate::resp::{command, hear};

/// A configuration that shares reads.
pub(crate) const SHARED: &str = "memory: {capacity: 8Mi, sharedReads: Enabled}\n";

/// A sidecar; killed with the value.
pub(crate) struct Sidecar {
    pub(crate) dir: tempfile::TempDir,
    port: u16,
    child: Child,
}

/// A connection that speaks RESP: one command, one answer.
pub(crate) struct Client(BufReader<UnixStream>);

/// Polls `condition` until it holds; panics after ten seconds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

// === impl Sidecar ===

impl Sidecar {
    /// Starts one with this configuration and waits until it answers.
    pub(crate) fn start(configuration: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Readers may be other users.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        fs::write(dir.path().join("sidecar.yaml"), configuration).unwrap();
        let child = launch(&dir, port);
        let mut sidecar = Self { dir, port, child };
        sidecar.wait();
        sidecar
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    pub(crate) fn client(&self) -> Client {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Client(BufReader::new(stream))
    }

    /// A reader that has the memory.
    pub(crate) fn reader(&self) -> SharedReader {
        let reader = SharedReader::connect(self.socket()).unwrap();
        assert!(reader.is_shared(), "{:?}", reader.why_not());
        reader
    }

    /// Puts another configuration in the place of the one before, in one step.
    pub(crate) fn configure(&self, configuration: &str) {
        let next = self.dir.path().join("next.yaml");
        fs::write(&next, configuration).unwrap();
        fs::rename(next, self.dir.path().join("sidecar.yaml")).unwrap();
    }

    /// Ends it with SIGKILL, and returns when the kernel has taken everything back.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, and answers how and after how long it did.
    pub(crate) fn terminate(&mut self) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        self.signal("-TERM");
        eventually("it ends", || self.child.try_wait().unwrap().is_some());
        (self.child.wait().unwrap(), begun.elapsed())
    }

    pub(crate) fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Starts it again, at the same path, and waits until it answers.
    pub(crate) fn start_again(&mut self) {
        self.child = launch(&self.dir, self.port);
        self.wait();
    }

    /// The sum of its counters whose lines begin with `name` and have all of `labels`.
    pub(crate) fn counted(&self, name: &str, labels: &[&str]) -> u64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        assert!(page.starts_with("HTTP/1.1 200"), "{page}");
        let lines = page.lines().filter(|line| line.starts_with(name));
        let lines = lines.filter(|line| labels.iter().all(|label| line.contains(label)));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
    }

    /// Commands that it was asked.
    pub(crate) fn requests(&self) -> u64 {
        self.counted("synapse_requests_total", &[])
    }

    /// Files that it has open.
    pub(crate) fn files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    fn wait(&mut self) {
        eventually("it answers", || {
            assert!(self.child.try_wait().unwrap().is_none(), "ended: {}", self.log());
            UnixStream::connect(self.socket()).is_ok() && self.client().ask(&["PING"]) == "PONG"
        });
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(dir: &tempfile::TempDir, port: u16) -> Child {
    let log = fs::File::options().create(true).append(true).open(dir.path().join("log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_synapse-sidecar"));
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("SYNAPSE_") || name.starts_with("OTEL_"))
    {
        command.env_remove(name);
    }
    command.arg("--socket").arg(dir.path().join("s")).arg("--config").arg(dir.path().join("sidecar.yaml"));
    command.args(["--http", &format!("127.0.0.1:{port}")]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

// === impl Client ===

impl Client {
    /// The answer to a command, as [`hear`] has it.
    pub(crate) fn ask<A: AsRef<[u8]>>(&mut self, args: &[A]) -> String {
        self.say(args);
        self.hear()
    }

    /// Says a command without waiting for its answer.
    pub(crate) fn say<A: AsRef<[u8]>>(&mut self, args: &[A]) {
        self.0.get_mut().write_all(&command(args)).unwrap();
    }

    /// The next answer.
    pub(crate) fn hear(&mut self) -> String {
        hear(&mut self.0)
    }
}
