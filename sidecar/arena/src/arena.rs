//! The arena: entries with deadlines in one piece of memory, for one writer.

use std::io;
use std::os::fd::BorrowedFd;

use crate::cells::Owned;
use crate::entry::{
    HEADER_WORDS, Head, MAX_DEADLINE, MAX_KEY_BYTES, MAX_VALUE_BYTES, NEVER, Tail, slot_words,
};
use crate::eviction::Eviction;
use crate::expiry::Walk;
use crate::ghosts::Ghosts;
use crate::hash::Seed;
use crate::heat::Ageing;
use crate::index::Index;
use crate::layout::{BUCKET_WORDS, MAGIC, Plan, VERSION, at, state};
use crate::one_key::Guess;
use crate::region::{Region, WORD};
use crate::segments::{Role, Segments};
use crate::stats::Counts;
use crate::upkeep::{INDEX_STEPS, TENDED_STEPS};

/// The smallest capacity, in bytes.
pub const SMALLEST_CAPACITY: usize = 512 << 10;

/// The largest capacity that is used, in bytes (32 GiB): positions in the index are 32 bits of words.
pub const LARGEST_CAPACITY: usize = u32::MAX as usize * WORD;

/// Keys that are looked up together: their lines are fetched while others are looked at. More of them would drive each
/// other out of the processor's first cache.
pub const BATCH: usize = 16;

/// Buckets that a scan looks at, at most: so many for each entry that it is asked for...
const SCANNED_BUCKETS: usize = 16;
/// ...and as many as the smallest index has, so that what holds little is gone through in one call.
const SCANNED_AT_LEAST: usize = 4096;

/// One byte in so many of the capacity is for the ghosts of what had to go.
const GHOSTS_SHARE: usize = 64;

/// An entry as it lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// The value.
    pub value: &'a [u8],
    /// The last monotonic millisecond at which it may be served, or [`NEVER`].
    pub deadline: u64,
}

/// Where some keys most likely are; see [`Arena::ahead`].
#[derive(Debug)]
pub struct Ahead {
    guesses: [Guess; BATCH],
    /// Segments given back until then: what lay in one is no entry any more.
    given_back: u64,
}

/// Why an entry cannot be held. What its key had before is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("larger than the arena takes, or with a deadline further than it can hold")]
pub struct Unfit;

/// See the module.
#[derive(Debug)]
pub struct Arena<C: Owned = Region> {
    pub(crate) cells: C,
    pub(crate) plan: Plan,
    pub(crate) seed: Seed,
    pub(crate) index: Index,
    pub(crate) segments: Segments,
    pub(crate) ghosts: Ghosts,
    pub(crate) ageing: Ageing,
    pub(crate) eviction: Eviction,
    pub(crate) walk: Option<Walk>,
    pub(crate) walk_hand: usize,
    /// A segment that will be a chunk of the index, and how many of its words are cleared.
    pub(crate) spare: Option<(usize, usize)>,
    /// Whether there is room for entries: then the index has some to spare, too.
    pub(crate) roomy: bool,
    pub(crate) counts: Counts,
    /// Accesses that no clock has counted yet.
    pub(crate) unpassed: u64,
}

impl Arena<Region> {
    /// An arena whose memory, all things included, is `capacity_bytes` at most. It lies in a memfd that can be shared,
    /// or on the heap where the kernel gives none.
    ///
    /// # Errors
    /// `InvalidInput` below [`SMALLEST_CAPACITY`].
    pub fn new(capacity_bytes: usize) -> io::Result<Self> {
        Self::in_region(capacity_bytes, |words| {
            Ok(Region::memfd(words).unwrap_or_else(|_| Region::heap(words)))
        })
    }

    /// An arena of this process alone: it cannot be shared, and lies in larger pages where the kernel has them.
    ///
    /// # Errors
    /// `InvalidInput` below [`SMALLEST_CAPACITY`], and what the kernel says.
    pub fn private(capacity_bytes: usize) -> io::Result<Self> {
        Self::in_region(capacity_bytes, Region::private)
    }

    /// An arena on the heap, which cannot be shared.
    ///
    /// # Errors
    /// `InvalidInput` below [`SMALLEST_CAPACITY`].
    pub fn on_heap(capacity_bytes: usize) -> io::Result<Self> {
        Self::in_region(capacity_bytes, |words| Ok(Region::heap(words)))
    }

    /// The descriptor for readers, sealed before anyone gets it; `None` on the heap. From now on pages no longer go
    /// back to the kernel.
    ///
    /// # Errors
    /// What the kernel says to the seals.
    pub fn share(&self) -> io::Result<Option<BorrowedFd<'_>>> {
        let shared = self.cells.share()?;
        if shared.is_some() {
            self.cells.announce_end(at::OWNER);
        }
        Ok(shared)
    }
}

impl<C: Owned> Arena<C> {
    /// An arena in memory of another kind: `region` is asked once, for so many words, all zero.
    ///
    /// # Errors
    /// `InvalidInput` below [`SMALLEST_CAPACITY`], and what `region` says.
    pub fn in_region(capacity_bytes: usize, region: impl FnOnce(usize) -> io::Result<C>) -> io::Result<Self> {
        if capacity_bytes < SMALLEST_CAPACITY {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an arena of less than 512 KiB"));
        }
        let capacity = capacity_bytes.min(LARGEST_CAPACITY);
        let ghost_words = capacity / GHOSTS_SHARE / WORD;
        let most_segments = capacity / (16 << 10);
        let mut words = capacity / WORD - ghost_words;
        let too_small = || io::Error::from(io::ErrorKind::InvalidInput);
        let mut plan = Plan::fitting(words, 1).ok_or_else(too_small)?;
        words -= Segments::bookkeeping_bytes(plan.segments.min(most_segments)).div_ceil(WORD);
        plan = Plan::fitting(words, 1).ok_or_else(too_small)?;
        let cells = region(plan.words())?;
        let seed = Seed::random();
        let mut arena = Self {
            index: Index::new(&plan),
            segments: Segments::new(&plan),
            ghosts: Ghosts::new(ghost_words),
            ageing: Ageing::default(),
            eviction: Eviction::default(),
            walk: None,
            walk_hand: 0,
            spare: None,
            roomy: true,
            counts: Counts { capacity_bytes: capacity_bytes as u64, ..Counts::default() },
            unpassed: 0,
            cells,
            plan,
            seed,
        };
        for (at, word) in [
            (at::SEGMENT_WORDS, plan.segment_words as u64),
            (at::SEGMENTS, plan.segments as u64),
            (at::SEED, seed.0[0]),
            (at::SEED + 1, seed.0[1]),
            (at::LEASE, u64::MAX),
            (at::VERSION, VERSION),
            (at::MAGIC, MAGIC),
        ] {
            arena.cells.store(at, word);
        }
        arena.begin();
        arena.cells.store_release(at::STATE, state::LIVE);
        Ok(arena)
    }

    /// The memory.
    pub fn cells(&self) -> &C {
        &self.cells
    }

    /// The most bytes that key and value may have together.
    pub fn largest_entry(&self) -> usize {
        (self.plan.largest_slot() - HEADER_WORDS) * WORD
    }

    /// Looks up `keys` and calls `visit` once for each, in order, with its position and what is alive at `now` (in
    /// milliseconds, as deadlines are).
    pub fn get<K: AsRef<[u8]>>(
        &mut self,
        keys: &[K],
        now: u64,
        mut visit: impl FnMut(usize, Option<Found<'_>>),
    ) {
        if let [key] = keys {
            visit(0, self.get_one(key.as_ref(), self.seed.hash(key.as_ref()), now));
            return self.pass(1);
        }
        let mut guesses = [Guess::NONE; BATCH];
        for (first, batch) in keys.chunks(BATCH).enumerate() {
            self.guess(batch, &mut guesses);
            for (n, (key, guess)) in batch.iter().zip(&guesses).enumerate() {
                visit(first * BATCH + n, self.get_guessed(key.as_ref(), guess, now));
            }
            self.pass(batch.len() as u64);
        }
    }

    /// Looks ahead for at most [`BATCH`] keys that are stored next, one after the other: the memory that this touches is
    /// fetched for all together.
    #[inline]
    pub fn ahead<K: AsRef<[u8]>>(&self, keys: &[K]) -> Ahead {
        let mut ahead = Ahead { guesses: [Guess::NONE; BATCH], given_back: self.segments.given_back() };
        self.guess(keys, &mut ahead.guesses);
        ahead
    }

    /// As [`Arena::set`], for the key at this position of those that were looked for.
    ///
    /// # Errors
    /// As [`Arena::set`].
    #[inline]
    pub fn set_ahead(
        &mut self,
        ahead: &Ahead,
        position: usize,
        key: &[u8],
        value: &[u8],
        deadline: u64,
        now: u64,
    ) -> Result<(), Unfit> {
        if ahead.given_back == self.segments.given_back()
            && self.takes(key, value, deadline)
            && self.replace_guessed(key, &ahead.guesses[position], value, deadline)
        {
            self.pass(1);
            self.settle(slot_words(key.len(), value.len()));
            return Ok(());
        }
        self.set(key, value, deadline, now)
    }

    /// Guesses where the entries of at most [`BATCH`] keys are. Each pass asks for what the next one looks at: buckets,
    /// then entries, then the keys behind their values.
    #[inline]
    fn guess<K: AsRef<[u8]>>(&self, keys: &[K], guesses: &mut [Guess; BATCH]) {
        for (guess, key) in guesses.iter_mut().zip(keys) {
            let hash = self.seed.hash(key.as_ref());
            *guess = Guess::of(hash, self.index.prefetch(&self.cells, hash.place));
        }
        let guesses = &mut guesses[..keys.len()];
        for guess in guesses.iter_mut() {
            guess.set_entry(Index::prefetch_entry(&self.cells, guess.bucket(), guess.hash.tag));
        }
        for guess in guesses.iter() {
            self.prefetch_key(guess);
        }
    }

    /// Stores an entry; value and deadline both replace what the key had.
    ///
    /// # Errors
    /// [`Unfit`] when it is larger than [`Arena::largest_entry`], its deadline is later than [`MAX_DEADLINE`], or nothing
    /// is left that could go for it.
    pub fn set(&mut self, key: &[u8], value: &[u8], deadline: u64, now: u64) -> Result<(), Unfit> {
        if !self.takes(key, value, deadline) {
            self.remove(key, now);
            return Err(Unfit);
        }
        let words = slot_words(key.len(), value.len());
        let hash = self.seed.hash(key);
        while !self.try_set(hash, key, value, deadline) {
            if !self.make_room_at_once(now) {
                self.remove(key, now);
                return Err(Unfit);
            }
        }
        self.make_room(words, now);
        self.tend_index(INDEX_STEPS + words / BUCKET_WORDS);
        self.pass(1);
        self.settle(words);
        Ok(())
    }

    /// Whether such an entry can ever be held.
    #[inline]
    pub(crate) fn takes(&self, key: &[u8], value: &[u8], deadline: u64) -> bool {
        key.len() <= MAX_KEY_BYTES
            && value.len() <= MAX_VALUE_BYTES
            && slot_words(key.len(), value.len()) <= self.plan.largest_slot()
            && (deadline <= MAX_DEADLINE || deadline == NEVER)
    }

    /// Gives a living entry another deadline; false when none is alive at `now`, or the deadline is later than
    /// [`MAX_DEADLINE`].
    pub fn expire(&mut self, key: &[u8], deadline: u64, now: u64) -> bool {
        let found = self.find(key);
        self.settle(0);
        let Some(named) = found.filter(|named| !named.is_past(now)) else { return false };
        if deadline > MAX_DEADLINE && deadline != NEVER {
            return false;
        }
        self.cells.store_release(named.at + 1, Tail { deadline, ..named.tail }.pack());
        if let Some(segment) = self.plan.segment_of(named.at) {
            let meta = self.segments.get_mut(segment);
            meta.next_walk = meta.next_walk.min(deadline);
        }
        true
    }

    /// Drops the entry; true when one was alive at `now`.
    pub fn remove(&mut self, key: &[u8], now: u64) -> bool {
        let found = self.find(key);
        found.into_iter().for_each(|named| self.forget(named));
        self.settle(0);
        found.is_some_and(|named| !named.is_past(now))
    }

    /// Drops every entry, for this process and for all readers at once. The work is one store for each segment.
    pub fn clear(&mut self) {
        for chunk in self.index.end(&self.cells) {
            self.return_segment(chunk);
        }
        for segment in 0..self.segments.len() {
            if self.segments.get(segment).role != Role::Free {
                self.segments.give_back(&self.cells, &self.plan, segment);
            }
        }
        (self.counts.entries, self.counts.live_words) = (0, 0);
        self.eviction = Eviction::default();
        self.walk = None;
        self.spare = None;
        self.roomy = true;
        self.begin();
    }

    /// Visits about `count` entries alive at `now`, from `cursor` (0 at first), with their keys, and returns the next
    /// cursor, 0 at the end. What is held from the first call to the last is visited at least once.
    pub fn scan(
        &mut self,
        cursor: u64,
        count: usize,
        now: u64,
        mut visit: impl FnMut(&[u8], Found<'_>),
    ) -> u64 {
        let mut place = cursor;
        let mut visited = 0;
        // Empty buckets count too: the work is bounded by `count` whatever there is.
        for _ in 0..count.saturating_mul(SCANNED_BUCKETS).max(SCANNED_AT_LEAST) {
            let Ok(from) = u32::try_from(place) else { return 0 };
            place = self.index.visit(&self.cells, from, |at| {
                let (head, tail) = self.headers(at);
                if now <= tail.deadline {
                    visited += 1;
                    let value_len = tail.value_len as usize;
                    let value = self.cells.bytes(at + HEADER_WORDS, 0, value_len);
                    let key = self.cells.bytes(at + HEADER_WORDS, value_len, usize::from(head.key_len));
                    visit(key, Found { value, deadline: tail.deadline });
                }
            });
            if visited >= count {
                break;
            }
        }
        if place > u64::from(u32::MAX) { 0 } else { place }
    }

    /// Takes back the room of some entries whose deadline has passed, and goes on with what writes have begun; bounded
    /// work, to be called now and then.
    pub fn tend(&mut self, now: u64) {
        self.expire_some(now);
        self.tend_index(TENDED_STEPS);
        self.make_room(0, now);
        self.counts.work = 0;
        self.index.take_work();
    }

    /// A reader was served this key so many times without asking: eviction should know.
    pub fn touched_by_readers(&mut self, key: &[u8], times: u8) {
        let found = self.find(key);
        self.settle(0);
        let Some(named) = found else { return };
        let heat = self.ageing.touched(named.head.heat, times);
        self.cells.store(named.at, Head { heat, ..named.head }.pack());
    }

    /// Tells readers where the clock of the deadlines stands: CLOCK_BOOTTIME, in nanoseconds, when millisecond 1
    /// began.
    pub fn set_clock(&self, nanoseconds: u64) {
        self.cells.store_release(at::CLOCK, nanoseconds);
    }

    /// Until which millisecond readers may trust what they read, without asking; `u64::MAX` for ever. An owner that was
    /// killed can no longer invalidate anything: readers stop believing it when its lease has run out.
    pub fn set_lease(&self, until: u64) {
        self.cells.store_release(at::LEASE, until);
    }

    /// Tells readers that what they read here is of the past from now on.
    pub fn retire(&self) {
        self.cells.store_release(at::STATE, state::RETIRED);
    }
}

impl<C: Owned> Drop for Arena<C> {
    fn drop(&mut self) {
        self.retire();
    }
}
