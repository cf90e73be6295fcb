//! Hit ratios at equal resident memory: the arena, moka, and exact LRU and LFU, on twelve workloads.
//!
//! Usage: `hits [MiB] [millions of requests] [policy] [part of a workload's name]`. Every policy gets the same requests: a read, and after a miss a
//! write. LRU and LFU are charged 28 bytes of bookkeeping an entry, as little as the arena; moka what its entries cost in
//! resident memory, measured. The last five workloads are those of `bench/cache --only hits`: all keys are stored once,
//! twice as many requests warm the memory up, and as many as there are keys count.

#[path = "support/keys.rs"]
mod keys;

use std::collections::{BTreeSet, HashMap};
use std::env;

use synapse_arena::arena::Arena;
use synapse_arena::entry::NEVER;

use keys::key_of;

/// What an entry of moka costs beside key and value, in bytes, as the engine charges it without its own index.
const MOKA_OVERHEAD: usize = 400;
const LEAN_OVERHEAD: usize = 28;

trait Policy {
    fn get(&mut self, key: u64) -> bool;
    fn set(&mut self, key: u64, size: usize);
}

struct Ours(Arena, Vec<u8>);

impl Policy for Ours {
    fn get(&mut self, key: u64) -> bool {
        let mut hit = false;
        self.0.get(&[key_of(key)], 1, |_, found| hit = found.is_some());
        hit
    }

    fn set(&mut self, key: u64, size: usize) {
        let _ = self.0.set(&key_of(key), &self.1[..size], NEVER, 1);
    }
}

struct Moka(moka::sync::Cache<u64, u32>);

impl Policy for Moka {
    fn get(&mut self, key: u64) -> bool {
        self.0.get(&key).is_some()
    }

    fn set(&mut self, key: u64, size: usize) {
        self.0.insert(key, (size + 16 + MOKA_OVERHEAD) as u32);
        self.0.run_pending_tasks();
    }
}

/// LRU when `by_count` is false; LFU (the oldest of the least asked for goes) when it is true.
struct Exact {
    by_count: bool,
    room: usize,
    clock: u64,
    held: HashMap<u64, (u64, u64, usize)>,
    order: BTreeSet<(u64, u64, u64)>,
}

impl Exact {
    fn new(by_count: bool, room: usize) -> Self {
        Self { by_count, room, clock: 0, held: HashMap::new(), order: BTreeSet::new() }
    }

    fn touch(&mut self, key: u64) -> bool {
        self.clock += 1;
        let Some((count, at, _)) = self.held.get_mut(&key) else { return false };
        self.order.remove(&(*count, *at, key));
        *count += u64::from(self.by_count);
        *at = self.clock;
        self.order.insert((*count, *at, key));
        true
    }
}

impl Policy for Exact {
    fn get(&mut self, key: u64) -> bool {
        self.touch(key)
    }

    fn set(&mut self, key: u64, size: usize) {
        let size = size + 16 + LEAN_OVERHEAD;
        while self.room < size {
            let Some((_, _, key)) = self.order.pop_first() else { return };
            if let Some((_, _, size)) = self.held.remove(&key) {
                self.room += size;
            }
        }
        self.room -= size;
        self.clock += 1;
        let count = u64::from(self.by_count);
        self.held.insert(key, (count, self.clock, size));
        self.order.insert((count, self.clock, key));
    }
}

/// A workload: the key of the request with this number.
struct Workload {
    name: &'static str,
    zipf: Zipf,
    kind: Kind,
    is_mixed: bool,
    is_filled: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    Zipf,
    /// A fifth of the requests go through keys that never come again.
    Scans,
    /// Every key has another one's popularity after each eighth of the requests.
    Moving,
    /// All keys in a row, again and again, half as many again as fit.
    Loop,
    /// Each fifth request is for a key that does not come again.
    Sprinkled,
    /// The favourites move on by one key after every 20 requests.
    Drifting,
}

/// Zipf by the inverse of its cumulative distribution, approximated by an integral: exact enough and fast.
#[derive(Clone, Copy)]
struct Zipf {
    keys: f64,
    exponent: f64,
}

impl Zipf {
    fn draw(&self, uniform: f64) -> u64 {
        let e = 1.0 - self.exponent;
        let total = ((self.keys + 0.5).powf(e) - 0.5_f64.powf(e)) / e;
        let x = (uniform * total * e + 0.5_f64.powf(e)).powf(1.0 / e);
        (x.round() as u64).clamp(1, self.keys as u64)
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Workload {
    fn size_of(&self, key: u64) -> usize {
        if !self.is_mixed {
            return 64;
        }
        // 10 B to 4 KiB, each power of two as often as the next.
        let mixed = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let power = mixed % 9;
        (8 << power) + (mixed / 9 % (8 << power)) as usize
    }

    fn run(&self, policy: &mut dyn Policy, requests: u64, fit: u64) -> f64 {
        let mut random = Random(0x1234_5678_9abc_def1);
        let (mut hits, mut asked, mut scanned) = (0_u64, 0_u64, 0_u64);
        let keys = self.zipf.keys as u64;
        // The first quarter fills the cache.
        let (requests, unasked) =
            if self.is_filled { (3 * keys, 2 * keys) } else { (requests, requests / 4) };
        for key in (0..keys).filter(|_| self.is_filled) {
            policy.set(key, self.size_of(key));
        }
        for n in 0..requests {
            let drawn = self.zipf.draw(random.uniform());
            let scatter = |rank: u64| rank.wrapping_mul(0x9e37_79b1) % 100_000_007;
            let key = match self.kind {
                Kind::Zipf if self.is_filled => drawn - 1,
                Kind::Zipf => scatter(drawn),
                Kind::Scans if n / 100_000 % 5 == 4 => {
                    scanned += 1;
                    1_000_000_000 + scanned
                }
                Kind::Scans => scatter(drawn),
                Kind::Moving => scatter(drawn + n / (requests / 8) * 10_007 * 31),
                Kind::Loop => n % (fit * 3 / 2),
                Kind::Sprinkled if random.uniform() < 0.2 => {
                    scanned += 1;
                    keys + scanned
                }
                Kind::Sprinkled => drawn - 1,
                Kind::Drifting => (drawn - 1 + n / 20) % keys,
            };
            let hit = policy.get(key);
            if !hit {
                policy.set(key, self.size_of(key));
            }
            if n >= unasked {
                asked += 1;
                hits += u64::from(hit);
            }
        }
        hits as f64 / asked as f64
    }
}

fn main() {
    let arg = |n: usize, default: f64| env::args().nth(n).and_then(|arg| arg.parse().ok()).unwrap_or(default);
    let bytes = (arg(1, 16.0) * 1048576.0) as usize;
    let requests = (arg(2, 10.0) * 1e6) as u64;
    let only = env::args().nth(3);
    let fit = bytes as u64 / 108;
    // As many keys as would take four times the memory, and more for flatter distributions.
    let zipf = |exponent| Zipf { keys: fit as f64 * 8.0, exponent };
    let workload = |name, exponent, kind| Workload {
        name,
        zipf: zipf(exponent),
        kind,
        is_mixed: false,
        is_filled: false,
    };
    let benched = |name, exponent, kind| {
        let zipf = Zipf { keys: bytes as f64 / 1048576.0 * 25_000.0, exponent };
        Workload { zipf, is_filled: true, ..workload(name, exponent, kind) }
    };
    let workloads = [
        workload("zipf 0.8", 0.8, Kind::Zipf),
        workload("zipf 0.99", 0.99, Kind::Zipf),
        workload("zipf 1.2", 1.2, Kind::Zipf),
        workload("zipf 0.99 with scans", 0.99, Kind::Scans),
        workload("moving popularity", 0.99, Kind::Moving),
        workload("loop", 0.99, Kind::Loop),
        Workload { is_mixed: true, ..workload("mixed sizes", 0.99, Kind::Zipf) },
        benched("bench: zipf 0.8", 0.8, Kind::Zipf),
        benched("bench: zipf 0.99", 0.99, Kind::Zipf),
        benched("bench: zipf 1.2", 1.2, Kind::Zipf),
        benched("bench: with scans", 0.99, Kind::Sprinkled),
        benched("bench: moving", 0.99, Kind::Drifting),
    ];
    println!("{:>22} {:>8} {:>8} {:>8} {:>8}", "", "arena", "moka", "LRU", "LFU");
    let part = env::args().nth(4).unwrap_or_default();
    for workload in workloads.iter().filter(|workload| workload.name.contains(&part)) {
        let mut line = format!("{:>22}", workload.name);
        for name in ["arena", "moka", "LRU", "LFU"] {
            if only.as_deref().is_some_and(|only| only != name) {
                continue;
            }
            let mut policy: Box<dyn Policy> = match name {
                "arena" => Box::new(Ours(Arena::on_heap(bytes).expect("large enough"), vec![7; 1 << 16])),
                "moka" => {
                    let weigher = |_: &u64, size: &u32| *size;
                    Box::new(Moka(
                        moka::sync::Cache::builder().weigher(weigher).max_capacity(bytes as u64).build(),
                    ))
                }
                _ => Box::new(Exact::new(name == "LFU", bytes)),
            };
            line += &format!(" {:>8.4}", workload.run(policy.as_mut(), requests, fit));
        }
        println!("{line}");
    }
}
