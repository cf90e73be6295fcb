//! Several readers at once: threads, processes, and users.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, thread};

use synapse_client::shared::SharedReader;

use crate::freshness::read;
use crate::sidecar::{SHARED, Sidecar};

/// Tells this binary that it is a reader of the socket at this path.
const HELPER: &str = "SYNAPSE_TEST_READ_FROM";
/// Another user than the one who runs the test, if that is root.
const STRANGER: u32 = 65533;
const KEYS: usize = 500;

fn read_all(socket: impl AsRef<Path>) {
    let mut reader = SharedReader::connect(socket).unwrap();
    assert!(reader.is_shared(), "{:?}", reader.why_not());
    for n in (0..KEYS).cycle().take(KEYS * 40) {
        assert_eq!(read(&mut reader, &n.to_string()), Some(format!("value {n}")));
    }
}

fn helper(program: &Path, test: &str, socket: PathBuf) -> Command {
    let mut command = Command::new(program);
    command.args([test, "--exact"]).env(HELPER, socket).stdout(Stdio::null());
    command
}

fn filled() -> Sidecar {
    let sidecar = Sidecar::start(SHARED);
    let mut client = sidecar.client();
    for n in 0..KEYS {
        assert_eq!(client.ask(&["SET", &n.to_string(), &format!("value {n}")]), "OK");
    }
    sidecar
}

#[test]
fn threads_and_processes_read_side_by_side() {
    if let Ok(socket) = env::var(HELPER) {
        return read_all(socket);
    }
    let sidecar = filled();
    let test = "neighbours::threads_and_processes_read_side_by_side";
    let program = env::current_exe().unwrap();
    let others: Vec<Child> =
        (0..4).map(|_| helper(&program, test, sidecar.socket()).spawn().unwrap()).collect();
    thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(|| read_all(sidecar.socket())))));
    for mut other in others {
        assert!(other.wait().unwrap().success());
    }
    assert_eq!(sidecar.counted("synapse_requests_total", &["command=\"get\""]), 0, "nobody asked");
}

#[test]
fn another_user_of_the_pod_reads_too() {
    if let Ok(socket) = env::var(HELPER) {
        return read_all(socket);
    }
    if !rustix::process::geteuid().is_root() {
        println!("left out: only root can run a reader as another user");
        return;
    }
    let sidecar = filled();
    // Where the stranger may execute it.
    let (dir, program) = (tempfile::tempdir().unwrap(), env::current_exe().unwrap());
    let copy = dir.path().join("reader");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    if fs::hard_link(&program, &copy).is_err() {
        fs::copy(&program, &copy).unwrap();
    }
    let mut stranger = helper(&copy, "neighbours::another_user_of_the_pod_reads_too", sidecar.socket());
    let status = stranger.uid(STRANGER).gid(STRANGER).current_dir("/").status().unwrap();
    assert!(status.success());
    assert_eq!(sidecar.counted("synapse_requests_total", &["command=\"get\""]), 0, "it did not ask");
}
