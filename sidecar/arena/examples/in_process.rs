//! Nanoseconds for a read without a socket: the arena from another process and from its own, beside maps in the process.
//!
//! Usage: `in_process [--json FILE] [--short]`. Keys of 16 bytes, values of 64. Every answer is copied into a buffer of the
//! caller and looked at, whatever the map could lend: a cache must be free to drop the entry meanwhile. All are asked for
//! the same keys, one at a time where it does not say otherwise, in turns; what counts is the processor time of the thread that reads.
//!
//! The arena is read from another process as `SharedReader` of the client does it: with its clock, for deadlines and
//! the lease. That process is this program with the memory as its standard input.

#[path = "support/keys.rs"]
mod keys;

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::hint::black_box;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustix::time::{ClockId, clock_gettime};
use synapse_arena::arena::Arena;
use synapse_arena::clock::{Clock, boottime_ns};
use synapse_arena::entry::NEVER;
use synapse_arena::reader::{Look, Reader};

use keys::{Key, key_of};

const VALUE: [u8; 64] = [7; 64];
/// Keys that are asked for together where it says so.
const TOGETHER: usize = 16;
/// The other process is told by its first argument what it is for; the number of the load follows.
const READ_SHARED: &str = "read-shared";

type Answer = Result<f64, Box<dyn Error>>;
/// A map by its name, and a round of reading it.
type Contestant<'a> = (&'static str, Box<dyn FnMut() -> Answer + 'a>);
/// What each round of a map brought.
type Rounds = Vec<(&'static str, Vec<f64>)>;

/// What is asked for.
struct Load {
    name: &'static str,
    keys: u64,
    /// The exponent of Zipf's law; evenly without.
    zipf: Option<f64>,
}

const LOADS: [Load; 4] = [
    Load { name: "one key", keys: 1, zipf: None },
    Load { name: "100,000 keys, zipf 0.99", keys: 100_000, zipf: Some(0.99) },
    Load { name: "1,000,000 keys, zipf 0.99", keys: 1_000_000, zipf: Some(0.99) },
    Load { name: "1,000,000 keys, evenly", keys: 1_000_000, zipf: None },
];

struct Args {
    json: Option<String>,
    rounds: usize,
    gets: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    if let [first, load, gets, together] = &words[..]
        && first == READ_SHARED
    {
        return read_shared(&LOADS[load.parse::<usize>()?], gets.parse()?, together.parse()?);
    }
    let is_short = words.iter().any(|word| word == "--short");
    let json = words.iter().position(|word| word == "--json").and_then(|at| words.get(at + 1)).cloned();
    let args =
        Args { json, rounds: if is_short { 1 } else { 5 }, gets: if is_short { 50_000 } else { 1_000_000 } };
    let mut objects = Vec::new();
    for (number, Load { name: load, .. }) in LOADS.iter().enumerate() {
        for (map, mut figures) in measure(number, &args)? {
            figures.sort_by(f64::total_cmp);
            let (least, median, most) = (figures[0], figures[figures.len() / 2], figures[figures.len() - 1]);
            println!("{load:26} {map:40} {median:7.1} ns  ({least:.1}..{most:.1})");
            objects.push(format!(
                r#"{{"load":"{load}","map":"{map}","ns_per_get":{median:.2},"least":{least:.2},"most":{most:.2}}}"#
            ));
        }
    }
    if let Some(path) = args.json {
        std::fs::write(path, format!("[{}]\n", objects.join(",\n")))?;
    }
    Ok(())
}

/// Every map's figures, one for each round.
fn measure(number: usize, args: &Args) -> Result<Rounds, Box<dyn Error>> {
    let load = &LOADS[number];
    let asked = load.draw(args.gets);
    let all = || (0..load.keys).map(key_of);
    let standard: HashMap<Key, Box<[u8]>> = all().map(|key| (key, VALUE.into())).collect();
    let fast: hashbrown::HashMap<Key, Box<[u8]>> = all().map(|key| (key, VALUE.into())).collect();
    let moka: moka::sync::Cache<Key, Arc<[u8]>> = moka::sync::Cache::new(2 * load.keys);
    let quick: quick_cache::sync::Cache<Key, Arc<[u8]>> =
        quick_cache::sync::Cache::new(2 * load.keys as usize);
    let mut arena = Arena::new(256 << 20)?;
    arena.set_clock(boottime_ns());
    for key in all() {
        moka.insert(key, VALUE.into());
        quick.insert(key, VALUE.into());
        arena.set(&key, &VALUE, NEVER, 1)?;
    }
    let memory = arena.share()?.ok_or("no memory can be shared here")?.try_clone_to_owned()?;
    let from_another = |together: usize| {
        let words = [READ_SHARED.to_owned(), number.to_string(), args.gets.to_string(), together.to_string()];
        let mut other = Command::new(env::current_exe()?);
        let said = other.args(words).stdin(Stdio::from(memory.try_clone()?)).output()?;
        io::stderr().write_all(&said.stderr)?;
        Ok(String::from_utf8(said.stdout)?.trim().parse()?)
    };
    let mut maps: Vec<Contestant<'_>> = vec![
        ("arena, from another process", Box::new(|| from_another(1))),
        ("arena, from another process, 16 together", Box::new(|| from_another(TOGETHER))),
        (
            "arena, in its own process",
            Box::new(|| {
                time(&asked, |key, out| {
                    arena.get(&[key], 1, |_, entry| {
                        out.clear();
                        entry.into_iter().for_each(|entry| out.extend_from_slice(entry.value));
                    });
                })
            }),
        ),
        (
            "HashMap",
            Box::new(|| time(&asked, |key, out| copy(out, standard.get(key).map(|value| &value[..])))),
        ),
        (
            "HashMap of hashbrown",
            Box::new(|| time(&asked, |key, out| copy(out, fast.get(key).map(|value| &value[..])))),
        ),
        ("quick_cache", Box::new(|| time(&asked, |key, out| copy(out, quick.get(key).as_deref())))),
        ("moka", Box::new(|| time(&asked, |key, out| copy(out, moka.get(key).as_deref())))),
    ];
    let mut figures: Vec<_> = maps.iter().map(|(name, _)| (*name, Vec::new())).collect();
    for round in 0..args.rounds {
        for turn in 0..maps.len() {
            let which = (round + turn) % maps.len();
            figures[which].1.push(maps[which].1()?);
        }
    }
    Ok(figures)
}

/// The other process: maps the memory, reads, and says how long a read took.
fn read_shared(load: &Load, gets: usize, together: usize) -> Result<(), Box<dyn Error>> {
    let mut reader = Reader::open(io::stdin().as_fd())?;
    let (mut clock, mut out) = (Clock::new(), Vec::new());
    // The first read of a page lets the kernel map it.
    for key in (0..load.keys).map(key_of) {
        let now = clock.since(reader.origin_ns());
        assert_eq!(reader.get(&key, now, &mut out), Look::Hit { deadline: NEVER });
    }
    let asked = load.draw(gets);
    if together > 1 {
        let mut found = 0;
        let start = nanoseconds(ClockId::ThreadCPUTime);
        for keys in asked.chunks(together) {
            let now = clock.since(reader.origin_ns());
            reader.get_many(keys, now, &mut out, |_, look, value| {
                found += usize::from(matches!(look, Look::Hit { .. }) && black_box(value) == VALUE);
            });
        }
        println!("{}", each(nanoseconds(ClockId::ThreadCPUTime) - start, found, asked.len())?);
        return Ok(());
    }
    let ns = time(&asked, |key, out| {
        let now = clock.since(reader.origin_ns());
        if !matches!(reader.get(key, now, out), Look::Hit { .. }) {
            out.clear();
        }
    })?;
    println!("{ns}");
    Ok(())
}

fn copy(out: &mut Vec<u8>, value: Option<&[u8]>) {
    out.clear();
    value.into_iter().for_each(|value| out.extend_from_slice(value));
}

/// Nanoseconds for each of these keys; each must be there.
fn time(keys: &[Key], mut get: impl FnMut(&Key, &mut Vec<u8>)) -> Answer {
    let mut out = Vec::with_capacity(1 << 10);
    let mut found = 0;
    let start = nanoseconds(ClockId::ThreadCPUTime);
    for key in keys {
        get(key, &mut out);
        found += usize::from(black_box(&out)[..] == VALUE);
    }
    each(nanoseconds(ClockId::ThreadCPUTime) - start, found, keys.len())
}

fn each(ns: u64, found: usize, gets: usize) -> Answer {
    if found < gets {
        Err("a read found nothing, or something else".into())
    } else {
        Ok(ns as f64 / gets as f64)
    }
}

fn nanoseconds(clock: ClockId) -> u64 {
    let moment = clock_gettime(clock);
    moment.tv_sec.unsigned_abs() * 1_000_000_000 + moment.tv_nsec.unsigned_abs()
}

impl Load {
    /// The keys that are asked for, one after the other: the same in every process.
    fn draw(&self, gets: usize) -> Vec<Key> {
        let mut random = 0x5eed_u64;
        let mut uniform = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 11) as f64 / (1_u64 << 53) as f64
        };
        (0..gets).map(|_| key_of(self.key(uniform()))).collect()
    }

    fn key(&self, uniform: f64) -> u64 {
        let keys = self.keys as f64;
        let Some(exponent) = self.zipf else { return (uniform * keys) as u64 };
        // The inverse of the cumulative distribution, approximated by an integral.
        let e = 1.0 - exponent;
        let total = ((keys + 0.5).powf(e) - 0.5_f64.powf(e)) / e;
        let rank = (uniform * total * e + 0.5_f64.powf(e)).powf(1.0 / e).round() as u64;
        // Neighbours in popularity are not neighbours in memory.
        rank.wrapping_mul(0x9e37_79b1) % self.keys
    }
}
