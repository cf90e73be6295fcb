//! The allocator of the process, and how it is told to give memory back at once.
//!
//! Entries of all sizes come and go. The C library's allocator keeps up to twice the capacity of what they left.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// What it reads from the environment, before `main` and in no other way that is safe code: pages are given back when they
/// are free instead of a second later, and what is larger than so many KiB has pages of its own.
const OPTIONS: [(&str, &str); 2] =
    [("MIMALLOC_PURGE_DELAY", "0"), ("MIMALLOC_ARENA_MAX_OBJECT_SIZE", "1024")];

/// Starts the same program with the same arguments in this very process again, with those options that the environment
/// does not name. Returns where nothing is missing, or where that is not possible: memory is given back later then.
pub(crate) fn tune() {
    let missing: Vec<_> = OPTIONS.into_iter().filter(|(name, _)| env::var_os(name).is_none()).collect();
    let mut arguments = env::args_os();
    if let (false, Ok(program), Some(name)) = (missing.is_empty(), env::current_exe(), arguments.next()) {
        let _ = Command::new(program).arg0(name).args(arguments).envs(missing).exec();
    }
}
