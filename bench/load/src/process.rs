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
    let counted = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
    let scheduled = scheduled_ns(pid).unwrap_or_default() as f64 / 1e9;
    Ok(Usage { cpu_seconds: counted.max(scheduled), resident_bytes: resident })
}

/// The CPU time of the threads that live: to the nanosecond, where the ticks of all threads are hundredths of a second.
/// Neither tells more than was used, so that the greater is the better. `None` where the system does not count it.
fn scheduled_ns(pid: &str) -> Option<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        // A thread that ends meanwhile is in the ticks.
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).unwrap_or_default();
        sum += text.split_ascii_whitespace().next().map_or(Some(0), |word| word.parse::<u64>().ok())?;
    }
    Some(sum)
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
        while usage("self").unwrap().cpu_seconds < before.cpu_seconds + 0.05 {
            (0..100_000).for_each(|_| number = std::hint::black_box(number.wrapping_mul(3) ^ 5));
        }
    }

    #[test]
    fn a_process_that_is_not_there_is_told() {
        assert!(usage("0").unwrap_err().to_string().contains("process 0"));
    }
}
