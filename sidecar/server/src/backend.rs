//! What stands behind the socket: memory alone, or memory before a Redis. It can change while clients are connected.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use bytes::Bytes;
use synapse_core::clock::{Clock, SystemClock};
use synapse_core::memory::MemoryStats;
use synapse_engine::arena_tier::ArenaTier;
use synapse_engine::near::{Near, NearStats};
use synapse_engine::store::{Lookups, Store};

use crate::budget::Budget;
use crate::rooms::Rooms;

/// The cache that the sessions of a server share.
#[derive(Debug)]
pub struct Backend {
    /// Its clock.
    pub(crate) clock: SystemClock,
    /// What keeps the entries.
    kind: RwLock<Arc<Kind>>,
    /// What the unfinished requests of all clients may hold together.
    pub(crate) unfinished: Arc<Budget>,
    /// Buffers for large requests.
    pub(crate) rooms: Arc<Rooms>,
}

/// What unfinished requests may hold together where nobody says otherwise (64 MiB).
const UNFINISHED_BYTES: usize = 64 << 20;

/// As many hits of readers count at a time: a boast must not make the counters run over.
const MOST_HITS: u64 = 1 << 32;

/// How often one [`Backend::tend`] has the memory tier tend, at most.
const MOST_TURNS: usize = 16;

/// The kinds of backend.
#[expect(clippy::large_enum_variant, reason = "there is one of them, behind an Arc")]
pub(crate) enum Kind {
    /// Memory is all there is.
    Memory(Mutex<Store<ArenaTier>>),
    /// Memory holds copies of what a Redis holds.
    Near(Near<ArenaTier, SystemClock>),
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
    /// A cache in `tier`, with nothing behind it. No entry lives for longer than `longest`.
    pub fn memory(clock: SystemClock, tier: ArenaTier, longest: Option<Duration>) -> Self {
        Self::of(clock, Kind::Memory(Mutex::new(Store::new(tier, longest))))
    }

    /// A near cache before a Redis.
    pub fn near(clock: SystemClock, near: Near<ArenaTier, SystemClock>) -> Self {
        Self::of(clock, Kind::Near(near))
    }

    fn of(clock: SystemClock, kind: Kind) -> Self {
        let rooms = Rooms::beside(kind.memory_stats().capacity_bytes);
        let unfinished = Budget::new(UNFINISHED_BYTES);
        Self { clock, kind: RwLock::new(Arc::new(kind)), unfinished, rooms }
    }

    /// Lets the unfinished requests of all clients hold `bytes` together, beyond what each of them may always hold: it
    /// comes on top of the capacity.
    #[must_use]
    pub fn with_unfinished(self, bytes: usize) -> Self {
        self.unfinished.set_most(bytes);
        self
    }

    /// Puts `other` in the place of what stands behind the socket. Sessions take it up with their next batch; what
    /// memory held is forgotten, and a session that watches keys is closed, since its watch cannot be kept.
    pub fn replace(&self, other: Self) {
        self.unfinished.set_most(other.unfinished.most());
        self.rooms.set_capacity(other.current().memory_stats().capacity_bytes);
        let mut kind = self.kind.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *kind, other.current());
        // A command that still waits for Redis holds on to the old memory. Its readers do not, and nobody is answered
        // from the new one before they know.
        match &*old {
            Kind::Memory(store) => lock(store).with_memory(|tier| tier.retire()),
            Kind::Near(near) => near.with_memory(|tier| tier.retire()),
        }
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
        let expirations = || kind.memory_stats().expirations;
        self.rooms.tend();
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

    /// The descriptor of the memory, for a reader; `None` where it is not shared.
    ///
    /// # Errors
    /// As [`ArenaTier::descriptor`].
    pub(crate) fn descriptor(&self) -> io::Result<Option<OwnedFd>> {
        match &*self.current() {
            Kind::Memory(store) => lock(store).with_memory(|tier| tier.descriptor()),
            Kind::Near(near) => near.with_memory(|tier| tier.descriptor()),
        }
    }

    /// Readers found so many keys in the memory; some of them are named.
    pub(crate) fn served(&self, hits: u64, sample: &[Bytes]) {
        let hits = hits.min(MOST_HITS);
        match &*self.current() {
            Kind::Memory(store) => lock(store).served(hits, sample),
            Kind::Near(near) => near.served(hits, sample),
        }
    }

    /// What stands behind the socket now.
    pub(crate) fn current(&self) -> Arc<Kind> {
        Arc::clone(&self.hold())
    }

    /// The same, which cannot be replaced until it is let go of.
    pub(crate) fn hold(&self) -> RwLockReadGuard<'_, Arc<Kind>> {
        self.kind.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kind {
    fn memory_stats(&self) -> MemoryStats {
        match self {
            Self::Memory(store) => lock(store).stats(),
            Self::Near(near) => near.memory_stats(),
        }
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
pub(crate) fn lock(store: &Mutex<Store<ArenaTier>>) -> MutexGuard<'_, Store<ArenaTier>> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use synapse_engine::command;

    use super::*;

    #[test]
    fn the_room_of_many_that_ended_together_is_taken_back_together() {
        let backend = Backend::memory(SystemClock::start(), ArenaTier::new(64 << 20).unwrap(), None);
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
