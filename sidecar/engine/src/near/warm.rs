//! Copies before anyone asks for them: keys that an earlier process held are asked of the store.
//!
//! They take the way of a read: what was changed or written meanwhile, or is announced as changed before the answer is
//! here, does not become a copy.

use bytes::Bytes;
use synapse_core::clock::Clock;
use synapse_core::memory::Memory;
use synapse_core::remote::Fetched;

use super::Near;

/// A key, and how often it was asked for lately.
pub type Name = (Bytes, u8);

/// What became of [`Near::warm`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warmed {
    /// The store was asked, and held so many of them.
    Asked(usize),
    /// As [`Warmed::Asked`], and others had to go for them: memory is full.
    Full,
    /// The store was not reached, or does not announce changes yet.
    Away,
}

impl<M: Memory, C: Clock> Near<M, C> {
    /// Asks the store for `names` in one round trip and lets memory have copies of what it holds, as hot as they were.
    /// It is the caller's part to ask for few at a time.
    pub async fn warm(&self, names: &[Name]) -> Warmed {
        let (is_armed, _) = self.copies.feed();
        if !is_armed {
            return Warmed::Away;
        }
        let before = self.memory_stats().evictions;
        let ticket = self.copies.reading();
        let fetching = self.remote.fetch(names.iter().map(|(key, _)| key.clone()).collect());
        let Ok(fetched) = fetching.await else { return Warmed::Away };
        for ((key, _), fetched) in names.iter().zip(&fetched) {
            self.copies.fill(key, fetched, ticket);
        }
        let kept = fetched.iter().filter(|fetched| matches!(fetched, Fetched::Value(..))).count();
        self.copies.with_memory(|memory| {
            for (key, heat) in names {
                // Being stored counts as one.
                memory.touched(key, heat.saturating_sub(1));
            }
        });
        if self.memory_stats().evictions > before { Warmed::Full } else { Warmed::Asked(kept) }
    }
}
