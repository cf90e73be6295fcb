//! Nanoseconds for a write without a socket: the arena beside maps in the process, with room and when it is full.
//!
//! Usage: `writes [rounds]`. Keys of 16 bytes, drawn evenly, and values of 64. What counts is the processor time of the
//! thread that writes.

#[path = "support/keys.rs"]
mod keys;

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;

use rustix::time::{ClockId, clock_gettime};
use synapse_arena::arena::Arena;
use synapse_arena::entry::NEVER;

use keys::{Key, key_of};

const VALUE: [u8; 64] = [7; 64];
const WRITES: u64 = 400_000;

/// What each round of a map brought.
type Figures = BTreeMap<&'static str, Vec<f64>>;

fn main() -> Result<(), Box<dyn Error>> {
    let rounds = env::args().nth(1).map_or(Ok(5), |rounds| rounds.parse())?;
    for keys in [1_000, 100_000, 1_000_000] {
        tell(&format!("{keys} keys that are there"), overwriting(keys, rounds)?);
    }
    tell("keys that are not there, and no room", evicting(rounds)?);
    Ok(())
}

fn tell(load: &str, figures: Figures) {
    for (map, mut figures) in figures {
        figures.sort_by(f64::total_cmp);
        let (least, median, most) = (figures[0], figures[figures.len() / 2], figures[figures.len() - 1]);
        println!("{load:36} {map:20} {median:7.1} ns  ({least:.1}..{most:.1})");
    }
}

fn overwriting(count: u64, rounds: usize) -> Result<Figures, Box<dyn Error>> {
    let mut arena = Arena::new(256 << 20)?;
    let moka: moka::sync::Cache<Key, Arc<[u8]>> = moka::sync::Cache::new(4 * count);
    let quick: quick_cache::sync::Cache<Key, Arc<[u8]>> = quick_cache::sync::Cache::new(4 * count as usize);
    let mut map: hashbrown::HashMap<Key, Box<[u8]>> = hashbrown::HashMap::new();
    let all: Vec<Key> = (0..count).map(key_of).collect();
    let mut random = 0x5eed_u64;
    let mut figures = Figures::new();
    // The first round stores what the others overwrite, and counts for nothing.
    for round in 0..=rounds {
        let mut drawn = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            key_of((random >> 11) % count)
        };
        let keys = if round == 0 { all.clone() } else { (0..WRITES).map(|_| drawn()).collect() };
        let mut unfit = 0;
        let took = [
            ("arena", time(&keys, |key| unfit += usize::from(arena.set(key, &VALUE, NEVER, 1).is_err()))),
            ("moka", time(&keys, |key| moka.insert(*key, black_box(VALUE).into()))),
            ("quick_cache", time(&keys, |key| quick.insert(*key, black_box(VALUE).into()))),
            ("HashMap of hashbrown", time(&keys, |key| drop(map.insert(*key, black_box(VALUE).into())))),
        ];
        assert_eq!((unfit, arena.stats().evictions), (0, 0));
        if round > 0 {
            took.into_iter().for_each(|(map, ns)| figures.entry(map).or_default().push(ns));
        }
    }
    Ok(figures)
}

fn evicting(rounds: usize) -> Result<Figures, Box<dyn Error>> {
    let mut arena = Arena::new(32 << 20)?;
    let quick: quick_cache::sync::Cache<Key, Arc<[u8]>> = quick_cache::sync::Cache::new(300_000);
    let mut figures = Figures::new();
    // The first round fills them.
    for round in 0..=rounds as u64 {
        let keys: Vec<Key> = (round * WRITES..(round + 1) * WRITES).map(key_of).collect();
        let mut unfit = 0;
        let took = [
            ("arena", time(&keys, |key| unfit += usize::from(arena.set(key, &VALUE, NEVER, 1).is_err()))),
            ("quick_cache", time(&keys, |key| quick.insert(*key, black_box(VALUE).into()))),
        ];
        assert_eq!((unfit, arena.stats().stalls), (0, 0));
        if round > 0 {
            took.into_iter().for_each(|(map, ns)| figures.entry(map).or_default().push(ns));
        }
    }
    Ok(figures)
}

/// Nanoseconds for each of these keys.
fn time(keys: &[Key], write: impl FnMut(&Key)) -> f64 {
    let start = processor_ns();
    keys.iter().for_each(write);
    (processor_ns() - start) as f64 / keys.len() as f64
}

/// The time that this thread has had a processor: others on the machine count less than by the wall clock.
fn processor_ns() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
