//! A load as it will run: the arguments, checked together.

use std::time::Duration;

use crate::args::{Args, Misses};
use crate::keys::{self, Spelling};
use crate::pace::Arrivals;
use crate::popularity::{MOST_KEYS, Popularity};
use crate::sizes::Sizes;
use crate::stream::Address;
use crate::wire::Wire;

/// The most connections: what one process may have in Unix sockets is less on most systems.
const MOST_CONNECTIONS: usize = 100_000;

/// The most requests in flight on one connection.
const MOST_IN_FLIGHT: usize = 1 << 20;

/// How many bytes of SETs are in flight on a connection while keys are stored beforehand, and how many SETs at most.
const FILL_BYTES: usize = 1 << 20;
const FILL_PIPELINE: usize = 64;

/// A load as it will run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) address: Address,
    pub(crate) wire: Wire,
    pub(crate) server_pid: Option<u32>,
    pub(crate) connections: usize,
    pub(crate) pipeline: usize,
    pub(crate) gets: f64,
    pub(crate) rate: Option<f64>,
    pub(crate) arrivals: Arrivals,
    pub(crate) misses: Misses,
    pub(crate) spelling: Spelling,
    pub(crate) popularity: Popularity,
    pub(crate) sizes: Sizes,
    pub(crate) generation: u16,
    pub(crate) fill: bool,
    pub(crate) warmup: Duration,
    pub(crate) length: Duration,
    pub(crate) requests: u64,
    pub(crate) threads: usize,
    pub(crate) spin: bool,
    pub(crate) write: usize,
    pub(crate) timeout: Duration,
    pub(crate) seed: u64,
}

/// Everything that is wrong with the arguments.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub(crate) struct Problems(Vec<String>);

// === impl Plan ===

impl Plan {
    /// The load that the arguments ask for.
    ///
    /// # Errors
    /// With all that is wrong in them.
    pub(crate) fn new(args: &Args) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let mut must = |holds: bool, problem: &str| {
            if !holds {
                problems.push(problem.to_owned());
            }
        };
        let share = |number: f64| (0.0..=1.0).contains(&number);
        let seconds = |number: f64| Duration::try_from_secs_f64(number);
        must((1..=MOST_CONNECTIONS).contains(&args.connections), "--connections: from 1 to 100000");
        must((1..=MOST_IN_FLIGHT).contains(&args.pipeline), "--pipeline: from 1 to 1048576");
        must(
            (1..=args.connections.max(1)).contains(&args.threads),
            "--threads: from 1 to as many as connections",
        );
        must(share(args.gets), "--gets: a share from 0 to 1");
        must(share(args.scan), "--scan: a share from 0 to 1");
        must(
            args.rate.is_none_or(|rate| (1.0..=1e8).contains(&rate)),
            "--rate: from 1 to 100000000 a second",
        );
        must((1..=MOST_KEYS).contains(&args.keys), "--keys: from 1 to 268435456");
        must(args.drift != Some(0), "--drift: at least 1 request");
        must(args.requests != Some(0), "--requests: at least 1");
        must(args.write != Some(0), "--write: at least 1 byte");
        must(seconds(args.warmup).is_ok(), "--warmup: a number of seconds");
        must(args.seconds > 0.0 && seconds(args.seconds).is_ok(), "--seconds: a number of seconds above 0");
        must(args.timeout > 0.0 && seconds(args.timeout).is_ok(), "--timeout: a number of seconds above 0");
        let spelling = Spelling::new(args.key_size);
        must(spelling.is_some(), &format!("--key-size: from {} to {} bytes", keys::LEAST, keys::LARGEST));
        let popularity =
            Popularity { keys: args.keys, law: args.popularity, scan: args.scan, drift: args.drift };
        if let Some(spelling) = &spelling {
            let keys = args.keys.saturating_add(popularity.scanned());
            must(keys <= spelling.capacity(), &format!("--key-size: too small to tell {keys} keys apart"));
        }
        let address = match (&args.unix, args.tcp) {
            (Some(path), _) => Some(Address::Unix(path.clone())),
            (None, tcp) => tcp.map(Address::Tcp),
        };
        must(address.is_some(), "--unix or --tcp: where the server listens");
        let fill = !args.no_fill && args.wire != Wire::Bare;
        must(
            args.scan == 0.0 || args.misses != Misses::Fail,
            "--scan: its keys were never stored, so say --misses store or count",
        );
        let (Some(address), Some(spelling), true) = (address, spelling, problems.is_empty()) else {
            return Err(Problems(problems));
        };
        Ok(Self {
            address,
            wire: args.wire,
            server_pid: args.server_pid,
            connections: args.connections,
            pipeline: args.pipeline,
            gets: args.gets,
            rate: args.rate,
            arrivals: args.arrivals,
            misses: args.misses,
            spelling,
            popularity,
            sizes: args.size.clone(),
            generation: args.generation,
            fill,
            warmup: seconds(args.warmup).unwrap_or_default(),
            length: seconds(args.seconds).unwrap_or_default(),
            requests: args.requests.unwrap_or(u64::MAX),
            threads: args.threads,
            spin: args.spin,
            write: args.write.unwrap_or(usize::MAX),
            timeout: seconds(args.timeout).unwrap_or_default(),
            seed: args.seed,
        })
    }

    /// How many SETs are in flight on a connection while keys are stored beforehand.
    pub(crate) fn fill_pipeline(&self) -> usize {
        (FILL_BYTES / self.sizes.largest()).clamp(1, FILL_PIPELINE)
    }

    /// How many of the connections worker number `worker` has.
    pub(crate) fn share(&self, worker: usize) -> usize {
        self.connections / self.threads + usize::from(worker < self.connections % self.threads)
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    fn plan(more: &[&str]) -> Result<Plan, String> {
        let args = Args::try_parse_from([&["synapse-load", "--unix", "/s"], more].concat()).unwrap();
        Plan::new(&args).map_err(|problems| problems.to_string())
    }

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
        assert!(Args::try_parse_from(["synapse-load"]).is_err());
        assert!(Args::try_parse_from(["synapse-load", "bare", "--unix", "/s"]).is_ok());
    }

    #[test]
    fn all_problems_are_told_together() {
        let problems =
            plan(&["--gets", "2", "--key-size", "3", "--pipeline", "0", "--scan", "0.1", "--write", "0"])
                .unwrap_err();
        for name in ["--gets", "--key-size", "--pipeline", "--scan", "--write"] {
            assert!(problems.contains(name), "{name}: {problems}");
        }
        assert!(plan(&["--key-size", "9", "--keys", "100001"]).unwrap_err().contains("--key-size"));
        assert!(plan(&["--seconds", "NaN"]).unwrap_err().contains("--seconds"));
    }

    #[test]
    fn connections_are_shared_out() {
        let plan = plan(&["--connections", "10", "--threads", "4"]).unwrap();
        assert_eq!((0..4).map(|worker| plan.share(worker)).collect::<Vec<_>>(), [3, 3, 2, 2]);
    }

    #[test]
    fn large_values_are_not_stored_all_at_once() {
        assert_eq!(plan(&[]).unwrap().fill_pipeline(), 64);
        assert_eq!(plan(&["--size", "10..1Mi"]).unwrap().fill_pipeline(), 1);
    }
}
