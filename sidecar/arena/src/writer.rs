//! The writer's half of the protocol with readers: in which order the words of an entry and of a segment are stored.

use crate::cells::Cells;
use crate::entry::{HEADER_WORDS, Head, Tail};
use crate::layout::kind;
use crate::region::WORD;

/// Lets readers into a segment: what was stored in it before is seen by them.
pub fn begin(cells: &impl Cells, generation: usize, kind: u64) {
    let last = cells.load(generation) | kind::MASK;
    cells.store_release(generation, last.wrapping_add(1) | kind);
}

/// Shuts readers out of a segment to which no lane points any more: who copies something that is stored in it from now
/// on will see this too.
pub fn retire(cells: &impl Cells, generation: usize) {
    let last = cells.load(generation) | kind::MASK;
    cells.store(generation, last.wrapping_add(1));
    cells.fence_release();
}

/// Writes an entry where no lane points yet. Naming it is what makes it seen, with all its words.
#[inline]
pub fn write(cells: &impl Cells, at: usize, head: Head, deadline: u64, value: &[u8], key: &[u8]) {
    cells.store(at, head.pack());
    cells.store(at + 1, Tail { deadline, value_len: value.len() as u32 }.pack());
    write_bytes(cells, at + HEADER_WORDS, value, key);
}

/// Writes another value of the same key over an entry that readers may be copying. It takes as many words as before.
#[inline]
pub fn replace(cells: &impl Cells, at: usize, head: Head, deadline: u64, value: &[u8], key: &[u8]) {
    let during = Head { version: head.version | 1, ..head };
    cells.store(at, during.pack());
    // Whoever sees a word of the new value also sees that the version is odd.
    cells.fence_release();
    cells.store(at + 1, Tail { deadline, value_len: value.len() as u32 }.pack());
    write_bytes(cells, at + HEADER_WORDS, value, key);
    let after = Head { version: during.version.wrapping_add(1), ..head };
    cells.store_release(at, after.pack());
}

#[inline]
fn write_bytes(cells: &impl Cells, at: usize, value: &[u8], key: &[u8]) {
    let (whole, rest) = value.as_chunks::<WORD>();
    for (n, chunk) in whole.iter().enumerate() {
        cells.store(at + n, u64::from_le_bytes(*chunk));
    }
    let mut at = at + whole.len();
    let shift = rest.len() * 8;
    let mut pending = partial(rest);
    let (whole, rest) = key.as_chunks::<WORD>();
    for chunk in whole {
        let word = u64::from_le_bytes(*chunk);
        cells.store(at, pending | word << shift);
        pending = if shift == 0 { 0 } else { word >> (64 - shift) };
        at += 1;
    }
    let word = partial(rest);
    let bits = shift + rest.len() * 8;
    if bits > 0 {
        cells.store(at, pending | word << shift);
    }
    if bits > 64 {
        cells.store(at + 1, word >> (64 - shift));
    }
}

fn partial(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cells::Owned;
    use crate::entry::slot_words;
    use crate::region::Region;

    proptest! {
        #[test]
        fn an_entry_is_its_value_and_then_its_key(
            value in prop::collection::vec(any::<u8>(), 0..40),
            key in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let region = Region::heap(32);
            region.store(1 + slot_words(key.len(), value.len()), 77);
            let head = Head { version: 0, heat: 0, key_len: key.len() as u16, place: 5 };
            write(&region, 1, head, 9, &value, &key);
            prop_assert_eq!(region.bytes(3, 0, value.len()), &value[..]);
            prop_assert_eq!(region.bytes(3, value.len(), key.len()), &key[..]);
            let other: Vec<u8> = value.iter().map(|byte| !byte).collect();
            replace(&region, 1, head, 10, &other, &key);
            prop_assert_eq!(region.bytes(3, 0, value.len()), &other[..]);
            prop_assert_eq!(Head::unpack(region.load(1)).version, 2);
            prop_assert_eq!(region.load(1 + slot_words(key.len(), value.len())), 77);
        }
    }
}
