//! Nanoseconds for a read and a write, bytes of bookkeeping, and resident memory: the arena beside moka, quick_cache and
//! a plain map, in one run, alternating.
//!
//! Usage: `speed [rounds] [writes of shifting sizes]`. Keys of 16 bytes, values of 64, keys drawn uniformly
//! where it does not say otherwise.

use std::collections::BTreeMap;
use std::env;
use std::hint::black_box;

use synapse_arena::arena::Arena;
use synapse_arena::entry::NEVER;
use synapse_arena::reader::Reader;

const VALUE: [u8; 64] = [7; 64];
const BATCH: usize = 16;

type Key = [u8; 16];

fn key_of(n: u64) -> Key {
    let mut key = *b"key:000000000000";
    let mut rest = n;
    for byte in key[4..].iter_mut().rev() {
        *byte = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    /// Below `bound`, and the smaller the likelier: zipf with an exponent close to 1.
    fn zipf(&mut self, bound: u64) -> u64 {
        let uniform = self.below(1 << 53) as f64 / (1_u64 << 53) as f64;
        // Neighbours in popularity are not neighbours in memory.
        ((bound as f64).powf(uniform) as u64).wrapping_mul(0x9e37_79b1) % bound
    }
}

/// The time that this thread has had a processor: others on the machine count less than by the wall clock.
fn processor_ns() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Nanoseconds for each of the keys.
fn time(keys: usize, work: impl FnOnce()) -> f64 {
    let start = processor_ns();
    work();
    (processor_ns() - start) as f64 / keys as f64
}

fn main() {
    let rounds = env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(5);
    for count in [1_000_u64, 100_000, 1_000_000] {
        let mut figures: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        compare(count, rounds, &mut |name, figure| figures.entry(name).or_default().push(figure));
        println!("{count} keys, ns of processor time an operation, median of {rounds} rounds (least..most)");
        for (name, mut figures) in figures {
            figures.sort_by(f64::total_cmp);
            println!(
                "  {name:32} {:8.1}  ({:.1}..{:.1})",
                figures[figures.len() / 2],
                figures[0],
                figures[figures.len() - 1]
            );
        }
    }
    bookkeeping();
    residency(env::args().nth(2).and_then(|arg| arg.parse().ok()).unwrap_or(10_000_000));
}

fn compare(count: u64, rounds: usize, note: &mut impl FnMut(&'static str, f64)) {
    let mut arena = Arena::new(256 << 20).expect("a memfd");
    let moka: moka::sync::Cache<Key, std::sync::Arc<[u8]>> = moka::sync::Cache::new(4 * count);
    let quick: quick_cache::sync::Cache<Key, std::sync::Arc<[u8]>> =
        quick_cache::sync::Cache::new(4 * count as usize);
    let mut map: hashbrown::HashMap<Key, Box<[u8]>> = hashbrown::HashMap::new();
    for n in 0..count {
        let key = key_of(n);
        arena.set(&key, &VALUE, NEVER, 1).expect("it fits");
        moka.insert(key, VALUE.into());
        quick.insert(key, VALUE.into());
        map.insert(key, VALUE.into());
    }
    let fd = arena.share().expect("seals").expect("a memfd").try_clone_to_owned().expect("a descriptor");
    let mut reader = Reader::open(std::os::fd::AsFd::as_fd(&fd)).expect("an arena");
    let mut random = Random(0x5eed);
    for _ in 0..rounds {
        let keys: Vec<Key> = (0..400_000).map(|_| key_of(random.below(count))).collect();
        let len = keys.len();
        let mut out = Vec::with_capacity(1 << 20);
        let mut found = 0;
        let ns = time(len, || {
            for batch in keys.chunks(BATCH) {
                out.clear();
                arena.get(batch, 1, |_, entry| {
                    if let Some(entry) = entry {
                        out.extend_from_slice(entry.value);
                        found += 1;
                    }
                });
            }
        });
        note("get arena, 16 at once", ns);
        let ns = time(len, || {
            for key in &keys {
                out.clear();
                arena.get(&[key], 1, |_, entry| {
                    entry.into_iter().for_each(|entry| out.extend_from_slice(entry.value))
                });
            }
        });
        note("get arena, one at a time", ns);
        let ns = time(len, || {
            for key in &keys {
                black_box(reader.get(key, 1, &mut out));
            }
        });
        note("get arena, as a reader", ns);
        let ns = time(len, || {
            for key in &keys {
                out.clear();
                moka.get(key).into_iter().for_each(|value| out.extend_from_slice(&value));
            }
        });
        note("get moka", ns);
        let ns = time(len, || {
            for key in &keys {
                out.clear();
                quick.get(key).into_iter().for_each(|value| out.extend_from_slice(&value));
            }
        });
        note("get quick_cache", ns);
        let ns = time(len, || {
            for key in &keys {
                out.clear();
                map.get(key).into_iter().for_each(|value| out.extend_from_slice(value));
            }
        });
        note("get hashbrown", ns);
        let popular: Vec<Key> = (0..len).map(|_| key_of(random.zipf(count))).collect();
        let ns = time(len, || {
            for key in &popular {
                black_box(reader.get(key, 1, &mut out));
            }
        });
        note("get arena, as a reader, zipf", ns);
        let ns = time(len, || {
            for key in &popular {
                out.clear();
                map.get(key).into_iter().for_each(|value| out.extend_from_slice(value));
            }
        });
        note("get hashbrown, zipf", ns);
        // Each key is known only when the value before it has been read: no look-up begins before the last one ended.
        let after = |n: usize, value: &[u8]| n + usize::from(value.first().map_or(0, |byte| byte ^ VALUE[0]));
        let ns = time(len, || {
            for n in 0..len {
                let key = &keys[after(n, &out)];
                black_box(reader.get(key, 1, &mut out));
            }
        });
        note("get arena, as a reader, in turn", ns);
        let ns = time(len, || {
            for n in 0..len {
                let key = &keys[after(n, &out)];
                out.clear();
                map.get(key).into_iter().for_each(|value| out.extend_from_slice(value));
            }
        });
        note("get hashbrown, in turn", ns);
        let ns = time(len, || {
            for n in 0..len {
                let key = &keys[after(n, &out)];
                out.clear();
                quick.get(key).into_iter().for_each(|value| out.extend_from_slice(&value));
            }
        });
        note("get quick_cache, in turn", ns);
        let ns = time(len, || {
            for key in &keys {
                arena.set(key, black_box(&VALUE), NEVER, 1).expect("it fits");
            }
        });
        note("set arena", ns);
        note(
            "set moka",
            time(len, || keys.iter().for_each(|key| moka.insert(*key, black_box(VALUE).into()))),
        );
        note(
            "set quick_cache",
            time(len, || keys.iter().for_each(|key| quick.insert(*key, black_box(VALUE).into()))),
        );
        let ns = time(len, || {
            for key in &keys {
                map.insert(*key, black_box(VALUE).into());
            }
        });
        note("set hashbrown", ns);
        assert!(found > len * 99 / 100, "{found} of {len} found");
    }
    evicting(rounds, note);
}

/// Writes of keys that are not there, into a cache that is full.
fn evicting(rounds: usize, note: &mut impl FnMut(&'static str, f64)) {
    let mut arena = Arena::new(32 << 20).expect("a memfd");
    let quick: quick_cache::sync::Cache<u64, std::sync::Arc<[u8]>> = quick_cache::sync::Cache::new(300_000);
    let mut next = 0;
    for round in 0..=rounds {
        let fresh: Vec<u64> = (0..400_000).map(|n| next + n).collect();
        next += fresh.len() as u64;
        let ours = time(fresh.len(), || {
            for n in &fresh {
                arena.set(&key_of(*n), &VALUE, NEVER, 1).expect("it fits");
            }
        });
        let theirs = time(fresh.len(), || fresh.iter().for_each(|n| quick.insert(*n, VALUE.into())));
        if round > 0 {
            note("set arena, new key, full", ours);
            note("set quick_cache, new key, full", theirs);
        }
    }
    assert_eq!(arena.stats().stalls, 0);
}

/// Bytes of resident memory for each entry beside its key and value, when the cache is full.
fn bookkeeping() {
    println!("bookkeeping, bytes an entry of 16 + 64, all included, at the moment the cache is full");
    for mib in [16, 64, 256] {
        let mut arena = Arena::on_heap(mib << 20).expect("large enough");
        let mut n = 0;
        while arena.stats().evictions - arena.stats().crowded_out == 0 {
            arena.set(&key_of(n), &VALUE, NEVER, 1).expect("it fits");
            n += 1;
        }
        let stats = arena.stats();
        let each = |bytes: u64| bytes as f64 / stats.entries as f64;
        println!(
            "  {mib:4} MiB: {:.1} of resident, {:.1} of capacity; index {:.1}, header 16; {} of {n} crowded out",
            each(stats.resident_bytes) - 80.0,
            each(stats.capacity_bytes) - 80.0,
            each(stats.index_bytes),
            stats.crowded_out,
        );
    }
}

/// What the kernel says is resident, after the sizes of values have shifted for a long time.
fn residency(writes: u64) {
    let before = resident_bytes();
    let capacity = 64 << 20;
    let mut arena = Arena::new(capacity).expect("a memfd");
    let mut random = Random(77);
    let largest = (arena.largest_entry() - 16) as u64;
    let value = vec![7; largest as usize];
    for n in 0..writes {
        let size = match n / (writes / 20) % 5 {
            0 => 10,
            1 => random.below(200),
            2 => random.below(largest),
            3 => 1 << random.below(13),
            _ => 600,
        };
        arena
            .set(&key_of(random.below(2_000_000)), &value[..size.min(largest) as usize], NEVER, 1)
            .expect("it fits");
    }
    let resident = resident_bytes() - before;
    let stats = arena.stats();
    println!(
        "after {writes} writes of shifting sizes: {resident} bytes resident, {:.3} of capacity; by its own account {:.3}; {} stalls",
        resident as f64 / capacity as f64,
        stats.resident_bytes as f64 / capacity as f64,
        stats.stalls
    );
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number of pages") * 4096
}
