//! A redis-server of the test's own, on a Unix socket in a temporary directory; it ends with the test.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running redis-server.
pub(crate) struct RedisServer {
    directory: TempDir,
    child: Child,
}

impl RedisServer {
    /// Starts one and waits until it answers.
    pub(crate) fn start() -> Self {
        Self::start_with(&[]).unwrap()
    }

    /// Starts one with more arguments; nothing if it does not like them.
    pub(crate) fn start_with(arguments: &[&str]) -> Option<Self> {
        let directory = TempDir::new().unwrap();
        let mut child = spawn(&directory, arguments);
        child.try_wait().unwrap().is_none().then_some(Self { directory, child })
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, empty, in the same place.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.directory, &[]);
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("unix://{}", socket(&self.directory).display())
    }

    /// What redis-cli prints for these arguments.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .arg("-s")
            .arg(socket(&self.directory))
            .args(arguments)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Adds entries and answers with their ids, in order.
    pub(crate) fn add(&self, stream: &str, count: usize) -> Vec<String> {
        let mut cli = Command::new("redis-cli")
            .arg("-s")
            .arg(socket(&self.directory))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = format!("XADD {stream} * k v\n").repeat(count);
        cli.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let output = cli.wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn socket(directory: &TempDir) -> PathBuf {
    directory.path().join("redis.sock")
}

/// Returns once it answers or has ended.
fn spawn(directory: &TempDir, more: &[&str]) -> Child {
    let _ = std::fs::remove_file(socket(directory));
    let mut child = Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--appendonly", "no", "--enable-debug-command", "yes"])
        .arg("--unixsocket")
        .arg(socket(directory))
        .arg("--dir")
        .arg(directory.path())
        .args(more)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while child.try_wait().unwrap().is_none() && UnixStream::connect(socket(directory)).is_err() {
        assert!(Instant::now() < deadline, "redis-server does not answer");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}
