//! The socket in the file system: bound in place, open to whom its directory lets in, never at the cost of anything else.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// The containers of a pod run as different users, and the directory is what guards the socket.
const OPEN_TO_ALL: u32 = 0o666;

/// A directory where everybody may put things beside each other, such as `/tmp`, guards nothing.
const OPEN_TO_ITS_USER: u32 = 0o600;

/// The bit of such a directory.
const STICKY: u32 = 0o1000;

/// Why a socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Something that is not a socket lies at the path. It is left alone.
    #[error("{0} exists and is not a socket; it was left alone, name another path")]
    NotASocket(PathBuf),
    /// Another process answers at the path.
    #[error("another process is listening on {0}")]
    InUse(PathBuf),
    /// The system refused.
    #[error("cannot {action} {path}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// With which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Listens at `path`. A socket that nobody listens on is replaced; anything else that lies there is left alone.
///
/// The new socket appears under `path` complete, with its permissions, by a rename: a client finds the old one, which
/// refuses it, or the new one, which answers.
///
/// # Errors
/// When the path is taken, or the system refuses.
pub fn bind(path: &Path) -> Result<UnixListener, BindError> {
    refuse_unless_ours(path)?;
    let beside = beside(path);
    let system = |action| {
        let path = path.to_owned();
        move |source| BindError::System { action, path, source }
    };
    // In a container every process is number 1: one that was killed right here left its socket under this name.
    refuse_unless_ours(&beside)?;
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(system("clear the way at")(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&beside).map_err(system("listen on"))?;
    let placed = fs::set_permissions(&beside, Permissions::from_mode(mode(path)))
        .and_then(|()| fs::rename(&beside, path))
        .map_err(system("place the socket at"));
    if placed.is_err() {
        // It is this process' own socket under a name that nobody knows.
        let _ = fs::remove_file(&beside);
    }
    placed.map(|()| listener)
}

/// For whom a socket at `path` is.
fn mode(path: &Path) -> u32 {
    let shared = path.parent().and_then(|dir| fs::metadata(dir).ok());
    match shared.is_some_and(|dir| dir.permissions().mode() & STICKY != 0) {
        true => OPEN_TO_ITS_USER,
        false => OPEN_TO_ALL,
    }
}

fn refuse_unless_ours(path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => Err(BindError::NotASocket(path.to_owned())),
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(source) => Err(BindError::System { action: "look at", path: path.to_owned(), source }),
            Ok(_) => Err(BindError::InUse(path.to_owned())),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(BindError::System { action: "look at", path: path.to_owned(), source }),
    }
}

/// A name in the same directory that only this process uses, and short: a socket's path has at most 107 bytes.
fn beside(path: &Path) -> PathBuf {
    path.with_file_name(format!(".{}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_everyone_may_connect() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(bind(&path).unwrap());
        let _listener = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, OPEN_TO_ALL);
        assert!(UnixStream::connect(&path).is_ok());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn where_everybody_has_things_the_socket_is_its_users_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o1777)).unwrap();
        let path = dir.path().join("s");
        let _listener = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, OPEN_TO_ITS_USER);
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        drop(_listener);
        let _listener = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, OPEN_TO_ALL);
    }

    #[tokio::test]
    async fn a_start_that_was_killed_halfway_does_not_hinder_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(beside(&path)).unwrap());
        assert!(bind(&path).is_ok());
    }

    #[tokio::test]
    async fn a_live_socket_is_not_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let _first = bind(&path).unwrap();
        assert!(matches!(bind(&path), Err(BindError::InUse(_))));
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        fs::write(&path, "data").unwrap();
        assert!(matches!(bind(&path), Err(BindError::NotASocket(_))));
        assert_eq!(fs::read(&path).unwrap(), b"data");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(bind(&link), Err(BindError::NotASocket(_))));
        assert!(matches!(bind(&dir.path().join("no/such")), Err(BindError::System { .. })));
    }
}
