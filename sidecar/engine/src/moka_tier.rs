//! The memory tier on moka: its table and its recency order, with exact bytes, deadlines and scan order beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use synapse_core::clock::{Deadline, Now};
use synapse_core::memory::{Found, Kept, Memory, MemoryStats, Recalled, Stored};

/// What an entry costs beside its key and value, in bytes: moka's bookkeeping and the index. Measured as resident
/// memory of 400,000 entries.
pub const ENTRY_OVERHEAD_BYTES: usize = 560;

/// What a deadline costs beside that, in bytes: its place in the order of deadlines.
pub const DEADLINE_OVERHEAD_BYTES: usize = 80;

/// An allocator rounds sizes up, by this share at most, ...
const SLACK_SHARE: usize = 8;

/// ... and by so many bytes at most: what is larger takes whole pages.
pub const MOST_SLACK_BYTES: usize = 64 << 10;

/// A value is kept in the buffer in which it came unless more than this share of that is something else.
const WASTE_SHARE: usize = 8;

/// Entries that one [`Memory::tend`] looks at, at most.
const TEND_ENTRIES: usize = 1024;

/// How often an entry of this tier counts as asked for: its order of use does not tell.
const HEAT: u8 = 1;

/// moka evicts in arrears; after this share of the budget was written, it is made to catch up.
const CATCH_UP_SHARE: u64 = 64;

/// A least-recently-used table of entries. Admission is not selective: what was just written can be read.
#[derive(Debug)]
pub struct MokaTier {
    table: Cache<Bytes, Entry, RandomState>,
    index: Arc<Mutex<Index>>,
    hasher: RandomState,
    capacity_bytes: u64,
    written_since_catch_up: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    value: Bytes,
    /// Bytes of the buffer in which the value lies.
    held: usize,
    deadline: Deadline,
}

impl MokaTier {
    /// A tier that holds at most `capacity_bytes`, keys, values and bookkeeping together.
    pub fn new(capacity_bytes: u64) -> Self {
        let hasher = RandomState::new();
        let index = Arc::new(Mutex::new(Index::default()));
        let (on_evict, evict_hasher) = (Arc::clone(&index), hasher.clone());
        let table = Cache::builder()
            .max_capacity(capacity_bytes)
            .eviction_policy(EvictionPolicy::lru())
            .weigher(|key: &Bytes, entry: &Entry| {
                u32::try_from(weight(key.len(), entry.held, entry.deadline)).unwrap_or(u32::MAX)
            })
            .eviction_listener(move |key: Arc<Bytes>, _, cause| {
                if cause.was_evicted() {
                    let mut index = lock(&on_evict);
                    if index.remove(place(&evict_hasher, &key), &key).is_some() {
                        index.evictions += 1;
                    }
                }
            })
            .build_with_hasher(hasher.clone());
        Self { table, index, hasher, capacity_bytes, written_since_catch_up: 0 }
    }

    fn insert(&mut self, key: Bytes, entry: Entry) {
        let weight = weight(key.len(), entry.held, entry.deadline);
        lock(&self.index).upsert(place(&self.hasher, &key), &key, entry.deadline, weight);
        self.table.insert(key, entry);
        self.written_since_catch_up += weight;
        if self.written_since_catch_up > self.capacity_bytes / CATCH_UP_SHARE {
            self.table.run_pending_tasks();
            self.written_since_catch_up = 0;
        }
    }

    fn store(
        &mut self,
        key: &[u8],
        held: usize,
        value: impl FnOnce() -> Bytes,
        deadline: Deadline,
    ) -> Stored {
        if weight(key.len(), held, deadline) > self.capacity_bytes {
            self.forget(key);
            return Stored::TooLarge;
        }
        self.insert(Bytes::copy_from_slice(key), Entry { value: value(), held, deadline });
        Stored::Kept
    }

    fn forget(&mut self, key: &[u8]) -> Option<Slot> {
        let slot = lock(&self.index).remove(place(&self.hasher, key), key)?;
        self.table.invalidate(key);
        Some(slot)
    }
}

// === impl Memory for MokaTier ===

impl Memory for MokaTier {
    fn get<K: AsRef<[u8]>>(&mut self, keys: &[K], now: Now, mut visit: impl FnMut(usize, Option<Found<'_>>)) {
        for (position, key) in keys.iter().enumerate() {
            match self.table.get(key.as_ref()) {
                Some(entry) if !entry.deadline.is_past(now) => {
                    let handle = Some(&entry.value);
                    visit(position, Some(Found { value: &entry.value, handle, deadline: entry.deadline }));
                }
                _ => visit(position, None),
            }
        }
    }

    fn set(&mut self, key: &[u8], value: &[u8], deadline: Deadline, _now: Now) -> Stored {
        self.store(key, value.len(), || Bytes::copy_from_slice(value), deadline)
    }

    fn keep(&mut self, key: &[u8], value: &Bytes, held: usize, deadline: Deadline, now: Now) -> Stored {
        let wasted = held.saturating_sub(value.len());
        let fits = weight(key.len(), held, deadline) <= self.capacity_bytes;
        match held > 0 && wasted <= held / WASTE_SHARE && fits {
            true => self.store(key, held.max(value.len()), || value.clone(), deadline),
            false => self.set(key, value, deadline, now),
        }
    }

    fn expire(&mut self, key: &[u8], deadline: Deadline, now: Now) -> bool {
        match self.table.get(key) {
            Some(entry) if !entry.deadline.is_past(now) => {
                self.insert(Bytes::copy_from_slice(key), Entry { deadline, ..entry });
                true
            }
            _ => false,
        }
    }

    fn remove(&mut self, key: &[u8], now: Now) -> bool {
        self.forget(key).is_some_and(|slot| !slot.deadline.is_past(now))
    }

    fn clear(&mut self) {
        self.table.invalidate_all();
        self.table.run_pending_tasks();
        lock(&self.index).clear();
    }

    fn scan(&mut self, cursor: u64, count: usize, now: Now, mut visit: impl FnMut(&[u8])) -> u64 {
        let index = lock(&self.index);
        let mut last = None;
        for (visited, ((place, key), slot)) in index.slots.range((cursor, Bytes::new())..).enumerate() {
            // Keys in the same place have one cursor between them: they are visited together.
            if visited >= count && last != Some(*place) {
                return *place;
            }
            last = Some(*place);
            if !slot.deadline.is_past(now) {
                visit(key);
            }
        }
        0
    }

    fn hottest(&mut self, cursor: u64, now: Now, mut visit: impl FnMut(Kept<'_>)) -> u64 {
        let (keys, next) = lock(&self.index).next_place(cursor);
        for key in keys {
            if let Some(Entry { value, deadline, .. }) =
                self.table.get(&key).filter(|entry| !entry.deadline.is_past(now))
            {
                visit(Kept { key: &key, value: &value, deadline, heat: HEAT });
            }
        }
        next
    }

    fn recall(&mut self, kept: Kept<'_>, now: Now) -> Recalled {
        let weight = weight(kept.key.len(), kept.value.len(), kept.deadline);
        if kept.deadline.is_past(now) || weight > self.capacity_bytes {
            return Recalled::Unfit;
        }
        if lock(&self.index).bytes + weight > self.capacity_bytes {
            return Recalled::Full;
        }
        match self.set(kept.key, kept.value, kept.deadline, now) {
            Stored::Kept => Recalled::Kept,
            Stored::TooLarge => Recalled::Unfit,
        }
    }

    fn tend(&mut self, now: Now) {
        for _ in 0..TEND_ENTRIES {
            let due = lock(&self.index).first_past(now);
            let Some(key) = due else { break };
            self.forget(&key);
            lock(&self.index).expirations += 1;
        }
        // What was dropped keeps its memory until then.
        self.table.run_pending_tasks();
    }

    fn stats(&self) -> MemoryStats {
        let index = lock(&self.index);
        MemoryStats {
            entries: index.slots.len() as u64,
            bytes: index.bytes,
            capacity_bytes: self.capacity_bytes,
            evictions: index.evictions,
            expirations: index.expirations,
        }
    }
}

// === Index ===

/// What moka does not keep: the order of a scan, the order of deadlines, and the sum of bytes.
#[derive(Debug, Default)]
struct Index {
    slots: BTreeMap<(u64, Bytes), Slot>,
    deadlines: BTreeSet<(Deadline, Bytes)>,
    bytes: u64,
    evictions: u64,
    expirations: u64,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    deadline: Deadline,
    weight: u64,
}

impl Index {
    fn upsert(&mut self, place: u64, key: &Bytes, deadline: Deadline, weight: u64) {
        if let Some(old) = self.slots.insert((place, key.clone()), Slot { deadline, weight }) {
            self.release(key, old);
        }
        self.bytes += weight;
        if deadline != Deadline::NEVER {
            self.deadlines.insert((deadline, key.clone()));
        }
    }

    fn remove(&mut self, place: u64, key: &[u8]) -> Option<Slot> {
        let same_place = self.slots.range((place, Bytes::new())..).take_while(|((at, _), _)| *at == place);
        let (id, _) = same_place.map(|(id, slot)| (id.clone(), slot)).find(|((_, held), _)| held == key)?;
        let slot = self.slots.remove(&id)?;
        self.release(&id.1, slot);
        Some(slot)
    }

    fn release(&mut self, key: &Bytes, slot: Slot) {
        self.bytes -= slot.weight;
        if slot.deadline != Deadline::NEVER {
            self.deadlines.remove(&(slot.deadline, key.clone()));
        }
    }

    /// The keys at the first place from `cursor` on, and the place after it, 0 at the end.
    fn next_place(&self, cursor: u64) -> (Vec<Bytes>, u64) {
        let mut from =
            self.slots.range((cursor, Bytes::new())..).map(|((place, key), _)| (*place, key)).peekable();
        let Some((place, _)) = from.peek().copied() else { return (Vec::new(), 0) };
        let mut keys = Vec::new();
        while let Some((_, key)) = from.next_if(|(at, _)| *at == place) {
            keys.push(key.clone());
        }
        (keys, from.next().map_or(0, |(next, _)| next))
    }

    fn first_past(&self, now: Now) -> Option<Bytes> {
        let (deadline, key) = self.deadlines.first()?;
        deadline.is_past(now).then(|| key.clone())
    }

    fn clear(&mut self) {
        self.slots.clear();
        self.deadlines.clear();
        self.bytes = 0;
    }
}

/// Where a key stands in the order of a scan: 48 bits, so that a cursor is exact even for clients that read it as a
/// floating-point number; never 0, which is the cursor of the beginning and the end.
fn place(hasher: &RandomState, key: &[u8]) -> u64 {
    (hasher.hash_one(key) >> 16).max(1)
}

fn weight(key_len: usize, held: usize, deadline: Deadline) -> u64 {
    let ordered = if deadline == Deadline::NEVER { 0 } else { DEADLINE_OVERHEAD_BYTES };
    let bytes = key_len + held;
    (bytes + (bytes / SLACK_SHARE).min(MOST_SLACK_BYTES) + ENTRY_OVERHEAD_BYTES + ordered) as u64
}

/// The index stays usable after a panic elsewhere: each change of it is complete before anything can fail.
fn lock(index: &Mutex<Index>) -> MutexGuard<'_, Index> {
    index.lock().unwrap_or_else(PoisonError::into_inner)
}
