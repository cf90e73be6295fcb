//! What the arena promises of itself, measured: bytes of bookkeeping, and the most work that one operation made.
//!
//! Usage: `bounds [--json FILE] [--short]`. Keys of 16 bytes. Work is counted in lines and entries touched, as
//! `synapse_arena::upkeep` does; debug builds assert the bound at every operation.

#[path = "support/keys.rs"]
mod keys;

use std::env;
use std::error::Error;
use std::ops::RangeInclusive;

use synapse_arena::arena::Arena;
use synapse_arena::entry::{HEADER_WORDS, NEVER, slot_words};
use synapse_arena::layout::BUCKET_WORDS;
use synapse_arena::region::WORD;
use synapse_arena::upkeep::{MAX_WORK, WORK_PER_LINE};

use keys::key_of;

const MIB: usize = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let is_short = words.iter().any(|word| word == "--short");
    let mut bookkeeping = Vec::new();
    for mib in if is_short { vec![16] } else { vec![16, 64, 256] } {
        let each = bookkeeping_of(mib)?;
        println!("{mib:4} MiB full of 16 + 64 bytes: {each:.1} bytes of bookkeeping an entry");
        bookkeeping.push(format!(r#"{{"mib":{mib},"bytes":{each:.2}}}"#));
    }
    let rounding = rounding();
    println!("{rounding:.1} bytes of rounding an entry, values of 10 to 200 bytes");
    let mut work = Vec::new();
    for (least, most) in [(64, 64), (10, 1 << 10), (10, 4 << 10)] {
        let (found, bound) = work_of(least..=most, if is_short { 100_000 } else { 5_000_000 })?;
        println!("values of {least} to {most} bytes: {found} lines and entries at most, {bound} allowed");
        work.push(format!(r#"{{"least":{least},"most":{most},"work":{found},"bound":{bound}}}"#));
    }
    if let Some(path) = words.iter().position(|word| word == "--json").and_then(|at| words.get(at + 1)) {
        let (bookkeeping, work) = (bookkeeping.join(","), work.join(","));
        std::fs::write(
            path,
            format!(r#"{{"bookkeeping":[{bookkeeping}],"rounding":{rounding:.2},"work":[{work}]}}"#),
        )?;
    }
    Ok(())
}

/// Bytes of the capacity for each entry beside its key and value, index and all included, once entries have to go.
fn bookkeeping_of(mib: usize) -> Result<f64, Box<dyn Error>> {
    let mut arena = Arena::on_heap(mib * MIB)?;
    let mut n = 0;
    while arena.stats().evictions == arena.stats().crowded_out {
        arena.set(&key_of(n), &[7; 64], NEVER, 1)?;
        n += 1;
    }
    let stats = arena.stats();
    Ok(stats.capacity_bytes as f64 / stats.entries as f64 - 80.0)
}

/// Bytes by which entries are filled up to words, on average.
fn rounding() -> f64 {
    let lost = |value: usize| (slot_words(16, value) - HEADER_WORDS) * WORD - 16 - value;
    (10..=200).map(lost).sum::<usize>() as f64 / 191.0
}

/// The most work of one write into a full cache, and what the largest of them may make.
fn work_of(sizes: RangeInclusive<usize>, writes: u64) -> Result<(u32, u32), Box<dyn Error>> {
    let mut arena = Arena::on_heap(64 * MIB)?;
    let value = vec![7; *sizes.end()];
    let mut random = 0x5eed_u64;
    for _ in 0..writes {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let size = sizes.start() + (random >> 32) as usize % (sizes.end() - sizes.start() + 1);
        arena.set(&key_of(random % 1_000_003), &value[..size], NEVER, 1)?;
    }
    let lines = slot_words(16, *sizes.end()).div_ceil(BUCKET_WORDS) as u32;
    let stats = arena.stats();
    assert_eq!(stats.stalls, 0, "{stats:?}");
    Ok((stats.most_work, MAX_WORK + lines * WORK_PER_LINE))
}
