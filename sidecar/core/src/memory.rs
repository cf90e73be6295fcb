//! The port to the memory tier: synchronous, keys in, answers visited where they lie.

use bytes::Bytes;

use crate::clock::{Deadline, Now};

/// An entry as it lies in memory, lent for the length of one visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// The value.
    pub value: &'a [u8],
    /// The value as a handle, where the tier keeps it as one: a clone costs no copy, and outlives the entry.
    pub handle: Option<&'a Bytes>,
    /// Until when the entry may be served.
    pub deadline: Deadline,
}

impl Found<'_> {
    /// The value, to be kept beyond the visit.
    pub fn to_bytes(&self) -> Bytes {
        self.handle.cloned().unwrap_or_else(|| Bytes::copy_from_slice(self.value))
    }
}

/// What became of a [`Memory::set`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Stored {
    /// The entry is in memory and the next read finds it.
    Kept,
    /// The entry alone is larger than the budget. Nothing is held under its key now, not even what was before.
    TooLarge,
}

/// An entry with what a memory knows of it: what another one needs to keep it just so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// Until when the entry may be served.
    pub deadline: Deadline,
    /// How often it was asked for lately, by the measure of the tier.
    pub heat: u8,
}

/// What became of a [`Memory::recall`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Recalled {
    /// The entry is in memory.
    Kept,
    /// It is over, or this tier can never hold it.
    Unfit,
    /// There is no room left but that of entries which were asked for more often.
    Full,
}

/// Figures of a memory tier, all since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// Entries held, those included whose deadline has passed but whose room was not yet taken back.
    pub entries: u64,
    /// Bytes held: keys, values and bookkeeping.
    pub bytes: u64,
    /// The most that may be held, in bytes.
    pub capacity_bytes: u64,
    /// Entries dropped to make room.
    pub evictions: u64,
    /// Entries dropped because their deadline had passed.
    pub expirations: u64,
}

/// How long readers outside of this process may trust the memory without another word of its owner, in milliseconds:
/// an owner that was killed, or stands still, can invalidate nothing. Renewed with each [`Memory::tend`].
pub const LEASE_MS: u64 = 500;

/// A bounded table of bytes with a deadline for each entry.
///
/// Exclusive access (`&mut self`) is the contract: whoever owns the tier decides how callers take turns, so an
/// implementation needs no lock of its own. Nothing here waits or does I/O. An implementation copies what it keeps, but
/// for a value that is handed to [`Memory::keep`]: a key or value may be a slice of a large buffer.
pub trait Memory: Send + 'static {
    /// Looks up `keys` and calls `visit` once for each, in order, with its position and what is alive at `now`.
    fn get<K: AsRef<[u8]>>(&mut self, keys: &[K], now: Now, visit: impl FnMut(usize, Option<Found<'_>>));

    /// Stores an entry; value and deadline both replace whatever the key had. May drop other entries for room.
    fn set(&mut self, key: &[u8], value: &[u8], deadline: Deadline, now: Now) -> Stored;

    /// As [`Memory::set`] for each of these keys and its value, in order, with a deadline for all; calls `visit` once for
    /// each.
    fn set_many<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        entries: (&[K], &[V]),
        deadline: Deadline,
        now: Now,
        mut visit: impl FnMut(Stored),
    ) {
        for (key, value) in entries.0.iter().zip(entries.1) {
            visit(self.set(key.as_ref(), value.as_ref(), deadline, now));
        }
    }

    /// As [`Memory::set`], for a value that lies in a buffer of `held` bytes with little else: it may be kept as it is,
    /// and then all of them count. 0 is for one that lies in a buffer of others.
    fn keep(&mut self, key: &[u8], value: &Bytes, _held: usize, deadline: Deadline, now: Now) -> Stored {
        self.set(key, value, deadline, now)
    }

    /// Gives a living entry another deadline and leaves its value; false when none is alive at `now`.
    fn expire(&mut self, key: &[u8], deadline: Deadline, now: Now) -> bool;

    /// Drops the entry; true when one was alive at `now`.
    fn remove(&mut self, key: &[u8], now: Now) -> bool;

    /// Drops every entry.
    fn clear(&mut self);

    /// Visits about `count` keys alive at `now`, from `cursor` (0 at first), and returns the next cursor, 0 at the
    /// end. A key that is held from the first call to the last is visited at least once.
    fn scan(&mut self, cursor: u64, count: usize, now: Now, visit: impl FnMut(&[u8])) -> u64;

    /// Visits some of the entries alive at `now`, from `cursor` (0 at first), and returns the next cursor, 0 at the end:
    /// the less often an entry was asked for, the later it comes. For a tier that nobody writes to meanwhile; a tier that
    /// has no measure visits nothing.
    fn hottest(&mut self, _cursor: u64, _now: Now, _visit: impl FnMut(Kept<'_>)) -> u64 {
        0
    }

    /// Takes up an entry that another tier visited in [`Memory::hottest`], as hot as it was there. For a tier that
    /// holds nothing else yet, the hottest first.
    fn recall(&mut self, kept: Kept<'_>, now: Now) -> Recalled {
        match self.set(kept.key, kept.value, kept.deadline, now) {
            Stored::Kept => Recalled::Kept,
            Stored::TooLarge => Recalled::Unfit,
        }
    }

    /// Takes back the room of some entries whose deadline has passed; bounded work, to be called now and then.
    fn tend(&mut self, now: Now);

    /// The figures of the tier.
    fn stats(&self) -> MemoryStats;

    /// Tells readers outside of this process, where the tier has any, the last monotonic millisecond at which they may
    /// trust what they find.
    fn lease(&mut self, _until_ms: u64) {}

    /// Readers outside of this process found the key so many times.
    fn touched(&mut self, _key: &[u8], _times: u8) {}
}
