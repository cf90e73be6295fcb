//! The readers' half of the protocol: finding and copying an entry that the writer may be moving at that very moment.
//!
//! A reader never waits and never stores. It copies first and asks afterwards whether what it copied was one entry all
//! the time; if not, it tries again, and after a few times leaves the question to the owner.

use std::os::fd::BorrowedFd;

use crate::arena::BATCH;
use crate::cells::{Cells, Owned};
use crate::entry::{HEADER_WORDS, Head, Tail, slot_words};
use crate::hash::{Hash, Seed};
use crate::layout::{
    BUCKET_WORDS, DIED, Elsewhere, PROBES, Plan, Unreadable, at, elsewhere, home, kind, lanes_with, seed,
    state,
};
use crate::region::{Region, WORD};

/// How often a look-up is begun again before the owner is asked instead.
pub const RETRIES: usize = 8;

/// How far behind the present [`Present::lately`] may be, in milliseconds.
pub const LATELY_MS: u64 = 100;

/// The present millisecond, in the clock of the deadlines ([`crate::clock`]): roughly, which is enough for most
/// entries, and exactly. A number is both.
pub trait Present {
    /// One that was the present one less than [`LATELY_MS`] ago.
    fn lately(&mut self) -> u64;

    /// The present one.
    fn exactly(&mut self) -> u64;
}

impl Present for u64 {
    #[inline]
    fn lately(&mut self) -> u64 {
        *self
    }

    #[inline]
    fn exactly(&mut self) -> u64 {
        *self
    }
}

/// What a look-up found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// The value has been copied. It was the key's at a moment during the call.
    Hit {
        /// The last millisecond at which it may be served, or [`crate::entry::NEVER`].
        deadline: u64,
    },
    /// Nothing was found: most likely there is nothing, but only the owner knows.
    Miss,
    /// The memory changed under every attempt.
    Unsure,
    /// Its owner has left the memory, or has not said for too long that it is there.
    Gone,
}

/// Another process's arena, or one's own.
#[derive(Debug)]
pub struct Reader<C: Cells = Region> {
    cells: C,
    plan: Plan,
    seed: Seed,
    retries: u64,
}

/// Why memory that was offered cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be mapped, or is not sealed.
    #[error("mapping the cache's memory: {0}")]
    Map(#[from] std::io::Error),
    /// Its layout is not known here.
    #[error(transparent)]
    Layout(#[from] Unreadable),
}

impl Reader<Region> {
    /// Maps the memory behind a descriptor, read-only.
    ///
    /// # Errors
    /// When it is not a sealed arena of this layout.
    pub fn open(fd: BorrowedFd<'_>) -> Result<Self, OpenError> {
        Ok(Self::over(Region::map_shared(fd)?)?)
    }
}

impl<C: Cells> Reader<C> {
    /// A reader of memory that is at hand.
    ///
    /// # Errors
    /// When it is not an arena of this layout.
    pub fn over(cells: C) -> Result<Self, Unreadable> {
        let plan = Plan::read(&cells)?;
        let seed = seed(&cells);
        Ok(Self { cells, plan, seed, retries: 0 })
    }

    /// Copies the value of a key into `value`, which then holds nothing else. After anything but a hit it is of no
    /// meaning.
    #[inline]
    pub fn get(&mut self, key: &[u8], mut now: impl Present, value: &mut Vec<u8>) -> Look {
        let lately = now.lately();
        self.get_hashed(self.seed.hash(key), key, lately, &mut now, value)
    }

    #[inline]
    fn get_hashed(
        &mut self,
        hash: Hash,
        key: &[u8],
        lately: u64,
        now: &mut impl Present,
        value: &mut Vec<u8>,
    ) -> Look {
        let mut is_past = |until: u64| until < lately.saturating_add(LATELY_MS) && until < now.exactly();
        for _ in 0..=RETRIES {
            let is_left =
                self.cells.load_acquire(at::STATE) != state::LIVE || is_past(self.cells.load(at::LEASE));
            if is_left || self.cells.load_acquire(at::OWNER) & DIED != 0 {
                return Look::Gone;
            }
            match self.attempt(hash, key, value) {
                Attempt::Whole(deadline) if is_past(deadline) => return Look::Miss,
                Attempt::Whole(deadline) => return Look::Hit { deadline },
                Attempt::Nothing => return Look::Miss,
                Attempt::Changed => self.retries += 1,
            }
        }
        Look::Unsure
    }

    /// CLOCK_BOOTTIME in nanoseconds when millisecond 1 of the deadlines began.
    #[inline]
    pub fn origin_ns(&self) -> u64 {
        self.cells.load(at::CLOCK)
    }

    /// How often a look-up was begun again.
    pub fn retries(&self) -> u64 {
        self.retries
    }

    #[inline]
    fn attempt(&self, hash: Hash, key: &[u8], value: &mut Vec<u8>) -> Attempt {
        let [first, second] = self.homes(hash.place);
        for (table, home) in first.into_iter().chain(second) {
            match self.look_in(table, home, hash, key, value) {
                Looked::Found(attempt) => return attempt,
                Looked::NotHere { elsewhere } => {
                    if let Some(attempt) = self.look_elsewhere(table, home, elsewhere, hash, key, value) {
                        return attempt;
                    }
                }
            }
        }
        Attempt::Nothing
    }

    #[cold]
    fn look_elsewhere(
        &self,
        table: usize,
        home: u32,
        elsewhere: Elsewhere,
        hash: Hash,
        key: &[u8],
        value: &mut Vec<u8>,
    ) -> Option<Attempt> {
        elsewhere.distances().find_map(|distance| {
            match self.look_in(table, home.saturating_add(distance), hash, key, value) {
                Looked::Found(attempt) => Some(attempt),
                Looked::NotHere { .. } => None,
            }
        })
    }

    /// The tables that may name a place, and its home in each. What is read here may be out of date: then the entry is
    /// not found, or found all the same.
    #[inline]
    fn homes(&self, place: u32) -> [Option<(usize, u32)>; 2] {
        let current = usize::from(self.cells.load_acquire(at::CURRENT) != 0);
        let home_in = |table: usize| {
            let buckets = self.cells.load(at::BUCKETS + table) as u32;
            (buckets > 0).then(|| (table, home(place, buckets)))
        };
        let here = home_in(current);
        let frontier = self.cells.load(at::FRONTIER) as u32;
        match here {
            Some((_, home)) if home < frontier => {
                [home_in(1 - current), here.filter(|_| home.saturating_add(PROBES) >= frontier)]
            }
            _ => [here, None],
        }
    }

    /// In which segment a bucket lies, and where; `None` when there is no such bucket at this moment.
    #[inline]
    fn bucket(&self, table: usize, n: u32) -> Option<(usize, usize)> {
        let (chunk, within) = self.plan.chunk_of(n);
        if chunk >= self.plan.segments {
            return None;
        }
        let segment = self.cells.load_acquire(self.plan.directory(table, chunk)) as usize;
        (segment < self.plan.segments).then(|| (segment, self.plan.start(segment) + within * BUCKET_WORDS))
    }

    #[inline]
    fn look_in(&self, table: usize, n: u32, hash: Hash, key: &[u8], value: &mut Vec<u8>) -> Looked {
        let (cells, plan) = (&self.cells, &self.plan);
        let changed = Looked::Found(Attempt::Changed);
        let Some((segment, bucket)) = self.bucket(table, n) else { return changed };
        let bucket_generation = cells.load_acquire(plan.generation(segment));
        if bucket_generation & kind::MASK != kind::BUCKETS {
            return changed;
        }
        for lane in lanes_with(cells, bucket, hash.tag) {
            let entry = lane.entry(cells);
            let Some(its_segment) = plan.segment_of(entry) else { return changed };
            let generation = cells.load_acquire(plan.generation(its_segment));
            // The lane must name the entry after the generation was read: only then is it that generation's. The tag
            // comes first, for an empty lane may still hold a position.
            let is_named = lane.tag_acquire(cells) == hash.tag && lane.entry_acquire(cells) == entry;
            if generation & kind::MASK != kind::ENTRIES || !is_named {
                return changed;
            }
            let head = Head::unpack(cells.load_acquire(entry));
            if head.version % 2 == 1 {
                return changed;
            }
            if head.place != hash.place || usize::from(head.key_len) != key.len() {
                continue;
            }
            let end = plan.start(its_segment) + plan.segment_words;
            let Some((deadline, is_it)) = self.copy(entry, end, key, value) else { return changed };
            cells.fence_acquire();
            let is_same = Head::unpack(cells.load(entry)).version == head.version
                && cells.load(plan.generation(its_segment)) == generation
                && cells.load(plan.generation(segment)) == bucket_generation;
            if !is_same {
                return changed;
            }
            if is_it {
                return Looked::Found(Attempt::Whole(deadline));
            }
        }
        Looked::NotHere { elsewhere: elsewhere(cells, bucket) }
    }

    /// Copies the value, whatever it is, and answers the deadline and whether the entry is that of `key`; `None` when
    /// it would not end before `end`.
    #[inline]
    fn copy(&self, entry: usize, end: usize, key: &[u8], value: &mut Vec<u8>) -> Option<(u64, bool)> {
        // What a lane names may be any word, for a moment the last one, too.
        if entry + HEADER_WORDS > end {
            return None;
        }
        let tail = Tail::unpack(self.cells.load(entry + 1));
        let length = tail.value_len as usize;
        if entry + slot_words(key.len(), length) > end {
            return None;
        }
        let first = entry + HEADER_WORDS;
        // What is in it already is written over, and needs not be cleared before.
        value.resize(length, 0);
        let (whole, rest) = value.as_chunks_mut::<WORD>();
        self.cells.copy(first, whole);
        if !rest.is_empty() {
            let last = self.cells.load(first + whole.len()).to_le_bytes();
            rest.iter_mut().zip(last).for_each(|(byte, stored)| *byte = stored);
        }
        Some((tail.deadline, self.cells.holds(first + length / WORD, length % WORD, key)))
    }
}

impl<C: Owned> Reader<C> {
    /// As [`Reader::get`] for each of `keys`, in order: calls `visit` with its position, what was found, and the value,
    /// which is of no meaning after anything but a hit. Far cheaper for keys that are not in the processor's caches:
    /// all buckets are asked for, then all entries, and only then one is waited for.
    #[inline]
    pub fn get_many<K: AsRef<[u8]>>(
        &mut self,
        keys: &[K],
        mut now: impl Present,
        value: &mut Vec<u8>,
        mut visit: impl FnMut(usize, Look, &[u8]),
    ) {
        for (first, batch) in keys.chunks(BATCH).enumerate() {
            let mut guesses = [(Hash { place: 0, tag: 0 }, None); BATCH];
            for (guess, key) in guesses.iter_mut().zip(batch) {
                let hash = self.seed.hash(key.as_ref());
                let home = self.homes(hash.place)[0].and_then(|(table, home)| self.bucket(table, home));
                let bucket = home.map(|(_, bucket)| bucket);
                bucket.into_iter().for_each(|bucket| self.cells.prefetch(bucket));
                *guess = (hash, bucket);
            }
            for (hash, bucket) in &guesses[..batch.len()] {
                let lane = bucket.and_then(|bucket| lanes_with(&self.cells, bucket, hash.tag).next());
                if let Some(entry) = lane.map(|lane| lane.entry(&self.cells)) {
                    // What lies there now may be anything: to fetch it is all that is done on this word.
                    self.cells.prefetch(entry);
                    self.cells.prefetch(entry + BUCKET_WORDS);
                }
            }
            let lately = now.lately();
            for (n, (key, (hash, _))) in batch.iter().zip(&guesses).enumerate() {
                let look = self.get_hashed(*hash, key.as_ref(), lately, &mut now, value);
                visit(first * BATCH + n, look, value);
            }
        }
    }
}

enum Attempt {
    /// An entry of this key, copied whole, with its deadline.
    Whole(u64),
    Nothing,
    Changed,
}

enum Looked {
    Found(Attempt),
    NotHere { elsewhere: Elsewhere },
}
