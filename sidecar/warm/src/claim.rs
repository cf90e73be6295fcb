//! The right to the file: who took it last may leave a file, and is the only one whose file is believed.
//!
//! Beside the file lies one that names the claim. It is there before anything is read or served, so a file that an
//! earlier process leaves late, or one that could not be removed, names another claim than the last and is refused. No
//! lock is needed, and none can be left behind.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;
use thiserror::Error;

use crate::format::MAGIC;
use crate::left::{Left, Refused};
use crate::random;

/// The right to leave a file at a path.
#[derive(Debug)]
pub struct Claim {
    pub(crate) names: Names,
    pub(crate) token: u128,
}

/// Why the file is not for this process.
#[derive(Debug, Error)]
pub enum ClaimError {
    /// Something lies there that no sidecar of this user has left. It stays as it is.
    #[error("{0} is not a file that a sidecar of this user has left there; name another path")]
    Taken(PathBuf),
    /// The file system says no.
    #[error("{path}: {error}")]
    Io {
        /// To what.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
}

/// The file and what lies beside it.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// The file.
    pub(crate) whole: PathBuf,
    /// The same while it is being written.
    pub(crate) part: PathBuf,
    /// The claim.
    pub(crate) owner: PathBuf,
}

/// What the file of the claim begins with; 32 hexadecimal digits and a line feed follow.
const OWNER: &[u8] = b"synapse-sidecar ";
const OWNER_BYTES: usize = OWNER.len() + 32 + 1;

// === impl Claim ===

impl Claim {
    /// Takes the claim from whoever had it, and answers with it what that one left for this process: nothing, what is to
    /// be read, or why that is refused. The file is gone from then on, whatever becomes of this process. `boot_ms` is
    /// the present millisecond of CLOCK_BOOTTIME.
    ///
    /// # Errors
    /// When the claim cannot be had: then nothing was read, and nothing may be left.
    pub fn take(path: &Path, boot_ms: u64) -> Result<(Self, Result<Option<Left>, Refused>), ClaimError> {
        let names = Names::of(path);
        let before = names.token()?;
        let left = ours(&names.whole)?;
        let part = ours(&names.part)?;
        let token = random::token().map_err(|error| failed(&names.owner, error))?;
        let claim = Self { names, token };
        claim.enter()?;
        if part.is_some() {
            remove(&claim.names.part).map_err(|error| failed(&claim.names.part, error))?;
        }
        let Some(left) = left else { return Ok((claim, Ok(None))) };
        // What cannot be removed is not believed by anybody from now on.
        let removed = remove(&claim.names.whole).map_err(Refused::from);
        let left = removed.and_then(|()| Left::open(left, before, boot_ms));
        Ok((claim, left.map(Some)))
    }

    /// Whether nobody has taken it since.
    ///
    /// # Errors
    /// When that cannot be told.
    pub(crate) fn is_held(&self) -> Result<bool, ClaimError> {
        Ok(self.names.token()? == Some(self.token))
    }

    /// Names the claim, for good: a machine that loses its power now has not lost it.
    fn enter(&self) -> Result<(), ClaimError> {
        let mut new = self.names.owner.clone().into_os_string();
        new.push(format!(".{:032x}", self.token));
        let new = PathBuf::from(new);
        let enter = || {
            let mut file = create(&new)?;
            file.write_all(&[OWNER, format!("{:032x}\n", self.token).as_bytes()].concat())?;
            file.sync_all()?;
            std::fs::rename(&new, &self.names.owner)?;
            self.names.sync_folder()
        };
        enter().map_err(|error| {
            let _ = remove(&new);
            failed(&self.names.owner, error)
        })
    }
}

// === impl Names ===

impl Names {
    fn of(path: &Path) -> Self {
        let beside = |suffix: &str| {
            let mut name = OsString::from(path);
            name.push(suffix);
            PathBuf::from(name)
        };
        Self { whole: path.to_owned(), part: beside(".part"), owner: beside(".owner") }
    }

    /// Who has the claim; `None` for nobody.
    fn token(&self) -> Result<Option<u128>, ClaimError> {
        let taken = || ClaimError::Taken(self.owner.clone());
        let Some(file) = regular(&self.owner)? else { return Ok(None) };
        let mut bytes = Vec::with_capacity(OWNER_BYTES);
        let read = file.take(OWNER_BYTES as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| failed(&self.owner, error))?;
        let digits = bytes.strip_prefix(OWNER).and_then(|digits| std::str::from_utf8(digits).ok());
        digits.and_then(random::parse).map(Some).ok_or_else(taken)
    }

    /// Makes names that were given or taken in the folder last.
    pub(crate) fn sync_folder(&self) -> io::Result<()> {
        let folder = self.whole.parent().filter(|folder| !folder.as_os_str().is_empty());
        match File::open(folder.unwrap_or(Path::new(".")))?.sync_all() {
            // A file system whose folders cannot be waited for.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        }
    }
}

/// A new file at `path` for this user alone. What lies there goes.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    remove(path)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(open(path, flags, Mode::RUSR | Mode::WUSR)?))
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// The file of entries at `path`, whole or in part; `None` when there is none.
///
/// # Errors
/// When what lies there is something else.
pub(crate) fn ours(path: &Path) -> Result<Option<File>, ClaimError> {
    let Some(mut file) = regular(path)? else { return Ok(None) };
    let mut magic = Vec::with_capacity(MAGIC.len());
    let read = (&mut file).take(MAGIC.len() as u64).read_to_end(&mut magic);
    read.map_err(|error| failed(path, error))?;
    // One that has lost its content is nobody's loss.
    if MAGIC.starts_with(&magic) { Ok(Some(file)) } else { Err(ClaimError::Taken(path.to_owned())) }
}

/// A regular file of this user; `None` when there is nothing at all.
fn regular(path: &Path) -> Result<Option<File>, ClaimError> {
    // Without NONBLOCK, opening a pipe would wait for its other end.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match open(path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP | Errno::NXIO) => return Err(ClaimError::Taken(path.to_owned())),
        Err(error) => return Err(failed(path, error.into())),
    };
    let stat = fstat(&file).map_err(|error| failed(path, error.into()))?;
    let is_ours = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && stat.st_uid == rustix::process::geteuid().as_raw();
    if is_ours { Ok(Some(File::from(file))) } else { Err(ClaimError::Taken(path.to_owned())) }
}

fn failed(path: &Path, error: io::Error) -> ClaimError {
    ClaimError::Io { path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn the_last_to_claim_has_the_claim() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("warm");
        let (first, left) = Claim::take(&path, 1).unwrap();
        assert!(left.unwrap().is_none() && first.is_held().unwrap());
        let (second, left) = Claim::take(&path, 1).unwrap();
        assert!(left.unwrap().is_none() && second.is_held().unwrap() && !first.is_held().unwrap());
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(names, std::slice::from_ref(&first.names.owner));
        assert_eq!(fs::metadata(&first.names.owner).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_no_sidecar_has_left_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("warm");
        for beside in ["", ".part", ".owner"] {
            let other = PathBuf::from(format!("{}{beside}", path.display()));
            fs::write(&other, "a letter to a friend").unwrap();
            assert!(matches!(Claim::take(&path, 1), Err(ClaimError::Taken(at)) if at == other));
            assert_eq!(fs::read(&other).unwrap(), b"a letter to a friend");
            fs::remove_file(&other).unwrap();
            symlink("/dev/zero", &other).unwrap();
            assert!(matches!(Claim::take(&path, 1), Err(ClaimError::Taken(_))));
            fs::remove_file(&other).unwrap();
            fs::create_dir(&other).unwrap();
            assert!(matches!(Claim::take(&path, 1), Err(ClaimError::Taken(_))));
            fs::remove_dir(&other).unwrap();
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let nowhere = dir.path().join("not").join("there");
        assert!(matches!(Claim::take(&nowhere, 1), Err(ClaimError::Io { .. })));
    }

    #[test]
    fn a_part_that_was_left_is_cleared_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("warm");
        for content in [&b""[..], b"SYNA", b"SYNAWARM and more"] {
            fs::write(dir.path().join("warm.part"), content).unwrap();
            Claim::take(&path, 1).unwrap().1.unwrap();
            assert!(!dir.path().join("warm.part").exists());
        }
    }
}
