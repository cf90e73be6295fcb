//! The file by which a sidecar leaves what it held to the next one of the same pod.
//!
//! `docs/warm-file.md` describes every byte of it. A process first takes the [`claim`] to the file, which ends the claim
//! of whoever had it before, and with it gets what that one [`left`]. When it ends it [`leave`]s a file itself. A file
//! is believed only if it was left by the very last process that had claimed it.

pub mod claim;
pub mod format;
pub mod leave;
pub mod left;

mod random;
