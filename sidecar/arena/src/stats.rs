//! The figures of an arena.

use crate::arena::Arena;
use crate::cells::Owned;
use crate::region::WORD;
use crate::segments::Segments;

/// Figures, all since the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Entries held, those included whose deadline has passed but whose room was not yet taken back.
    pub entries: u64,
    /// Bytes of these entries: headers, values and keys, filled up to words.
    pub entry_bytes: u64,
    /// Bytes of the index.
    pub index_bytes: u64,
    /// Bytes that are resident: all pages ever stored to and not given back, with the bookkeeping beside them.
    pub resident_bytes: u64,
    /// The most that may be resident, in bytes.
    pub capacity_bytes: u64,
    /// Entries dropped to make room.
    pub evictions: u64,
    /// Entries dropped because their deadline had passed.
    pub expirations: u64,
    /// Entries among these that had to go because all buckets that could have named them were full.
    pub crowded_out: u64,
    /// Times that a write found no room prepared and had to make it at once.
    pub stalls: u64,
    /// The most lines and entries that one operation touched; see [`crate::upkeep::MAX_WORK`].
    pub most_work: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) entries: u64,
    pub(crate) live_words: u64,
    pub(crate) evictions: u64,
    pub(crate) expirations: u64,
    pub(crate) crowded_out: u64,
    pub(crate) stalls: u64,
    pub(crate) most_work: u32,
    /// Entries looked at in this operation, beside the index.
    pub(crate) work: u32,
    pub(crate) capacity_bytes: u64,
}

impl<C: Owned> Arena<C> {
    /// The figures.
    pub fn stats(&self) -> Stats {
        let counts = &self.counts;
        Stats {
            entries: counts.entries,
            entry_bytes: counts.live_words * WORD as u64,
            index_bytes: self.index.bytes() as u64,
            resident_bytes: self.resident_bytes(self.segments.resident()) as u64,
            capacity_bytes: counts.capacity_bytes,
            evictions: counts.evictions,
            expirations: counts.expirations,
            crowded_out: counts.crowded_out,
            stalls: counts.stalls,
            most_work: counts.most_work,
        }
    }

    pub(crate) fn resident_bytes(&self, segments: usize) -> usize {
        self.plan.start(0) * WORD
            + segments * self.plan.segment_words * WORD
            + Segments::bookkeeping_bytes(self.segments.len())
            + self.ghosts.words() * WORD
    }
}
