//! A sidecar with a warm file, that ends and starts again at its path, and a client that asks much at once.

use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::resp::{command, hear};

/// Where its process runs, if it does; killed with the value.
pub(crate) struct Sidecar {
    pub(crate) dir: tempfile::TempDir,
    /// The file, `{dir}/warm` unless a test says another.
    pub(crate) file: PathBuf,
    child: Option<Child>,
}

/// A connection that speaks RESP.
pub(crate) struct Client(BufReader<Stream>);

type Stream = Box<dyn ReadWrite>;

/// What a connection is, of whatever kind.
trait ReadWrite: Read + Write + Send {}

impl<S: Read + Write + Send> ReadWrite for S {}

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse-sidecar");

/// Commands under way at a time.
const AT_ONCE: usize = 500;

// === impl Sidecar ===

impl Sidecar {
    /// One that does not run yet.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { file: dir.path().join("warm"), dir, child: None }
    }

    /// Starts a process and waits until it answers.
    pub(crate) fn start(&mut self, args: &[&str]) -> Client {
        self.launch(Command::new(PROGRAM), args)
    }

    /// As [`Sidecar::start`], a process that can write no file of more than 64 KiB.
    pub(crate) fn start_on_a_full_disk(&mut self, args: &[&str]) -> Client {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; ulimit -f 128; exec \"$0\" \"$@\"", PROGRAM]);
        self.launch(command, args)
    }

    fn launch(&mut self, mut command: Command, args: &[&str]) -> Client {
        assert!(self.child.is_none());
        let log = fs::File::create(self.dir.path().join("log")).unwrap();
        let ours = |name: &str| name.starts_with("SYNAPSE_") || name.starts_with("OTEL_");
        for (name, _) in std::env::vars().filter(|(name, _)| ours(name)) {
            command.env_remove(name);
        }
        command.arg("--socket").arg(self.socket()).arg("--warm-file").arg(&self.file).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Ok(mut client) = Client::unix(&self.socket()) {
                assert_eq!(client.ask(&[&["PING"]]), ["PONG"]);
                return client;
            }
            assert!(self.child.as_mut().unwrap().try_wait().unwrap().is_none(), "ended: {}", self.log());
            assert!(Instant::now() < deadline, "not ready: {}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    /// Asks it to end and waits until it has; answers how long that took.
    pub(crate) fn end(&mut self) -> Duration {
        let began = Instant::now();
        self.terminate();
        let mut child = self.child.take().unwrap();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success(), "{}", self.log());
                return began.elapsed();
            }
            assert!(began.elapsed() < Duration::from_secs(25), "does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// Lines of the log of this process that warn of something.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let log = self.log();
        let warns = |line: &&str| line.contains("\"WARN\"") || line.contains("\"ERROR\"");
        log.lines().filter(warns).map(str::to_owned).collect()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

// === impl Client ===

impl Client {
    /// One of a sidecar, if there is one.
    pub(crate) fn unix(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self(BufReader::new(Box::new(stream))))
    }

    /// One of a Redis.
    pub(crate) fn tcp(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self(BufReader::new(Box::new(stream)))
    }

    /// The answers to these commands, as [`hear`] has them.
    pub(crate) fn ask<C: AsRef<[A]>, A: AsRef<[u8]>>(&mut self, commands: &[C]) -> Vec<String> {
        let mut answers = Vec::with_capacity(commands.len());
        for batch in commands.chunks(AT_ONCE) {
            let said: Vec<_> = batch.iter().map(|args| command(args.as_ref())).collect();
            self.0.get_mut().write_all(&said.concat()).unwrap();
            answers.extend((0..batch.len()).map(|_| hear(&mut self.0)));
        }
        answers
    }

    /// The answer to one command.
    pub(crate) fn one(&mut self, args: &[&str]) -> String {
        self.ask(&[args]).remove(0)
    }
}
