//! How often keys were asked for that are not held now: a count-min sketch of four bits, one line per key.

use crate::hash::Hash;
use crate::heat::HOTTEST;

const ROWS: usize = 4;

/// Words halved in one step of ageing, at most.
const AGEING_WORDS: usize = 64;

/// The counters, 16 in a word; a key has one in each quarter of its word.
#[derive(Debug)]
pub(crate) struct Sketch {
    words: Box<[u64]>,
    aged: usize,
}

impl Sketch {
    pub(crate) fn new(words: usize) -> Self {
        Self { words: vec![0; words.max(1)].into(), aged: 0 }
    }

    /// Counts an access and tells how many there have been, this one included.
    pub(crate) fn count(&mut self, hash: Hash) -> u8 {
        let (word, shifts) = self.place(hash);
        let word = &mut self.words[word];
        let before = least(*word, shifts);
        if before < HOTTEST {
            for shift in shifts {
                // Only the least counters move: what is larger was another key.
                if nibble(*word, shift) == before {
                    *word += 1 << shift;
                }
            }
        }
        (before + 1).min(HOTTEST)
    }

    /// Keeps in mind that a key was asked for so often.
    pub(crate) fn raise(&mut self, hash: Hash, count: u8) {
        let (word, shifts) = self.place(hash);
        let word = &mut self.words[word];
        for shift in shifts {
            let before = nibble(*word, shift);
            *word += u64::from(count.saturating_sub(before)) << shift;
        }
    }

    /// Halves the counters up to this word, a few at a time.
    pub(crate) fn age_to(&mut self, word: usize) {
        let end = word.min(self.words.len()).min(self.aged + AGEING_WORDS);
        for word in self.words.get_mut(self.aged..end).unwrap_or_default() {
            *word = *word >> 1 & 0x7777_7777_7777_7777;
        }
        self.aged = self.aged.max(end);
    }

    /// Begins to age from the first word again.
    pub(crate) fn next_epoch(&mut self) {
        self.aged = 0;
    }

    pub(crate) fn words(&self) -> usize {
        self.words.len()
    }

    fn place(&self, hash: Hash) -> (usize, [u32; ROWS]) {
        let mixed = (u64::from(hash.place) << 16 | u64::from(hash.tag)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let word = ((mixed >> 32) * self.words.len() as u64) >> 32;
        let within = mixed as u32;
        let shifts = [0, 1, 2, 3].map(|row| row * 16 + (within >> (8 + row * 2) & 3) * 4);
        (word as usize, shifts)
    }
}

fn nibble(word: u64, shift: u32) -> u8 {
    (word >> shift & 15) as u8
}

fn least(word: u64, shifts: [u32; ROWS]) -> u8 {
    shifts.into_iter().map(|shift| nibble(word, shift)).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Hash = Hash { place: 7, tag: 9 };

    #[test]
    fn it_counts_forgets_by_halves_and_never_overflows() {
        let mut sketch = Sketch::new(4);
        assert_eq!((1..=20).map(|_| sketch.count(A)).max(), Some(15));
        sketch.raise(A, 15);
        for _ in 0..2 {
            sketch.age_to(usize::MAX);
            sketch.age_to(usize::MAX);
            sketch.next_epoch();
        }
        assert_eq!(sketch.count(A), 4);
        sketch.raise(A, 9);
        sketch.raise(A, 3);
        assert_eq!(sketch.count(A), 10);
    }
}
