//! Leaving a file: written beside its place, brought to the disk, and given its name only when it is whole.

use std::fs::File;
use std::io::{self, Write};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use thiserror::Error;

use crate::claim::{Claim, ClaimError, create, ours, remove};
use crate::format::{END_BYTES, Header, Kind, Record, end};
use crate::random;

/// A file under way. Dropped before its end, it is gone.
#[derive(Debug)]
pub struct Leaving<'a> {
    claim: &'a Claim,
    file: File,
    /// What is not written yet.
    buffer: Vec<u8>,
    checksum: u64,
    length: u64,
    records: u64,
    unsynced: u64,
    is_done: bool,
}

/// Why no file was left.
#[derive(Debug, Error)]
pub enum LeaveError {
    /// Another process has claimed the file since: what this one holds may be old.
    #[error("another sidecar has claimed the file since")]
    Overtaken,
    /// The place is not to be had.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The file system says no.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// After so many bytes the disk is waited for: what is still on its way there is never more, and the end comes soon.
const SYNC_EVERY: u64 = 16 << 20;

/// Bytes that are handed over together, at least.
const WRITE_BYTES: usize = 128 << 10;

// === impl Leaving ===

impl<'a> Leaving<'a> {
    /// Begins. `boot_ms` is the present millisecond of CLOCK_BOOTTIME.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn begin(claim: &'a Claim, kind: Kind, boot_ms: u64) -> Result<Self, LeaveError> {
        ours(&claim.names.part)?;
        let header = Header { kind, token: claim.token, boot: random::boot(), begun_ms: boot_ms };
        let (bytes, checksum) = header.pack();
        let file = create(&claim.names.part)?;
        let (length, unsynced) = (bytes.len() as u64, 0);
        Ok(Self {
            claim,
            file,
            buffer: bytes.to_vec(),
            checksum,
            length,
            records: 0,
            unsynced,
            is_done: false,
        })
    }

    /// Adds a record; nothing is written by this.
    pub fn add(&mut self, record: &Record<'_>) {
        let before = self.buffer.len();
        self.checksum = record.pack(&mut self.buffer, self.checksum);
        self.length += (self.buffer.len() - before) as u64;
        self.records += 1;
    }

    /// Bytes that the file would have if it ended now.
    pub fn length(&self) -> u64 {
        self.length + END_BYTES as u64
    }

    /// Records that were added.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Writes what was added, once it is worth a write, and waits for the disk now and then.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&mut self) -> io::Result<()> {
        if self.buffer.len() < WRITE_BYTES {
            return Ok(());
        }
        self.hand_over()?;
        if self.unsynced >= SYNC_EVERY {
            self.file.sync_data()?;
            self.unsynced = 0;
        }
        Ok(())
    }

    /// Ends the file, and gives it its name when all of it is on the disk.
    ///
    /// # Errors
    /// Why there is no file.
    pub fn finish(mut self) -> Result<(), LeaveError> {
        let last = end(self.length(), self.records, self.checksum);
        self.buffer.extend_from_slice(&last);
        self.hand_over()?;
        self.file.sync_all()?;
        if !self.claim.is_held()? {
            return Err(LeaveError::Overtaken);
        }
        let names = &self.claim.names;
        // Nothing lies there since the claim was taken, or it is not ours.
        match renameat_with(CWD, &names.part, CWD, &names.whole, RenameFlags::NOREPLACE) {
            // A file system that cannot tell.
            Err(Errno::INVAL | Errno::NOSYS) if ours(&names.whole)?.is_none() => {
                std::fs::rename(&names.part, &names.whole)?
            }
            renamed => renamed.map_err(io::Error::from)?,
        }
        self.is_done = true;
        Ok(names.sync_folder()?)
    }

    fn hand_over(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.unsynced += self.buffer.len() as u64;
        self.buffer.clear();
        self.buffer.shrink_to(4 * WRITE_BYTES);
        Ok(())
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            // What stays is cleared away by the next one.
            let _ = remove(&self.claim.names.part);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;
    use crate::format::Damage;
    use crate::left::Refused;

    const ENTRY: Record<'_> =
        Record { key: b"k", value: Some(b"value"), value_len: 5, deadline: Some(9), heat: 3 };

    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("warm");
        (dir, path)
    }

    fn leave(claim: &Claim) -> Result<(), LeaveError> {
        let mut leaving = Leaving::begin(claim, Kind::Entries, 1)?;
        leaving.add(&ENTRY);
        leaving.write()?;
        leaving.finish()
    }

    #[test]
    fn the_next_one_gets_what_was_left_and_nobody_after_it() {
        let (dir, path) = place();
        let (first, _) = Claim::take(&path, 1).unwrap();
        leave(&first).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!dir.path().join("warm.part").exists());
        let (_second, left) = Claim::take(&path, 1).unwrap();
        assert!(!path.exists());
        let mut left = left.unwrap().unwrap();
        assert!(left.deadlines_hold() && left.kind() == Kind::Entries);
        assert_eq!(left.read().unwrap(), Some(ENTRY));
        assert_eq!(left.read().unwrap(), None);
        // As if the second had been killed.
        assert!(Claim::take(&path, 1).unwrap().1.unwrap().is_none());
    }

    #[test]
    fn whoever_was_overtaken_leaves_nothing() {
        let (_dir, path) = place();
        let (first, _) = Claim::take(&path, 1).unwrap();
        let leaving = Leaving::begin(&first, Kind::Names, 1).unwrap();
        let (_second, left) = Claim::take(&path, 1).unwrap();
        assert!(left.unwrap().is_none());
        assert!(matches!(leaving.finish(), Err(LeaveError::Overtaken)));
        assert!(matches!(leave(&first), Err(LeaveError::Overtaken)));
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_came_back_is_not_believed() {
        let (_dir, path) = place();
        let (first, _) = Claim::take(&path, 1).unwrap();
        leave(&first).unwrap();
        let copy = fs::read(&path).unwrap();
        assert!(Claim::take(&path, 1).unwrap().1.unwrap().is_some());
        fs::write(&path, copy).unwrap();
        let (_, left) = Claim::take(&path, 1).unwrap();
        assert!(matches!(left, Err(Refused::Damage(Damage::NotTheLast))));
        assert!(!path.exists());
    }

    #[test]
    fn what_has_come_to_lie_there_meanwhile_is_not_overwritten() {
        let (dir, path) = place();
        let (claim, _) = Claim::take(&path, 1).unwrap();
        fs::write(&path, "a letter").unwrap();
        assert!(leave(&claim).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"a letter");
        assert!(!dir.path().join("warm.part").exists());
    }

    #[test]
    fn a_file_that_was_not_ended_has_no_name() {
        let (dir, path) = place();
        let (claim, _) = Claim::take(&path, 1).unwrap();
        let mut leaving = Leaving::begin(&claim, Kind::Entries, 1).unwrap();
        for _ in 0..WRITE_BYTES / 8 {
            leaving.add(&ENTRY);
            leaving.write().unwrap();
        }
        assert!(leaving.length() > WRITE_BYTES as u64 && dir.path().join("warm.part").exists());
        // A process that is killed runs no destructor.
        std::mem::forget(leaving);
        assert!(Claim::take(&path, 1).unwrap().1.unwrap().is_none());
        assert!(!path.exists() && !dir.path().join("warm.part").exists());
    }
}
