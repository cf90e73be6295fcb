//! One sidecar process of a test's own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The binary under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse-sidecar");

/// A running sidecar; killed with the value.
pub(crate) struct Sidecar {
    pub(crate) dir: tempfile::TempDir,
    child: Child,
}

impl Sidecar {
    /// Starts one with these arguments and variables, `{dir}` in them filled in, and waits until it is ready.
    pub(crate) fn start(args: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut sidecar = Self::launch(args, variables);
        let deadline = Instant::now() + Duration::from_secs(10);
        while !sidecar.probe("ready") {
            assert!(sidecar.child.try_wait().unwrap().is_none(), "ended: {}", sidecar.log());
            assert!(Instant::now() < deadline, "not ready: {}", sidecar.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        sidecar
    }

    pub(crate) fn launch(args: &[&str], variables: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let fill = |text: &str| text.replace("{dir}", dir.path().to_str().unwrap());
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let mut command = Command::new(PROGRAM);
        for (name, _) in
            std::env::vars().filter(|(name, _)| name.starts_with("SYNAPSE_") || name.starts_with("OTEL_"))
        {
            command.env_remove(name);
        }
        command.envs(variables.iter().map(|(name, value)| (name.to_string(), fill(value))));
        if !variables.iter().any(|(name, _)| name.starts_with("SYNAPSE_SOCKET")) {
            command.arg("--socket").arg(dir.path().join("s"));
        }
        command.args(args.iter().map(|arg| fill(arg)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Self { child: command.spawn().unwrap(), dir }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    /// What redis-cli prints.
    pub(crate) fn cli(&self, args: &[&str]) -> String {
        let output = Command::new("redis-cli").arg("-s").arg(self.socket()).args(args).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    pub(crate) fn probe(&self, question: &str) -> bool {
        let mut command = Command::new(PROGRAM);
        command.args(["probe", question, "--socket"]).arg(self.socket());
        command.stderr(Stdio::null()).status().unwrap().success()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// Sends a signal, and answers how the process ended and after how long.
    pub(crate) fn signal(&mut self, name: &str) -> (ExitStatus, Duration) {
        let began = Instant::now();
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, began.elapsed());
            }
            assert!(began.elapsed() < Duration::from_secs(15), "does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The names of its threads.
    pub(crate) fn threads(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok()).collect()
    }

    /// How many of its sockets speak TCP.
    pub(crate) fn tcp_sockets(&self) -> usize {
        let process = format!("/proc/{}", self.child.id());
        let tables = ["tcp", "tcp6"].map(|table| std::fs::read_to_string(format!("{process}/net/{table}")));
        let known: Vec<String> = tables
            .iter()
            .flatten()
            .flat_map(|table| table.lines().skip(1))
            .collect::<Vec<_>>()
            .iter()
            .filter_map(|line| line.split_whitespace().nth(9).map(|inode| format!("socket:[{inode}]")))
            .collect();
        let files = std::fs::read_dir(format!("{process}/fd")).unwrap();
        let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        targets.filter(|target| known.iter().any(|socket| target.as_os_str() == socket.as_str())).count()
    }

    /// Bytes of memory that the process has.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        status.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    }

    /// Threads and open files of the process.
    pub(crate) fn footprint(&self) -> (usize, usize) {
        let count =
            |what: &str| std::fs::read_dir(format!("/proc/{}/{what}", self.child.id())).unwrap().count();
        (count("task"), count("fd"))
    }
}

/// The answer to a GET over TCP.
pub(crate) fn http(port: u16, path: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return String::new() };
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
