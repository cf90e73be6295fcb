//! A real redis-server of a test's own: a free port, a temporary directory, gone with the value.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running server.
pub(crate) struct RedisServer {
    pub(crate) port: u16,
    dir: tempfile::TempDir,
    args: Vec<String>,
    child: Child,
}

impl RedisServer {
    /// A server with these further arguments; `{port}` and `{dir}` in them are filled in.
    pub(crate) fn start(args: &[&str]) -> Self {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        for _ in 0..20 {
            let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
            let dir = tempfile::tempdir().unwrap();
            let child = spawn(port, dir.path(), &args);
            let mut server = Self { port, dir, args: args.clone(), child };
            if server.comes_up() {
                return server;
            }
        }
        panic!("no redis-server could be started");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// What redis-cli prints, over the server's own socket.
    pub(crate) fn cli(&self, args: &[&str]) -> String {
        let socket = self.dir.path().join("s");
        let output = Command::new("redis-cli").arg("-s").arg(socket).args(args).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// How often Redis executed `command`.
    pub(crate) fn calls(&self, command: &str) -> u64 {
        let stats = self.cli(&["INFO", "commandstats"]);
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
    }

    /// Stops the process without ending it.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The same server again, empty, on the same port.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            self.child = spawn(self.port, self.dir.path(), &self.args);
            if self.comes_up() {
                return;
            }
        }
        panic!("redis-server did not come back");
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    fn comes_up(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline && self.child.try_wait().unwrap().is_none() {
            if self.dir.path().join("s").exists() && !self.cli(&["PING"]).is_empty() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        false
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(port: u16, dir: &Path, args: &[String]) -> Child {
    let fill =
        |arg: &String| arg.replace("{dir}", &dir.display().to_string()).replace("{port}", &port.to_string());
    let has_port = args.iter().any(|arg| arg == "--port");
    let mut command = Command::new("redis-server");
    command.args(["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--unixsocket"]);
    command.arg(dir.join("s")).arg("--dir").arg(dir);
    if !has_port {
        command.args(["--port", &port.to_string()]);
    }
    command.args(args.iter().map(fill)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("redis-server is installed")
}

/// Polls `condition` until it holds; panics after ten seconds.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
