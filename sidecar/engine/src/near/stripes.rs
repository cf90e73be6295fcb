//! What has happened to keys lately, in a table of fixed size: keys that share a stripe share their history.

use std::hash::{BuildHasher, RandomState};

/// The table.
pub(crate) struct Stripes {
    stripes: Box<[Stripe]>,
    hasher: RandomState,
}

/// The history of the keys of one stripe, in sequence numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stripe {
    /// The last invalidation, or the last sending of a write.
    pub(crate) touched: u64,
    /// The last end of a write.
    pub(crate) settled: u64,
    /// Writes under way.
    pub(crate) pending: u32,
}

/// Stripes: 24 bytes each.
const STRIPES: usize = 1 << 14;

// === impl Stripes ===

impl Stripes {
    pub(crate) fn new() -> Self {
        Self { stripes: vec![Stripe::default(); STRIPES].into(), hasher: RandomState::new() }
    }

    /// The stripe of `key`.
    pub(crate) fn of(&mut self, key: &[u8]) -> &mut Stripe {
        let place = self.hasher.hash_one(key) as usize % STRIPES;
        &mut self.stripes[place]
    }
}
