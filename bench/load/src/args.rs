//! What is said on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::pace::Arrivals;
use crate::popularity::Law;
use crate::sizes::Sizes;
use crate::wire::Wire;

const LONG: &str = "\
First every key is stored (--no-fill leaves that out), then the load runs for a while without being measured, then \
measured. What a key holds follows from the key, and every answer is checked: a wrong value, the value of another key, \
a missing one or an error ends the run with exit code 1.

In a closed loop (the default) each connection sends as many requests as --pipeline says at once, waits for all their \
answers, and sends again: throughput is what the server can do. With --rate the loop is open: requests are due by a \
clock that does not wait for answers, and a latency counts from the moment a request was due. So a server that \
stops for a second shows it in every request that was due in that second.";

const EXAMPLES: &str = "\
Examples:
  How much can Redis do?
      synapse-load --unix /run/redis.sock --pipeline 16 --server-pid $(pidof redis-server)
  The same from Synapse, by frames, one core each:
      taskset -c 1 synapse-load --unix /tmp/synapse.sock --wire frames --pipeline 16 --server-pid PID
  What latency has a user at 30,000 requests a second, a tenth of them SETs?
      synapse-load --unix /tmp/synapse.sock --pipeline 1 --rate 30000 --gets 0.9
  What does a cache of 64 MiB hold of a million keys that are not asked for alike?
      synapse-load --tcp 127.0.0.1:11211 --wire memcached --keys 1000000 --popularity zipf:0.99 \\
          --no-fill --misses store --requests 20000000
  How late is this machine, whoever serves?
      taskset -c 0 synapse-load idle --rate 30000
  What does the socket itself cost?
      synapse-load bare --unix /tmp/bare.sock &  synapse-load --unix /tmp/bare.sock --wire bare

Throughput per second of server CPU needs --server-pid. When the generator is busy more than 95 % of the time of its
threads, the wall throughput is the generator's, not the server's; the report says so.";

/// Drives a cache, checks every answer, and reports throughput, latency and what the server used for it.
#[derive(Debug, Parser)]
#[command(version, long_about = format!("Drives a cache, checks every answer, and reports throughput, latency and what the server used for it.\n\n{LONG}"))]
#[command(after_long_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, args_override_self = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Path of the server's Unix socket
    #[arg(
        long,
        value_name = "PATH",
        required_unless_present = "tcp",
        conflicts_with = "tcp",
        help_heading = "Server"
    )]
    pub(crate) unix: Option<PathBuf>,
    /// Address of the server over TCP, such as 127.0.0.1:6379
    #[arg(long, value_name = "IP:PORT", help_heading = "Server")]
    pub(crate) tcp: Option<SocketAddr>,
    /// The language that is spoken
    #[arg(long, value_enum, default_value = "resp", help_heading = "Server")]
    pub(crate) wire: Wire,
    /// The server's process: its CPU and memory are reported
    #[arg(long, value_name = "PID", help_heading = "Server")]
    pub(crate) server_pid: Option<u32>,

    /// How many connections
    #[arg(long, value_name = "N", default_value_t = 50, help_heading = "Load")]
    pub(crate) connections: usize,
    /// How many requests a connection has in flight at most
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Load")]
    pub(crate) pipeline: usize,
    /// The share of GETs (0 to 1); the others are SETs
    #[arg(long, value_name = "SHARE", default_value_t = 1.0, help_heading = "Load")]
    pub(crate) gets: f64,
    /// Requests a second, whether answers come or not: an open loop, whose clock takes a whole core [default: as many as
    /// are answered]
    #[arg(long, value_name = "N", help_heading = "Load")]
    pub(crate) rate: Option<f64>,
    /// How the requests of an open loop follow each other
    #[arg(long, value_enum, default_value = "poisson", help_heading = "Load")]
    pub(crate) arrivals: Arrivals,
    /// What a GET of a key without a value is
    #[arg(long, value_enum, default_value = "fail", help_heading = "Load")]
    pub(crate) misses: Misses,

    /// How many keys
    #[arg(long, value_name = "N", default_value_t = 100_000, help_heading = "Keys and values")]
    pub(crate) keys: u64,
    /// Bytes of a key
    #[arg(long, value_name = "BYTES", default_value_t = 16, help_heading = "Keys and values")]
    pub(crate) key_size: usize,
    /// How often keys are asked for: uniform, or zipf:EXPONENT
    #[arg(long, value_name = "LAW", default_value = "uniform", help_heading = "Keys and values")]
    pub(crate) popularity: Law,
    /// The share of requests (0 to 1) for keys beyond --keys, one after the other: a scan runs through
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, help_heading = "Keys and values")]
    pub(crate) scan: f64,
    /// After every so many requests of a thread the favourites move on by one key
    #[arg(long, value_name = "REQUESTS", help_heading = "Keys and values")]
    pub(crate) drift: Option<u64>,
    /// Bytes of a value: 64, a list as 64,1Ki, or a range as 10..1Mi with as many from 10 to 20 as from 100 to 200
    #[arg(long, value_name = "SIZES", default_value = "64", help_heading = "Keys and values")]
    pub(crate) size: Sizes,
    /// Which values the keys have: in every generation others, of other sizes; older ones are still right
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Keys and values")]
    pub(crate) generation: u16,

    /// Store no key beforehand
    #[arg(long, help_heading = "Run")]
    pub(crate) no_fill: bool,
    /// Seconds of load before the measurement
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, help_heading = "Run")]
    pub(crate) warmup: f64,
    /// Seconds of measurement
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, help_heading = "Run")]
    pub(crate) seconds: f64,
    /// End the measurement after so many requests, if that is before --seconds are over
    #[arg(long, value_name = "N", help_heading = "Run")]
    pub(crate) requests: Option<u64>,
    /// Threads that share the connections
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Run")]
    pub(crate) threads: usize,
    /// Never sleep while waiting for answers: takes the generator's waking up out of the latencies, and a whole core
    #[arg(long, help_heading = "Run")]
    pub(crate) spin: bool,
    /// The most bytes of one write: where a kernel is never interrupted, a write keeps its core to itself for as long as the
    /// server reads as fast as it is written to [default: all that is due]
    #[arg(long, value_name = "BYTES", help_heading = "Run")]
    pub(crate) write: Option<usize>,
    /// Seconds without any answer after which the server is given up
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, help_heading = "Run")]
    pub(crate) timeout: f64,
    /// The same seed draws the same keys
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Run")]
    pub(crate) seed: u64,
    /// Write the report to this file as JSON, too
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serves --wire bare: a server that keeps nothing and answers as many bytes as are asked for
    Bare {
        /// Path of the Unix socket
        #[arg(long, value_name = "PATH")]
        unix: PathBuf,
    },
    /// Asks nobody, and tells how late it notices moments of an open loop: what the machine itself adds to a latency
    Idle {
        /// Moments a second, at random
        #[arg(long, value_name = "N", default_value_t = 30_000.0)]
        rate: f64,
        /// Seconds of measurement
        #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
        seconds: f64,
        /// Write the delays to this file as JSON, too
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
}

/// What a GET of a key without a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Misses {
    /// A wrong answer
    Fail,
    /// Counted
    Count,
    /// Counted, and the key is stored, as an application behind a cache does
    Store,
}
