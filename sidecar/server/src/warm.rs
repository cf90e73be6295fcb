//! What a backend hands to the process after it, and takes from the one before it.

use synapse_core::clock::Clock;
use synapse_core::memory::{Kept, Memory, Recalled};
use synapse_engine::near::warm::{Name, Warmed};

use crate::backend::{Backend, Kind, lock};

impl Backend {
    /// Whether memory is all there is: then its entries are worth keeping. Of copies, only the names are.
    pub fn is_truth(&self) -> bool {
        matches!(&*self.current(), Kind::Memory(_))
    }

    /// Visits some of what memory holds, the hottest first; see [`Memory::hottest`]. For a backend that nobody uses any
    /// more.
    pub fn hottest(&self, cursor: u64, visit: impl FnMut(Kept<'_>)) -> u64 {
        let now = self.clock.now();
        match &*self.current() {
            Kind::Memory(store) => lock(store).with_memory(|tier| tier.hottest(cursor, now, visit)),
            Kind::Near(near) => near.with_memory(|tier| tier.hottest(cursor, now, visit)),
        }
    }

    /// Takes up an entry of an earlier process, where memory is all there is; see [`Memory::recall`]. For a backend that
    /// nobody uses yet.
    pub fn recall(&self, kept: Kept<'_>) -> Recalled {
        match &*self.current() {
            Kind::Memory(store) => lock(store).recall(kept, self.clock.now()),
            Kind::Near(_) => Recalled::Unfit,
        }
    }

    /// Drops everything that memory holds.
    pub fn forget_all(&self) {
        match &*self.current() {
            Kind::Memory(store) => lock(store).with_memory(Memory::clear),
            Kind::Near(near) => near.with_memory(Memory::clear),
        }
    }

    /// Asks the store behind the memory for keys that an earlier process held; see
    /// [`synapse_engine::near::Near::warm`]. `None` where memory is all there is, and nobody can be asked.
    pub async fn warm(&self, names: &[Name]) -> Option<Warmed> {
        match &*self.current() {
            Kind::Memory(_) => None,
            Kind::Near(near) => Some(near.warm(names).await),
        }
    }
}
