//! How often keys were asked for that had to go: four of them in a word, each by twelve bits of its hash and its count.

use crate::hash::Hash;
use crate::heat::HOTTEST;

/// Words aged in one step, at most.
const AGEING_WORDS: usize = 64;

const COUNT: u16 = HOTTEST as u16;
const TAG_SHIFT: u32 = COUNT.count_ones();

/// Four keys, the one that went last first; 0 where there is none.
type Word = [u16; 4];

/// Keys that are not held any more.
#[derive(Debug)]
pub(crate) struct Ghosts {
    words: Box<[Word]>,
    aged: usize,
}

impl Ghosts {
    pub(crate) fn new(words: usize) -> Self {
        const { assert!(size_of::<Word>() == crate::region::WORD) };
        Self { words: vec![[0; 4]; words.max(1)].into(), aged: 0 }
    }

    /// How often a key had been asked for before it went, 0 if that is not known. It is held again, hence no ghost.
    pub(crate) fn recall(&mut self, hash: Hash) -> u8 {
        let (word, tag) = self.place(hash);
        let Some(at) = word.iter().position(|ghost| ghost & COUNT > 0 && ghost >> TAG_SHIFT == tag) else {
            return 0;
        };
        let count = (word[at] & COUNT) as u8;
        word[at..].rotate_left(1);
        word[3] = 0;
        count
    }

    /// Keeps in mind that a key that goes was asked for so often. Another ghost makes room: the one that was asked for
    /// least, of several the one that went first.
    pub(crate) fn remember(&mut self, hash: Hash, count: u8) {
        if count == 0 {
            return;
        }
        let (word, tag) = self.place(hash);
        let least = (0..word.len()).rev().min_by_key(|n| word[*n] & COUNT).unwrap_or(0);
        word[..=least].rotate_right(1);
        word[0] = tag << TAG_SHIFT | u16::from(count.min(HOTTEST));
    }

    /// Halves the counts up to this word, a few at a time. Who comes to 0 is forgotten.
    pub(crate) fn age_to(&mut self, word: usize) {
        let end = word.min(self.words.len()).min(self.aged + AGEING_WORDS);
        for ghost in self.words.get_mut(self.aged..end).unwrap_or_default().as_flattened_mut() {
            *ghost = *ghost & !COUNT | (*ghost & COUNT) >> 1;
        }
        self.aged = self.aged.max(end);
    }

    /// Begins to age from the first word again.
    pub(crate) fn age_again(&mut self) {
        self.aged = 0;
    }

    pub(crate) fn words(&self) -> usize {
        self.words.len()
    }

    fn place(&mut self, hash: Hash) -> (&mut Word, u16) {
        let mixed = (u64::from(hash.place) << 16 | u64::from(hash.tag)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let word = ((mixed >> 32) * self.words.len() as u64) >> 32;
        (&mut self.words[word as usize], mixed as u32 as u16 >> TAG_SHIFT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u16) -> Hash {
        Hash { place: 7, tag: n }
    }

    #[test]
    fn what_went_is_recalled_once() {
        let mut ghosts = Ghosts::new(1);
        for (tag, count) in [(1, 3), (2, 40), (3, 0)] {
            ghosts.remember(hash(tag), count);
        }
        assert_eq!([1, 2, 3, 4].map(|tag| ghosts.recall(hash(tag))), [3, HOTTEST, 0, 0]);
        assert_eq!([1, 2].map(|tag| ghosts.recall(hash(tag))), [0, 0]);
    }

    #[test]
    fn the_least_asked_for_is_forgotten_and_of_several_the_oldest() {
        let mut ghosts = Ghosts::new(1);
        for (tag, count) in [(1, 2), (2, 1), (3, 1), (4, 5), (5, 1)] {
            ghosts.remember(hash(tag), count);
        }
        assert_eq!([1, 2, 3, 4, 5].map(|tag| ghosts.recall(hash(tag))), [2, 0, 1, 5, 1]);
    }

    #[test]
    fn counts_are_halved_down_to_nothing() {
        let mut ghosts = Ghosts::new(200);
        ghosts.remember(hash(1), 5);
        ghosts.remember(hash(2), 1);
        for _ in 0..4 {
            ghosts.age_to(usize::MAX);
        }
        assert_eq!(
            [1, 2].map(|tag| ghosts.recall(hash(tag))),
            [2, 0],
            "once each, however often it is asked"
        );
        ghosts.remember(hash(1), 2);
        ghosts.age_again();
        ghosts.age_to(200);
        ghosts.age_to(200);
        ghosts.age_to(200);
        ghosts.age_to(200);
        assert_eq!(ghosts.recall(hash(1)), 1);
    }
}
