//! The fuzz target of the warm file, briefly and always the same: `make fuzz` goes on from here.

#[path = "../../../fuzz/src/replay.rs"]
mod replay;
#[path = "../../../fuzz/src/warm.rs"]
mod warm;

use std::fs;

use replay::replay;
use rustix::process::{Resource, Rlimit, setrlimit};

/// More memory than any input needs, and less than the lengths that some of them promise.
const MORE_BYTES: u64 = 64 << 20;

/// The only test of its process: the limit is the process's.
#[test]
fn a_warm_file_is_read_as_it_was_written_or_not_at_all() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mapped = status.lines().find_map(|line| line.strip_prefix("VmSize:")?.strip_suffix("kB"));
    let limit = Some((mapped.unwrap().trim().parse::<u64>().unwrap() << 10) + MORE_BYTES);
    setrlimit(Resource::As, Rlimit { current: limit, maximum: limit }).unwrap();
    replay("warm", 5_000, warm::run);
}
