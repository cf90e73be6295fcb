//! What a process has used, as the system tells it: CPU of all its threads, and resident memory.

use std::fs;
use std::io;

use anyhow::Context;

/// What a process has used so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Usage {
    /// CPU of all threads, those that ended included, in user and system mode (s).
    pub(crate) cpu_seconds: f64,
    /// Resident memory, shared pages included (bytes).
    pub(crate) resident_bytes: u64,
}

/// Looks at a process; `self` is this one.
///
/// # Errors
/// When there is no such process, or the system tells it in another way.
pub(crate) fn usage(pid: &str) -> anyhow::Result<Usage> {
    let read = |file: &str| -> io::Result<String> { fs::read_to_string(format!("/proc/{pid}/{file}")) };
    let stat = read("stat").with_context(|| format!("reading what process {pid} has used"))?;
    let status = read("status").with_context(|| format!("reading the memory of process {pid}"))?;
    let ticks = ticks(&stat).with_context(|| format!("/proc/{pid}/stat does not name the CPU times"))?;
    let resident = resident(&status).with_context(|| format!("/proc/{pid}/status has no VmRSS"))?;
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    Ok(Usage { cpu_seconds: ticks as f64 / per_second, resident_bytes: resident })
}

/// User and system time; the name before them stands in parentheses and may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (times.next()?.parse().ok()?, times.next()?.parse().ok()?);
    Some(user + system)
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses_do_not_confuse() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 4194560 9 0 0 0 120 34 0 0 20 0 4 0 99 1 2 3";
        assert_eq!(ticks(stat), Some(154));
        assert_eq!(ticks("7 (a"), None);
        assert_eq!(resident("Name:\ta\nVmRSS:\t  2048 kB\n"), Some(2 << 20));
        assert_eq!(resident("Name:\ta\n"), None);
    }

    #[test]
    fn this_process_uses_something() {
        let before = usage("self").unwrap();
        assert!(before.resident_bytes > 1 << 20);
        let mut number = 1_u64;
        while usage("self").unwrap().cpu_seconds < before.cpu_seconds + 0.02 {
            (0..100_000).for_each(|_| number = number.wrapping_mul(3) ^ 5);
        }
        assert!(usage("0").is_err(), "{number}");
    }
}
