//! What is hunted for: values that tell whether they are whole and whose they are, and a writer that never rests.

use synapse_arena::arena::Arena;
use synapse_arena::cells::{Cells, Owned};
use synapse_arena::entry::NEVER;
use synapse_arena::reader::{Look, Reader};

/// How many keys are overwritten, and read: so few that readers often meet the writer at one.
pub(crate) const KEYS: u64 = 8;
/// Bytes of the longest value: copying it takes long enough to be interrupted.
const LONGEST: usize = 1900;

/// What readers have met.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Bag {
    /// Values that were found.
    pub(crate) hits: u64,
    /// How often a look-up was begun again, for whatever reason.
    pub(crate) retries: u64,
    /// Copies that were thrown away because the memory had changed meanwhile.
    pub(crate) discarded: u64,
    /// Values that are not one value of their key.
    pub(crate) torn: u64,
}

/// A value of this key, all of its words alike.
fn tell(key: u64, mark: u64, len: usize, value: &mut Vec<u8>) {
    value.clear();
    // Bit 31 is where a header has the highest bit of a key's length: no value can pass for one.
    let word = (key << 48 | mark & 0x7fff_ffff | 1 << 31).to_le_bytes();
    while value.len() < len.max(8) {
        value.extend_from_slice(&word);
    }
}

fn is_whole(key: u64, value: &[u8]) -> bool {
    let mut words = value.chunks_exact(8);
    let first = words.next().expect("at least one word");
    first[6..] == (key as u16).to_le_bytes() && words.all(|word| word == first)
}

/// Overwrites the same keys again and again, in place and elsewhere, and drives everything else out; returns how often.
pub(crate) fn storm<C: Owned>(arena: &mut Arena<C>, is_over: impl Fn() -> bool) -> u64 {
    let (mut mark, mut value, mut other) = (0_u64, Vec::new(), 0_u64);
    while !is_over() {
        for _ in 0..1000 {
            mark += 1;
            let key = mark.wrapping_mul(0x9e37_79b9) >> 7 & (KEYS - 1);
            // Half of the time as long as before.
            let len = 8 + (key as usize * 240 + (mark as usize / 4096 % 2) * 8) % LONGEST;
            tell(key, mark, len, &mut value);
            let _ = arena.set(&key.to_le_bytes(), &value, NEVER, 1);
            if mark % 4 == 0 {
                other += 1;
                tell(other % KEYS + KEYS, mark, LONGEST, &mut value);
                let _ = arena.set(format!("other:{}", other % 5000).as_bytes(), &value, NEVER, 1);
            }
            if mark % 65_536 == 0 {
                arena.clear();
            }
        }
    }
    mark
}

/// Reads every key so many times.
pub(crate) fn hunt<C: Cells>(reader: &mut Reader<C>, rounds: usize, bag: &mut Bag) {
    let mut copy = Vec::new();
    for key in (0..KEYS).cycle().take(rounds * KEYS as usize) {
        if let Look::Hit { .. } = reader.get(&key.to_le_bytes(), 1, &mut copy) {
            bag.hits += 1;
            bag.torn += u64::from(!is_whole(key, &copy));
        }
    }
    bag.retries = reader.retries();
}
