//! The memory tier of large objects: the least recently used go first, and what goes is free at once.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;
use synapse_core::clock::{Deadline, Now};
use synapse_core::memory::{Found, Kept, Memory, MemoryStats, Recalled, Stored};

/// What an entry costs beside its key and value, in bytes: its places in the orders of scans and of use, its handles.
pub const ENTRY_OVERHEAD_BYTES: usize = 400;

/// What a deadline costs beside that, in bytes: its place in the order of deadlines.
pub const DEADLINE_OVERHEAD_BYTES: usize = 80;

/// What the allocator rounds a size up by: at most this share, ...
const SLACK_SHARE: usize = 8;

/// ... and so many bytes: what is larger than a few pages has pages of its own, and those that nothing was written to cost
/// nothing.
pub const MOST_SLACK_BYTES: usize = 8 << 10;

/// A value is kept in the buffer in which it came unless more than this share of that is something else.
const WASTE_SHARE: usize = 8;

/// Entries that one [`Memory::tend`] looks at, at most.
const TEND_ENTRIES: usize = 1024;

/// How often an entry of this tier counts as asked for: its order of use does not tell.
const HEAT: u8 = 1;

/// A least-recently-used table of entries. Admission is not selective: what was just written can be read.
#[derive(Debug)]
pub struct LargeTier {
    /// By place: the order of a scan.
    slots: BTreeMap<Id, Slot>,
    /// The longest unused first.
    uses: BTreeMap<u64, Id>,
    deadlines: BTreeSet<(Deadline, Id)>,
    hasher: RandomState,
    /// Uses so far.
    used: u64,
    capacity_bytes: u64,
    bytes: u64,
    evictions: u64,
    expirations: u64,
}

/// The place of a key in the order of a scan, and the key.
type Id = (u64, Bytes);

#[derive(Debug, Clone)]
struct Slot {
    value: Bytes,
    /// Bytes of the buffer in which the value lies.
    held: usize,
    deadline: Deadline,
    weight: u64,
    /// Which use was its last.
    last_use: u64,
}

impl LargeTier {
    /// A tier that holds at most `capacity_bytes`, keys, values and bookkeeping together.
    pub fn new(capacity_bytes: u64) -> Self {
        Self {
            slots: BTreeMap::new(),
            uses: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            hasher: RandomState::new(),
            used: 0,
            capacity_bytes,
            bytes: 0,
            evictions: 0,
            expirations: 0,
        }
    }

    /// Where a key stands in the order of a scan: 48 bits, so that a cursor is exact even for clients that read it as a
    /// floating-point number; never 0, which is the cursor of the beginning and the end.
    fn place(&self, key: &[u8]) -> u64 {
        (self.hasher.hash_one(key) >> 16).max(1)
    }

    fn id(&self, key: &[u8]) -> Option<Id> {
        let place = self.place(key);
        let same_place = self.slots.range((place, Bytes::new())..).take_while(|((at, _), _)| *at == place);
        same_place.map(|(id, _)| id).find(|(_, held)| held == key).cloned()
    }

    /// What is alive, and now the last that was used.
    fn used(&mut self, key: &[u8], now: Now) -> Option<&mut Slot> {
        let id = self.id(key)?;
        let slot = self.slots.get_mut(&id).filter(|slot| !slot.deadline.is_past(now))?;
        self.used += 1;
        self.uses.remove(&slot.last_use);
        slot.last_use = self.used;
        self.uses.insert(self.used, id);
        Some(slot)
    }

    fn store(
        &mut self,
        key: &[u8],
        held: usize,
        value: impl FnOnce() -> Bytes,
        deadline: Deadline,
    ) -> Stored {
        // What its key had before is gone in any case, and before the new value is made.
        let before = self.id(key);
        if let Some(before) = &before {
            self.remove_id(before);
        }
        let id = before.unwrap_or_else(|| (self.place(key), Bytes::copy_from_slice(key)));
        let weight = weight(key.len(), held, deadline);
        if weight > self.capacity_bytes {
            return Stored::TooLarge;
        }
        while self.bytes + weight > self.capacity_bytes
            && let Some((_, oldest)) = self.uses.first_key_value()
        {
            let oldest = oldest.clone();
            self.remove_id(&oldest);
            self.evictions += 1;
        }
        self.used += 1;
        self.uses.insert(self.used, id.clone());
        if deadline != Deadline::NEVER {
            self.deadlines.insert((deadline, id.clone()));
        }
        self.bytes += weight;
        self.slots.insert(id, Slot { value: value(), held, deadline, weight, last_use: self.used });
        Stored::Kept
    }

    fn remove_id(&mut self, id: &Id) -> Option<Slot> {
        let slot = self.slots.remove(id)?;
        self.uses.remove(&slot.last_use);
        if slot.deadline != Deadline::NEVER {
            self.deadlines.remove(&(slot.deadline, id.clone()));
        }
        self.bytes -= slot.weight;
        Some(slot)
    }
}

// === impl Memory for LargeTier ===

impl Memory for LargeTier {
    fn get<K: AsRef<[u8]>>(&mut self, keys: &[K], now: Now, mut visit: impl FnMut(usize, Option<Found<'_>>)) {
        for (position, key) in keys.iter().enumerate() {
            let found = self.used(key.as_ref(), now).map(|slot| Found {
                value: &slot.value,
                handle: Some(&slot.value),
                deadline: slot.deadline,
            });
            visit(position, found);
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
        let Some(Slot { value, held, .. }) = self.used(key, now).cloned() else { return false };
        self.store(key, held, || value, deadline) == Stored::Kept
    }

    fn remove(&mut self, key: &[u8], now: Now) -> bool {
        let Some(id) = self.id(key) else { return false };
        self.remove_id(&id).is_some_and(|slot| !slot.deadline.is_past(now))
    }

    fn clear(&mut self) {
        self.slots.clear();
        self.uses.clear();
        self.deadlines.clear();
        self.bytes = 0;
    }

    fn scan(&mut self, cursor: u64, count: usize, now: Now, mut visit: impl FnMut(&[u8])) -> u64 {
        let mut last = None;
        for (visited, ((place, key), slot)) in self.slots.range((cursor, Bytes::new())..).enumerate() {
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
        let mut first = None;
        for ((place, key), Slot { value, deadline, .. }) in self.slots.range((cursor, Bytes::new())..) {
            // As in a scan, keys in the same place have one cursor between them.
            if *first.get_or_insert(*place) != *place {
                return *place;
            }
            if !deadline.is_past(now) {
                visit(Kept { key, value, deadline: *deadline, heat: HEAT });
            }
        }
        0
    }

    fn recall(&mut self, kept: Kept<'_>, now: Now) -> Recalled {
        let weight = weight(kept.key.len(), kept.value.len(), kept.deadline);
        if kept.deadline.is_past(now) || weight > self.capacity_bytes {
            return Recalled::Unfit;
        }
        if self.bytes + weight > self.capacity_bytes {
            return Recalled::Full;
        }
        match self.set(kept.key, kept.value, kept.deadline, now) {
            Stored::Kept => Recalled::Kept,
            Stored::TooLarge => Recalled::Unfit,
        }
    }

    fn tend(&mut self, now: Now) {
        for _ in 0..TEND_ENTRIES {
            let Some((_, id)) = self.deadlines.first().filter(|(deadline, _)| deadline.is_past(now)) else {
                return;
            };
            let id = id.clone();
            self.remove_id(&id);
            self.expirations += 1;
        }
    }

    fn stats(&self) -> MemoryStats {
        MemoryStats {
            entries: self.slots.len() as u64,
            bytes: self.bytes,
            capacity_bytes: self.capacity_bytes,
            evictions: self.evictions,
            expirations: self.expirations,
        }
    }
}

/// What an entry of this size is charged, in bytes. One that would be more than all of the budget is not held.
fn weight(key_len: usize, held: usize, deadline: Deadline) -> u64 {
    let ordered = if deadline == Deadline::NEVER { 0 } else { DEADLINE_OVERHEAD_BYTES };
    let bytes = key_len + held;
    (bytes + (bytes / SLACK_SHARE).min(MOST_SLACK_BYTES) + ENTRY_OVERHEAD_BYTES + ordered) as u64
}
