//! What stands behind the socket: memory alone, or memory before a Redis. It can change while clients are connected.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use synapse_core::clock::{Clock, SystemClock};
use synapse_core::memory::MemoryStats;
use synapse_engine::moka_tier::MokaTier;
use synapse_engine::near::{Near, NearStats};
use synapse_engine::store::{Lookups, Store};

/// The cache that the sessions of a server share.
#[derive(Debug)]
pub struct Backend {
    /// Its clock.
    pub(crate) clock: SystemClock,
    /// What keeps the entries.
    kind: RwLock<Arc<Kind>>,
}

/// How often one [`Backend::tend`] has the memory tier tend, at most.
const MOST_TURNS: usize = 16;

/// The kinds of backend.
pub(crate) enum Kind {
    /// Memory is all there is.
    Memory(Mutex<Store<MokaTier>>),
    /// Memory holds copies of what a Redis holds.
    Near(Near<MokaTier, SystemClock>),
}

/// Figures of a backend.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Of its memory.
    pub memory: MemoryStats,
    /// Of the near cache, where there is a Redis.
    pub near: Option<NearStats>,
    /// Of the reads, where memory is all there is.
    pub lookups: Lookups,
}

impl Figures {
    /// Keys answered from memory.
    pub fn hits(&self) -> u64 {
        self.near.map_or(self.lookups.hits, |near| near.hits)
    }

    /// Keys that memory did not hold.
    pub fn misses(&self) -> u64 {
        self.near.map_or(self.lookups.misses, |near| near.misses)
    }
}

impl Backend {
    /// A cache of `capacity_bytes` in memory, with nothing behind it. No entry lives for longer than `longest`.
    pub fn memory(clock: SystemClock, capacity_bytes: u64, longest: Option<Duration>) -> Self {
        let store = Mutex::new(Store::new(MokaTier::new(capacity_bytes), longest));
        Self { clock, kind: RwLock::new(Arc::new(Kind::Memory(store))) }
    }

    /// A near cache before a Redis.
    pub fn near(clock: SystemClock, near: Near<MokaTier, SystemClock>) -> Self {
        Self { clock, kind: RwLock::new(Arc::new(Kind::Near(near))) }
    }

    /// Puts `other` in the place of what stands behind the socket. Sessions take it up with their next batch; what
    /// memory held is forgotten, and a session that watches keys is closed, since its watch cannot be kept.
    pub fn replace(&self, other: Self) {
        *self.kind.write().unwrap_or_else(PoisonError::into_inner) = other.current();
    }

    /// The figures as they are now.
    pub fn figures(&self) -> Figures {
        match &*self.current() {
            Kind::Memory(store) => {
                let store = lock(store);
                Figures { memory: store.stats(), near: None, lookups: store.lookups() }
            }
            Kind::Near(near) => {
                let (memory, near) = (near.memory_stats(), Some(near.stats()));
                Figures { memory, near, lookups: Lookups::default() }
            }
        }
    }

    /// Whether everything behind the socket is reached; memory alone always is. The socket answers all the same.
    ///
    /// # Errors
    /// Why Redis is not connected; holds no secret.
    pub fn health(&self) -> Result<(), String> {
        match &*self.current() {
            Kind::Memory(_) => Ok(()),
            Kind::Near(near) => near.health(),
        }
    }

    /// Takes back the room of expired entries; bounded work, to be called now and then.
    pub fn tend(&self) {
        let kind = self.current();
        let expirations = || match &*kind {
            Kind::Memory(store) => lock(store).stats().expirations,
            Kind::Near(near) => near.memory_stats().expirations,
        };
        for _ in 0..MOST_TURNS {
            let before = expirations();
            // Others have their turn with the store in between.
            match &*kind {
                Kind::Memory(store) => lock(store).tend(self.clock.now()),
                Kind::Near(near) => near.tend(),
            }
            if expirations() == before {
                return;
            }
        }
    }

    /// What stands behind the socket now.
    pub(crate) fn current(&self) -> Arc<Kind> {
        Arc::clone(&self.kind.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory(_) => "Memory",
            Self::Near(_) => "Near",
        })
    }
}

/// The store, for the length of a batch and never across an await. A panic in a command leaves at worst that command
/// half done, as an error in the middle of MSET would: the store stays usable.
pub(crate) fn lock(store: &Mutex<Store<MokaTier>>) -> MutexGuard<'_, Store<MokaTier>> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use synapse_engine::command;

    use super::*;

    #[test]
    fn the_room_of_many_that_ended_together_is_taken_back_together() {
        let backend = Backend::memory(SystemClock::start(), 64 << 20, None);
        let kind = backend.current();
        let Kind::Memory(store) = &*kind else { panic!("memory alone") };
        let psetex = command::find(b"psetex").unwrap();
        for key in 0..3_000 {
            let args = [Bytes::from("PSETEX"), Bytes::from(key.to_string()), "1".into(), "v".into()];
            lock(store).run(psetex, &args, backend.clock.now());
        }
        std::thread::sleep(Duration::from_millis(5));
        backend.tend();
        assert_eq!(backend.figures().memory.entries, 0);
    }
}
