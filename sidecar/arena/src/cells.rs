//! Memory as both sides see it: words that are loaded and stored one at a time.

use crate::region::WORD;

/// Words of 64 bits, shared between one writer and any number of readers. Positions are counted in words.
///
/// Everything that goes through here is atomic, so a reader that races with the writer sees old or new words, never
/// undefined behaviour; which words belong together is the protocol's business ([`crate::reader`]).
pub trait Cells {
    /// How many words there are.
    fn words(&self) -> usize;

    /// Loads a word, in no order.
    fn load(&self, at: usize) -> u64;

    /// Loads a word; what its writer did before [`Cells::store_release`] is seen afterwards.
    fn load_acquire(&self, at: usize) -> u64;

    /// Stores a word, in no order.
    fn store(&self, at: usize, word: u64);

    /// Stores a word after everything that was stored before.
    fn store_release(&self, at: usize, word: u64);

    /// Copies words, in no order, into as many times the bytes of one.
    fn copy(&self, at: usize, to: &mut [[u8; WORD]]) {
        for (n, chunk) in to.iter_mut().enumerate() {
            *chunk = self.load(at + n).to_le_bytes();
        }
    }

    /// Whether these bytes begin `skip` bytes (less than a word) after the beginning of the word `at`. Words are loaded in
    /// no order, and none beyond the last byte.
    fn holds(&self, at: usize, skip: usize, bytes: &[u8]) -> bool {
        let words = (skip + bytes.len()).div_ceil(WORD);
        let load = |n: usize| if n < words { self.load(at + n) } else { 0 };
        let (low, high) = (8 * skip as u32, 63 - 8 * skip as u32);
        let mut here = load(0);
        let mut difference = 0;
        let (whole, rest) = bytes.as_chunks::<WORD>();
        for (n, chunk) in whole.iter().enumerate() {
            let next = load(n + 1);
            // Shifted twice: by 64, which is no shift, when nothing is skipped.
            difference |= (here >> low | next << high << 1) ^ u64::from_le_bytes(*chunk);
            here = next;
        }
        if !rest.is_empty() {
            let mut last = [0; WORD];
            last[..rest.len()].copy_from_slice(rest);
            let there = here >> low | load(whole.len() + 1) << high << 1;
            let unused = 8 * (WORD - rest.len()) as u32;
            difference |= (there ^ u64::from_le_bytes(last)) << unused;
        }
        difference == 0
    }

    /// No load from before is taken for one from after.
    fn fence_acquire(&self);

    /// No store from after is seen without the stores from before.
    fn fence_release(&self);
}

/// Memory as its owner sees it.
pub trait Owned: Cells {
    /// `len` bytes, `skip` bytes after the beginning of the word `at`.
    ///
    /// They must not be stored to while the slice lives. The arena keeps to that by lending it only from `&mut self`
    /// and storing to nothing but headers and index lines until it has been given back.
    fn bytes(&self, at: usize, skip: usize, len: usize) -> &[u8];

    /// Asks the processor to fetch the line of a word.
    fn prefetch(&self, at: usize);

    /// Gives the pages of these words back to the kernel; they read as 0 afterwards. False when they stay.
    fn release(&self, at: usize, words: usize) -> bool;

    /// These words, of no use or given back before, are used from now on, as the last of `resident` words: once those are
    /// worth their while, larger pages are asked for where the kernel has them. Fewer entries in the processor's tables find
    /// more memory then.
    fn occupy(&self, at: usize, words: usize, resident: usize) {
        let _ = (at, words, resident);
    }
}
