//! The memory tier on the arena, and beside it what is too large for it; one budget covers both.

use std::io;
use std::os::fd::OwnedFd;

use bytes::Bytes;
use synapse_arena::arena::{Arena, BATCH, Unfit};
use synapse_arena::entry::{MAX_DEADLINE, NEVER};
use synapse_arena::recall::{self, UNASKED};
use synapse_core::clock::{Deadline, Now};
use synapse_core::memory::{Found, Kept, LEASE_MS, Memory, MemoryStats, Recalled, Stored};

use crate::large_tier::LargeTier;

/// The most that large objects may take of the budget: one part in so many.
const LARGE_SHARE: u64 = 2;

/// What they have once the memory is shared, and can no longer change hands: one part in so many.
const LARGE_SHARE_WHEN_SHARED: u64 = 8;

/// What an entry of the arena costs in the index, in bytes: ten to a line, of which two thirds and more are taken.
const INDEX_BYTES: u64 = 9;

/// Cursors from here on are of the large objects.
const LARGE_CURSOR: u64 = 1 << 48;

/// Small objects in the arena, large ones beside it. What one of them does not use is the other's, until the memory is
/// shared with readers: then the kernel takes no page back, and the border stays where it is.
#[derive(Debug)]
pub struct ArenaTier {
    arena: Arena,
    large: LargeTier,
    /// Bytes of large objects when the arena was last told what is left for it.
    reserved_bytes: u64,
    capacity_bytes: u64,
    is_shared: bool,
}

impl ArenaTier {
    /// A tier whose resident memory is at most `capacity_bytes`.
    ///
    /// # Errors
    /// `InvalidInput` below [`synapse_arena::arena::SMALLEST_CAPACITY`], and what the kernel says.
    pub fn new(capacity_bytes: u64) -> io::Result<Self> {
        Ok(Self::over(Arena::private(bytes_of(capacity_bytes))?, capacity_bytes))
    }

    /// A tier that readers in other processes may map, who tell time by `origin_ns`, the beginning of millisecond 1 in
    /// nanoseconds of CLOCK_BOOTTIME. What large objects may have is settled from the beginning. Where the kernel gives no
    /// memory that can be shared, the tier is not [`ArenaTier::is_shared`].
    ///
    /// # Errors
    /// `InvalidInput` below [`synapse_arena::arena::SMALLEST_CAPACITY`], and what the kernel says to the seals.
    pub fn shared(capacity_bytes: u64, origin_ns: u64, now: Now) -> io::Result<Self> {
        let mut tier = Self::over(Arena::new(bytes_of(capacity_bytes))?, capacity_bytes);
        tier.arena.set_clock(origin_ns);
        tier.arena.set_lease(now.mono_ms + LEASE_MS);
        tier.is_shared = tier.arena.share()?.is_some();
        if tier.is_shared {
            let reserved = capacity_bytes / LARGE_SHARE_WHEN_SHARED;
            tier.large = LargeTier::new(reserved);
            tier.leave(reserved, now);
        }
        Ok(tier)
    }

    fn over(arena: Arena, capacity_bytes: u64) -> Self {
        let large = LargeTier::new(capacity_bytes / LARGE_SHARE);
        Self { arena, large, reserved_bytes: 0, capacity_bytes, is_shared: false }
    }

    /// Whether readers may map the memory.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// What a reader maps, once the memory is shared: sealed, so that it can only be read.
    ///
    /// # Errors
    /// When no descriptor is left to be had.
    pub fn descriptor(&self) -> io::Result<Option<OwnedFd>> {
        // Asking the arena seals its memory, and then no page goes back.
        match self.is_shared {
            true => self.arena.share()?.map(|fd| fd.try_clone_to_owned()).transpose(),
            false => Ok(None),
        }
    }

    /// Tells readers that the memory is of no use to them any more, though it may still be in use here.
    pub fn retire(&self) {
        self.arena.retire();
    }

    fn recall_large(&mut self, kept: Kept<'_>, now: Now) -> Recalled {
        let before = self.arena.stats().evictions;
        let recalled = match self.large.recall(kept, now) {
            // What is smaller may fit all the same.
            Recalled::Full => Recalled::Unfit,
            recalled => recalled,
        };
        self.balance(now);
        if self.arena.stats().evictions > before { Recalled::Full } else { recalled }
    }

    /// Lets the arena have what large objects do not.
    fn balance(&mut self, now: Now) {
        let large = self.large.stats().bytes;
        if !self.is_shared && large != self.reserved_bytes {
            self.leave(large, now);
        }
    }

    fn leave(&mut self, bytes: u64, now: Now) {
        self.reserved_bytes = bytes;
        let rest = usize::try_from(self.capacity_bytes - bytes).unwrap_or(usize::MAX);
        self.arena.resize(rest, now.mono_ms);
    }

    /// Stores an entry in the arena; false when it is too large for it.
    fn fits(&mut self, key: &[u8], value: &[u8], deadline: Deadline, now: Now) -> bool {
        let stored = self.arena.set(key, value, deadline.mono_ms().unwrap_or(NEVER), now.mono_ms);
        self.is_small(stored, key, now)
    }

    /// Whether the arena has stored it: then no large object has its key.
    #[inline]
    fn is_small(&mut self, stored: Result<(), Unfit>, key: &[u8], now: Now) -> bool {
        if stored.is_ok() && self.has_large() {
            self.large.remove(key, now);
        }
        stored.is_ok()
    }

    fn set_large(&mut self, key: &[u8], value: &[u8], deadline: Deadline, now: Now) -> Stored {
        let stored = self.large.set(key, value, deadline, now);
        self.balance(now);
        stored
    }

    fn has_large(&self) -> bool {
        self.reserved_bytes > 0 && self.large.stats().entries > 0
    }
}

// === impl Memory for ArenaTier ===

impl Memory for ArenaTier {
    fn get<K: AsRef<[u8]>>(&mut self, keys: &[K], now: Now, mut visit: impl FnMut(usize, Option<Found<'_>>)) {
        let has_large = self.has_large();
        let large = &mut self.large;
        self.arena.get(keys, now.mono_ms, |position, found| match found {
            Some(found) => {
                let deadline = deadline_of(found.deadline);
                visit(position, Some(Found { value: found.value, handle: None, deadline }));
            }
            None if has_large => {
                large.get(&keys[position..=position], now, |_, found| visit(position, found))
            }
            None => visit(position, None),
        });
    }

    fn set_many<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        entries: (&[K], &[V]),
        deadline: Deadline,
        now: Now,
        mut visit: impl FnMut(Stored),
    ) {
        let mono_ms = deadline.mono_ms().unwrap_or(NEVER);
        let (keys, values) = (entries.0.chunks(BATCH), entries.1.chunks(BATCH));
        for (keys, values) in keys.zip(values) {
            let ahead = self.arena.ahead(keys);
            for (n, (key, value)) in keys.iter().zip(values).enumerate() {
                let (key, value) = (key.as_ref(), value.as_ref());
                let stored = self.arena.set_ahead(&ahead, n, key, value, mono_ms, now.mono_ms);
                visit(if self.is_small(stored, key, now) {
                    Stored::Kept
                } else {
                    self.set_large(key, value, deadline, now)
                });
            }
        }
    }

    fn set(&mut self, key: &[u8], value: &[u8], deadline: Deadline, now: Now) -> Stored {
        if self.fits(key, value, deadline, now) {
            return Stored::Kept;
        }
        self.set_large(key, value, deadline, now)
    }

    fn keep(&mut self, key: &[u8], value: &Bytes, held: usize, deadline: Deadline, now: Now) -> Stored {
        if self.fits(key, value, deadline, now) {
            return Stored::Kept;
        }
        let stored = self.large.keep(key, value, held, deadline, now);
        self.balance(now);
        stored
    }

    fn expire(&mut self, key: &[u8], deadline: Deadline, now: Now) -> bool {
        let mono_ms = deadline.mono_ms().unwrap_or(NEVER);
        if mono_ms <= MAX_DEADLINE || mono_ms == NEVER {
            return self.arena.expire(key, mono_ms, now.mono_ms)
                || (self.has_large() && self.large.expire(key, deadline, now));
        }
        // Further than the arena can count: the entry moves.
        let mut value = None;
        self.get(&[key], now, |_, found| value = found.map(|found| found.value.to_vec()));
        value.is_some_and(|value| self.set(key, &value, deadline, now) == Stored::Kept)
    }

    fn remove(&mut self, key: &[u8], now: Now) -> bool {
        let was_small = self.arena.remove(key, now.mono_ms);
        let was_large = self.has_large() && self.large.remove(key, now);
        was_small || was_large
    }

    fn clear(&mut self) {
        self.arena.clear();
        self.large.clear();
    }

    fn scan(&mut self, cursor: u64, count: usize, now: Now, mut visit: impl FnMut(&[u8])) -> u64 {
        let mut left = count;
        if cursor < LARGE_CURSOR {
            let next = self.arena.scan(cursor, count, now.mono_ms, |key, _| {
                left = left.saturating_sub(1);
                visit(key);
            });
            if next != 0 || !self.has_large() {
                return next;
            }
            if left == 0 {
                return LARGE_CURSOR;
            }
        }
        let next = self.large.scan(cursor.saturating_sub(LARGE_CURSOR), left, now, visit);
        if next == 0 { 0 } else { LARGE_CURSOR + next }
    }

    /// Large objects come behind what was asked for lately, and before what was not.
    fn hottest(&mut self, cursor: u64, now: Now, mut visit: impl FnMut(Kept<'_>)) -> u64 {
        if cursor >= LARGE_CURSOR {
            let next = self.large.hottest(cursor - LARGE_CURSOR, now, visit);
            return if next == 0 { UNASKED } else { LARGE_CURSOR + next };
        }
        let next = self.arena.hottest(cursor, now.mono_ms, |key, found, heat| {
            let deadline = deadline_of(found.deadline);
            visit(Kept { key, value: found.value, deadline, heat });
        });
        if next == UNASKED { LARGE_CURSOR } else { next }
    }

    fn recall(&mut self, kept: Kept<'_>, now: Now) -> Recalled {
        if kept.deadline.is_past(now) {
            return Recalled::Unfit;
        }
        let mono_ms = kept.deadline.mono_ms().unwrap_or(NEVER);
        match self.arena.recall(kept.key, kept.value, mono_ms, kept.heat) {
            recall::Recalled::Kept => Recalled::Kept,
            recall::Recalled::Full => Recalled::Full,
            recall::Recalled::Unfit => self.recall_large(kept, now),
        }
    }

    fn tend(&mut self, now: Now) {
        self.large.tend(now);
        self.balance(now);
        self.arena.tend(now.mono_ms);
    }

    fn stats(&self) -> MemoryStats {
        let (small, large) = (self.arena.stats(), self.large.stats());
        MemoryStats {
            entries: small.entries + large.entries,
            bytes: small.entry_bytes + small.entries * INDEX_BYTES + large.bytes,
            capacity_bytes: self.capacity_bytes,
            evictions: small.evictions + large.evictions,
            expirations: small.expirations + large.expirations,
        }
    }

    fn lease(&mut self, until_ms: u64) {
        self.arena.set_lease(until_ms);
    }

    fn touched(&mut self, key: &[u8], times: u8) {
        self.arena.touched_by_readers(key, times);
    }
}

fn bytes_of(capacity: u64) -> usize {
    usize::try_from(capacity).unwrap_or(usize::MAX)
}

fn deadline_of(mono_ms: u64) -> Deadline {
    if mono_ms == NEVER { Deadline::NEVER } else { Deadline::at(mono_ms) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use synapse_arena::reader::{Look, Reader};
    use synapse_core::clock::{Clock, ManualClock};

    use super::*;

    const CAPACITY: u64 = 8 << 20;

    fn held(tier: &ArenaTier) -> u64 {
        tier.arena.stats().resident_bytes + tier.large.stats().bytes
    }

    fn fill(tier: &mut ArenaTier, now: Now, round: usize) {
        for n in 0..400_usize {
            let len = if n % 4 == 0 { 20_000 + (n * 7919 + round) % 200_000 } else { n * 31 % 2000 };
            assert_eq!(
                tier.set(format!("{round}:{n}").as_bytes(), &vec![7; len], Deadline::NEVER, now),
                Stored::Kept
            );
            assert!(held(tier) <= CAPACITY, "{} of {CAPACITY} bytes after {round}:{n} of {len}", held(tier));
        }
    }

    #[test]
    fn small_and_large_objects_share_one_budget() {
        let (clock, mut tier) = (ManualClock::default(), ArenaTier::new(CAPACITY).unwrap());
        for round in 0..4 {
            fill(&mut tier, clock.now(), round);
            assert!(tier.has_large() && tier.arena.stats().entries > 0);
        }
        // What large objects no longer need is for small ones again.
        tier.large.clear();
        tier.tend(clock.now());
        for n in 0..40_000 {
            let _ = tier.set(format!("small:{n}").as_bytes(), &[7; 400], Deadline::NEVER, clock.now());
        }
        assert!(tier.arena.stats().resident_bytes > CAPACITY * 95 / 100, "{:?}", tier.arena.stats());
        assert!(held(&tier) <= CAPACITY);
    }

    #[test]
    fn who_asks_in_vain_for_memory_that_is_not_shared_does_not_keep_it_from_changing_hands() {
        let (clock, mut tier) = (ManualClock::default(), ArenaTier::new(CAPACITY).unwrap());
        assert!(tier.descriptor().unwrap().is_none());
        for n in 0..40_000 {
            let _ = tier.set(format!("small:{n}").as_bytes(), &[7; 400], Deadline::NEVER, clock.now());
        }
        for n in 0..20 {
            let _ = tier.set(format!("large:{n}").as_bytes(), &[7; 500_000], Deadline::NEVER, clock.now());
            assert!(held(&tier) <= CAPACITY, "{} of {CAPACITY} bytes after {n} large ones", held(&tier));
        }
        assert!(tier.has_large());
    }

    #[test]
    fn a_shared_tier_keeps_its_budget_and_is_read_from_outside() {
        assert!(ArenaTier::new(CAPACITY).unwrap().descriptor().unwrap().is_none());
        let clock = ManualClock::default();
        let mut tier = ArenaTier::shared(CAPACITY, 0, clock.now()).unwrap();
        assert!(tier.is_shared(), "this kernel gives memory that can be shared");
        fill(&mut tier, clock.now(), 0);
        let fd = tier.descriptor().unwrap().unwrap();
        let mut reader = Reader::open(fd.as_fd()).unwrap();
        for round in 1..4 {
            fill(&mut tier, clock.now(), round);
        }
        let mut copy = Vec::new();
        assert_eq!(tier.set(b"a", b"small", clock.now().after(5), clock.now()), Stored::Kept);
        assert!(
            matches!(reader.get(b"a", clock.now().mono_ms, &mut copy), Look::Hit { .. }) && copy == b"small"
        );
        assert_eq!(tier.set(b"a", &[7; 100_000], Deadline::NEVER, clock.now()), Stored::Kept);
        assert_eq!(reader.get(b"a", clock.now().mono_ms, &mut copy), Look::Miss);
    }

    fn handed_over(from: &mut ArenaTier, to: &mut ArenaTier, now: Now) -> (u64, Recalled) {
        let (mut cursor, mut visited, mut last) = (0, 0, Recalled::Kept);
        loop {
            cursor = from.hottest(cursor, now, |kept| {
                if last != Recalled::Full {
                    visited += 1;
                    last = to.recall(kept, now);
                }
            });
            if cursor == 0 {
                return (visited, last);
            }
        }
    }

    #[test]
    fn small_and_large_objects_are_handed_over_with_their_deadlines() {
        let (clock, [mut old, mut new]) =
            (ManualClock::default(), [(), ()].map(|()| ArenaTier::new(CAPACITY).unwrap()));
        let now = clock.now();
        fill(&mut old, now, 0);
        let far = Deadline::at(u64::MAX - 1);
        for (key, value, deadline) in
            [(&b"s"[..], &[1; 9][..], now.after(5)), (b"l", &[2; 200_000], now.after(7)), (b"f", b"x", far)]
        {
            assert_eq!(old.set(key, value, deadline, now), Stored::Kept);
        }
        let _ = old.set(b"over", b"x", now.after(3), now);
        clock.advance(4);
        let now = clock.now();
        let living = old.stats().entries - 1;
        let (visited, last) = handed_over(&mut old, &mut new, now);
        assert_eq!((visited, new.stats().entries), (living, living), "{last:?}");
        assert!(held(&new) <= CAPACITY);
        let mut found = Vec::new();
        new.get(&[&b"s"[..], b"l", b"f", b"over"], now, |_, entry| {
            found.push(entry.map(|entry| (entry.value.len(), entry.deadline)));
        });
        let deadline = |left| now.after(left);
        assert_eq!(found, [Some((9, deadline(1))), Some((200_000, deadline(3))), Some((1, far)), None]);
    }

    #[test]
    fn half_the_room_is_filled_and_no_more() {
        let (clock, mut old) = (ManualClock::default(), ArenaTier::new(CAPACITY).unwrap());
        let mut new = ArenaTier::new(CAPACITY / 2).unwrap();
        for round in 0..3 {
            fill(&mut old, clock.now(), round);
        }
        // Large ones have half of it, and the small ones do not need all of theirs.
        let (_, last) = handed_over(&mut old, &mut new, clock.now());
        assert!(held(&new) <= CAPACITY / 2 && held(&new) > CAPACITY / 3, "{last:?}: {} bytes", held(&new));
    }

    #[test]
    fn a_deadline_beyond_the_arena_s_is_kept_all_the_same() {
        let (clock, mut tier) = (ManualClock::default(), ArenaTier::new(CAPACITY).unwrap());
        let (now, far) = (clock.now(), Deadline::at(u64::MAX - 1));
        let _ = tier.set(b"a", b"1", Deadline::NEVER, now);
        assert!(tier.expire(b"a", far, now));
        let mut found = None;
        tier.get(&[b"a"], now, |_, entry| found = entry.map(|entry| (entry.value.to_vec(), entry.deadline)));
        assert_eq!(found, Some((b"1".to_vec(), far)));
        assert!(tier.remove(b"a", now) && !tier.remove(b"a", now));
    }
}
