//! The arena: entries with deadlines in one piece of memory, for one writer.

use std::io;
use std::os::fd::BorrowedFd;

use crate::cells::Owned;
use crate::entry::{
    HEADER_WORDS, Head, MAX_DEADLINE, MAX_KEY_BYTES, MAX_VALUE_BYTES, NEVER, Tail, slot_words,
};
use crate::eviction::{EVICTED_PER_WORD, Eviction};
use crate::expiry::Walk;
use crate::hash::{Hash, Seed};
use crate::heat::{self, Ageing};
use crate::index::{Index, Inserted, Moved};
use crate::layout::{BUCKET_WORDS, LANES, Lane, MAGIC, PROBES, Plan, VERSION, at, kind, state};
use crate::region::{Region, WORD};
use crate::segments::{Role, Segments};
use crate::sketch::Sketch;
use crate::writer;

/// The smallest capacity, in bytes.
pub const SMALLEST_CAPACITY: usize = 512 << 10;

/// The largest capacity that is used, in bytes (32 GiB): positions in the index are 32 bits of words.
pub const LARGEST_CAPACITY: usize = u32::MAX as usize * WORD;

/// Lines and entries that one operation on one key touches, at most: two look-ups, the coldest of a bucket, and the
/// steps of the index. A write touches [`WORK_PER_LINE`] more for each line that it writes.
pub const MAX_WORK: u32 = 2 * LOOK_UP + LANES as u32 * (1 + LOOK_UP) + INDEX_STEPS as u32 * STEP;

/// What is evicted for one line, at most: the smallest entries there are, each with its place in the index.
pub const WORK_PER_LINE: u32 =
    (EVICTED_PER_WORD * BUCKET_WORDS).div_ceil(HEADER_WORDS) as u32 * (1 + LOOK_UP) + STEP;

/// One step of the index: a bucket whose entries find their places in the other table, or clearing.
const STEP: u32 = CLEAR_LINES + LANES as u32 * (PROBES + 2);

/// Buckets that may name a key, in both tables, and the entries whose tag is the same.
const LOOK_UP: u32 = 2 * (PROBES + 1) * (1 + LANES as u32);

/// Lines of a new chunk of the index that are cleared in one step.
const CLEAR_LINES: u32 = 64;

/// Keys that are looked up together: their lines are fetched while others are looked at.
const BATCH: usize = 32;

/// Accesses that are counted together.
const PASSED_TOGETHER: u64 = 64;

/// Buckets that a scan looks at for each entry that it is asked for, at most.
const SCANNED_BUCKETS: usize = 16;

/// Buckets that one write moves when the index changes its size, and one more for each line written.
const INDEX_STEPS: usize = 2;

/// Buckets that a call of [`Arena::tend`] moves.
const TENDED_STEPS: usize = 64;

/// The index grows when so many of a hundred lanes are taken...
const FULL: u64 = 78;
/// ...and shrinks below so many.
const SPARSE: u64 = 48;
/// What is aimed at, when it must be exact.
const SNUG: u64 = 66;

/// One byte in so many of the capacity is for the sketch of what is not held.
const SKETCH_SHARE: usize = 50;

/// An entry as it lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// The value.
    pub value: &'a [u8],
    /// The last monotonic millisecond at which it may be served, or [`NEVER`].
    pub deadline: u64,
}

/// Why an entry cannot be held. What its key had before is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("larger than the arena takes, or with a deadline further than it can hold")]
pub struct Unfit;

/// Figures, all since the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Entries held, those included whose deadline has passed but whose room was not yet taken back.
    pub entries: u64,
    /// Bytes of these entries: headers, values and keys, filled up to words.
    pub entry_bytes: u64,
    /// Bytes of the index.
    pub index_bytes: u64,
    /// Bytes that are resident: all pages ever stored to and not given back, with the bookkeeping beside them.
    pub resident_bytes: u64,
    /// The most that may be resident, in bytes.
    pub capacity_bytes: u64,
    /// Entries dropped to make room.
    pub evictions: u64,
    /// Entries dropped because their deadline had passed.
    pub expirations: u64,
    /// Entries among these that had to go because all buckets that could have named them were full.
    pub crowded_out: u64,
    /// Times that a write found no room prepared and had to make it at once.
    pub stalls: u64,
    /// The most lines and entries that one operation touched; see [`MAX_WORK`].
    pub most_work: u32,
}

/// See the module.
#[derive(Debug)]
pub struct Arena<C: Owned = Region> {
    pub(crate) cells: C,
    pub(crate) plan: Plan,
    pub(crate) seed: Seed,
    pub(crate) index: Index,
    pub(crate) segments: Segments,
    pub(crate) sketch: Sketch,
    pub(crate) ageing: Ageing,
    pub(crate) eviction: Eviction,
    pub(crate) walk: Option<Walk>,
    pub(crate) walk_hand: usize,
    /// A segment that will be a chunk of the index, and how many of its words are cleared.
    spare: Option<(usize, usize)>,
    pub(crate) counts: Counts,
    /// Accesses that no clock has counted yet.
    unpassed: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) entries: u64,
    pub(crate) live_words: u64,
    pub(crate) evictions: u64,
    pub(crate) expirations: u64,
    crowded_out: u64,
    pub(crate) stalls: u64,
    pub(crate) most_work: u32,
    /// Entries looked at in this operation, beside the index.
    pub(crate) work: u32,
    capacity_bytes: u64,
}

enum Preparing {
    Ready(usize),
    Clearing,
    NoRoom,
}

/// A lane, and the entry that it names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named {
    pub(crate) lane: Lane,
    pub(crate) at: usize,
    pub(crate) head: Head,
    pub(crate) tail: Tail,
}

impl Named {
    fn words(&self) -> usize {
        slot_words(usize::from(self.head.key_len), self.tail.value_len as usize)
    }

    fn is_past(&self, now: u64) -> bool {
        now > self.tail.deadline
    }
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
        self.cells.share()
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
        let sketch_words = capacity / SKETCH_SHARE / WORD;
        let most_segments = capacity / (16 << 10);
        let mut words = capacity / WORD - sketch_words;
        let too_small = || io::Error::from(io::ErrorKind::InvalidInput);
        let mut plan = Plan::fitting(words, 1).ok_or_else(too_small)?;
        words -= Segments::bookkeeping_bytes(plan.segments.min(most_segments)).div_ceil(WORD);
        plan = Plan::fitting(words, 1).ok_or_else(too_small)?;
        let cells = region(plan.words())?;
        let seed = Seed::random();
        let mut arena = Self {
            index: Index::new(&plan),
            segments: Segments::new(&plan),
            sketch: Sketch::new(sketch_words),
            ageing: Ageing::default(),
            eviction: Eviction::default(),
            walk: None,
            walk_hand: 0,
            spare: None,
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
            self.get_one(key.as_ref(), self.seed.hash(key.as_ref()), now, 0, &mut visit);
            return self.pass(1);
        }
        let mut hashes = [Hash { place: 0, tag: 0 }; BATCH];
        for (first, batch) in keys.chunks(BATCH).enumerate() {
            for (hash, key) in hashes.iter_mut().zip(batch) {
                *hash = self.seed.hash(key.as_ref());
                self.index.prefetch(&self.cells, hash.place);
            }
            for hash in &hashes[..batch.len()] {
                self.index.prefetch_entry(&self.cells, *hash);
            }
            for (n, (key, hash)) in batch.iter().zip(hashes).enumerate() {
                self.get_one(key.as_ref(), hash, now, first * BATCH + n, &mut visit);
            }
            self.pass(batch.len() as u64);
        }
    }

    /// Stores an entry; value and deadline both replace what the key had.
    ///
    /// # Errors
    /// [`Unfit`] when it is larger than [`Arena::largest_entry`], its deadline is later than [`MAX_DEADLINE`], or nothing
    /// is left that could go for it.
    pub fn set(&mut self, key: &[u8], value: &[u8], deadline: u64, now: u64) -> Result<(), Unfit> {
        let words = slot_words(key.len(), value.len());
        let fits = key.len() <= MAX_KEY_BYTES
            && value.len() <= MAX_VALUE_BYTES
            && words <= self.plan.largest_slot()
            && (deadline <= MAX_DEADLINE || deadline == NEVER);
        if !fits {
            self.remove(key, now);
            return Err(Unfit);
        }
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

    /// Gives a living entry another deadline; false when none is alive at `now`, or the deadline is later than
    /// [`MAX_DEADLINE`].
    pub fn expire(&mut self, key: &[u8], deadline: u64, now: u64) -> bool {
        let found = self.find(key);
        let Some(named) = found.filter(|named| !named.is_past(now)) else { return false };
        if deadline > MAX_DEADLINE && deadline != NEVER {
            return false;
        }
        self.cells.store_release(named.at + 1, Tail { deadline, ..named.tail }.pack());
        if let Some(segment) = self.plan.segment_of(named.at) {
            let meta = self.segments.get_mut(segment);
            meta.next_walk = meta.next_walk.min(deadline);
        }
        self.settle(0);
        true
    }

    /// Drops the entry; true when one was alive at `now`.
    pub fn remove(&mut self, key: &[u8], now: u64) -> bool {
        let Some(named) = self.find(key) else { return false };
        self.forget(named);
        self.settle(0);
        !named.is_past(now)
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
        for _ in 0..count.max(1).saturating_mul(SCANNED_BUCKETS) {
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
        let Some(named) = self.find(key) else { return };
        let epoch = self.ageing.epoch();
        let count = heat::count(named.head.heat, epoch).saturating_add(times);
        self.cells.store(named.at, Head { heat: heat::heat(count, epoch), ..named.head }.pack());
        self.settle(0);
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

    /// Changes how much of the memory may be resident, and returns what may be from now on, in bytes. Less takes
    /// entries away at once, and gives pages back as long as the memory is not shared; more than the capacity that it
    /// began with is not to be had.
    pub fn resize(&mut self, bytes: usize, now: u64) -> u64 {
        let fixed = self.resident_bytes(0);
        let segment_bytes = self.plan.segment_words * WORD;
        let least = self.segments.len().min(16).max(self.index.bytes() / segment_bytes + 8);
        let wanted = (bytes.saturating_sub(fixed) / segment_bytes).clamp(least, self.segments.len());
        self.segments.set_limit(wanted);
        while self.segments.in_use() > wanted && self.empty_one(now) {}
        while self.segments.resident() > wanted && self.segments.release_one(&self.cells, &self.plan) {}
        self.segments.set_limit(wanted.max(self.segments.resident()));
        self.counts.most_work = self.counts.most_work.max(self.counts.work);
        self.counts.work = 0;
        self.resident_bytes(self.segments.limit()) as u64
    }

    /// The figures.
    pub fn stats(&self) -> Stats {
        let counts = &self.counts;
        Stats {
            entries: counts.entries,
            entry_bytes: counts.live_words * WORD as u64,
            index_bytes: self.index.bytes() as u64,
            resident_bytes: self.resident_bytes(self.segments.resident()) as u64,
            capacity_bytes: counts.capacity_bytes,
            evictions: counts.evictions,
            expirations: counts.expirations,
            crowded_out: counts.crowded_out,
            stalls: counts.stalls,
            most_work: counts.most_work,
        }
    }

    // === one key ===

    #[inline]
    fn get_one(
        &mut self,
        key: &[u8],
        hash: Hash,
        now: u64,
        position: usize,
        visit: &mut impl FnMut(usize, Option<Found<'_>>),
    ) {
        let found = self.find_hashed(hash, key);
        self.settle(0);
        let Some(named) = found else { return visit(position, None) };
        if named.is_past(now) {
            self.forget(named);
            self.counts.expirations += 1;
            return visit(position, None);
        }
        let epoch = self.ageing.epoch();
        if self.eviction.is_cold(heat::count(named.head.heat, epoch)) {
            self.cold_hit(named.at);
        }
        let warmer = heat::touched(named.head.heat, epoch);
        // Nothing is stored when nothing changes: the line stays shared with readers on other cores.
        if warmer != named.head.heat {
            self.cells.store(named.at, Head { heat: warmer, ..named.head }.pack());
        }
        let value = self.cells.bytes(named.at + HEADER_WORDS, 0, named.tail.value_len as usize);
        visit(position, Some(Found { value, deadline: named.tail.deadline }));
    }

    fn find(&mut self, key: &[u8]) -> Option<Named> {
        self.find_hashed(self.seed.hash(key), key)
    }

    #[inline]
    fn find_hashed(&mut self, hash: Hash, key: &[u8]) -> Option<Named> {
        let (cells, work) = (&self.cells, &mut self.counts.work);
        let mut found = None;
        let lane = self.index.find(cells, hash, |at| {
            *work += 1;
            // The key comes after the value: its line is on the way while the header is looked at.
            cells.prefetch(at + BUCKET_WORDS);
            let head = Head::unpack(cells.load(at));
            if head.place != hash.place || usize::from(head.key_len) != key.len() {
                return false;
            }
            let tail = Tail::unpack(cells.load(at + 1));
            let same = cells.bytes(at + HEADER_WORDS, tail.value_len as usize, key.len()) == key;
            found = same.then_some((at, head, tail));
            same
        })?;
        found.map(|(at, head, tail)| Named { lane, at, head, tail })
    }

    /// False when there is no room, and nothing has changed.
    fn try_set(&mut self, hash: Hash, key: &[u8], value: &[u8], deadline: u64) -> bool {
        let words = slot_words(key.len(), value.len());
        let epoch = self.ageing.epoch();
        let head = Head { version: 0, heat: 0, key_len: key.len() as u16, place: hash.place };
        let Some(old) = self.find_hashed(hash, key) else {
            // What is seen for the first time in the window has been asked for once; the sketch may know of more.
            let Some(at) = self.append(Role::Window, words, deadline) else { return false };
            let head = Head { heat: heat::heat(self.sketch.count(hash), epoch), ..head };
            writer::write(&self.cells, at, head, deadline, value, key);
            self.name(hash, at);
            return true;
        };
        let head = Head { heat: heat::touched(old.head.heat, epoch), ..head };
        if old.words() == words && old.head.version < crate::entry::MAX_VERSION {
            let head = Head { version: old.head.version, ..head };
            writer::replace(&self.cells, old.at, head, deadline, value, key);
            if let Some(segment) = self.plan.segment_of(old.at) {
                let meta = self.segments.get_mut(segment);
                meta.next_walk = meta.next_walk.min(deadline);
            }
            return true;
        }
        let segment = self.plan.segment_of(old.at).map(|segment| self.segments.get(segment).role);
        let role = if segment == Some(Role::Window) { Role::Window } else { Role::Main };
        let Some(at) = self.append(role, words, deadline) else { return false };
        writer::write(&self.cells, at, head, deadline, value, key);
        old.lane.set_entry(&self.cells, at);
        self.bury(old);
        true
    }

    fn append(&mut self, role: Role, words: usize, deadline: u64) -> Option<usize> {
        let at = self.segments.append(&self.cells, &self.plan, role, words, deadline)?;
        self.counts.entries += 1;
        self.counts.live_words += words as u64;
        Some(at)
    }

    /// Names a new entry in the index; where that is full, the coldest of its bucket goes.
    fn name(&mut self, hash: Hash, at: usize) {
        while let Inserted::Full(bucket) = self.index.insert(&self.cells, hash, at) {
            let epoch = self.ageing.epoch();
            let named =
                (0..LANES).map(|lane| Lane { bucket, lane }).filter(|lane| lane.tag(&self.cells) != 0);
            let coldest =
                named.map(|lane| self.named(lane)).min_by_key(|named| heat::count(named.head.heat, epoch));
            let Some(coldest) = coldest else { return };
            self.forget(coldest);
            self.counts.evictions += 1;
            self.counts.crowded_out += 1;
        }
    }

    pub(crate) fn named(&self, lane: Lane) -> Named {
        let at = lane.entry(&self.cells);
        let (head, tail) = self.headers(at);
        Named { lane, at, head, tail }
    }

    pub(crate) fn headers(&self, at: usize) -> (Head, Tail) {
        (Head::unpack(self.cells.load(at)), Tail::unpack(self.cells.load(at + 1)))
    }

    /// Takes an entry out of the index.
    pub(crate) fn forget(&mut self, named: Named) {
        self.index.remove(&self.cells, named.head.place, named.lane);
        self.bury(named);
    }

    /// Accounts for an entry that no lane names any more.
    fn bury(&mut self, named: Named) {
        let words = named.words();
        self.cells.store(named.at, heat::dead(named.head).pack());
        self.counts.entries -= 1;
        self.counts.live_words -= words as u64;
        if let Some(segment) = self.plan.segment_of(named.at) {
            self.segments.get_mut(segment).live -= words as u32;
        }
    }

    // === the index and its segments ===

    fn begin(&mut self) {
        let chunk = loop {
            // The smallest capacity has room for far more than this segment.
            match self.prepare_chunk() {
                Preparing::Ready(chunk) => break chunk,
                Preparing::Clearing => {}
                Preparing::NoRoom => return,
            }
        };
        self.index.begin(&self.cells, &self.plan, chunk);
    }

    /// Works towards a segment for the index, cleared, where readers may look from then on.
    fn prepare_chunk(&mut self) -> Preparing {
        let (segment, cleared) = match self.spare {
            Some(spare) => spare,
            None if self.segments.available() < 2 => return Preparing::NoRoom,
            None => match self.segments.take(Role::Buckets) {
                Some(segment) => (segment, 0),
                None => return Preparing::NoRoom,
            },
        };
        let end = self.plan.segment_words.min(cleared + CLEAR_LINES as usize * BUCKET_WORDS);
        let start = self.plan.start(segment);
        for at in start + cleared..start + end {
            self.cells.store(at, 0);
        }
        self.counts.work += CLEAR_LINES;
        if end < self.plan.segment_words {
            self.spare = Some((segment, end));
            return Preparing::Clearing;
        }
        self.spare = None;
        writer::begin(&self.cells, self.plan.generation(segment), kind::BUCKETS);
        Preparing::Ready(start)
    }

    pub(crate) fn return_segment(&mut self, start: usize) {
        if let Some(segment) = self.plan.segment_of(start) {
            self.segments.give_back(&self.cells, &self.plan, segment);
        }
    }

    fn tend_index(&mut self, steps: usize) {
        if !self.index.is_moving() {
            let lanes = u64::from(self.index.buckets()) * LANES as u64;
            let entries = self.counts.entries;
            let for_share = |share: u64| (entries * 100 / share / LANES as u64 + 1) as u32;
            if entries * 100 > lanes * FULL {
                let is_filling = self.segments.available() > self.segments.limit() / 2;
                let share = if is_filling { FULL / 2 } else { SNUG };
                self.index.resize(&self.cells, for_share(share));
            } else if entries * 100 < lanes * SPARSE && self.index.buckets() > self.index.smallest() {
                self.index.resize(&self.cells, for_share(SNUG));
            } else {
                return;
            }
        }
        for _ in 0..steps {
            let mut homeless = Vec::new();
            let moved = self.index.step(&self.cells, |at| homeless.push(at));
            for at in homeless {
                self.lose(at);
            }
            match moved {
                Moved::NeedsChunk => match self.prepare_chunk() {
                    Preparing::Ready(chunk) => self.index.add_chunk(&self.cells, &self.plan, chunk),
                    Preparing::Clearing => {}
                    Preparing::NoRoom => return,
                },
                Moved::Returns(chunk) => self.return_segment(chunk),
                Moved::Nothing => {}
            }
        }
    }

    /// An entry for which the new table had no room.
    fn lose(&mut self, at: usize) {
        let (head, tail) = self.headers(at);
        let lane = Lane { bucket: 0, lane: 0 };
        self.bury(Named { lane, at, head, tail });
        self.counts.evictions += 1;
        self.counts.crowded_out += 1;
    }

    // === time and work ===

    #[inline]
    fn pass(&mut self, accesses: u64) {
        self.unpassed += accesses;
        if self.unpassed >= PASSED_TOGETHER {
            self.pass_unpassed();
        }
    }

    #[cold]
    fn pass_unpassed(&mut self) {
        let accesses = std::mem::take(&mut self.unpassed);
        self.pass_window(accesses);
        if self.ageing.pass(accesses, self.counts.entries) {
            self.sketch.next_epoch();
            self.eviction.next_epoch();
        } else {
            self.sketch.age_to(self.ageing.share_of(self.sketch.words()));
        }
    }

    /// Ends an operation on an entry of so many words: its work has been within bounds.
    fn settle(&mut self, words: usize) {
        let work = std::mem::take(&mut self.counts.work) + self.index.take_work();
        let lines = words.div_ceil(BUCKET_WORDS) as u32;
        self.counts.most_work = self.counts.most_work.max(work);
        debug_assert!(work <= MAX_WORK + lines * WORK_PER_LINE, "{work} lines and entries for {lines} lines");
    }

    fn resident_bytes(&self, segments: usize) -> usize {
        self.plan.first_segment() * WORD
            + segments * self.plan.segment_words * WORD
            + Segments::bookkeeping_bytes(self.segments.len())
            + self.sketch.words() * WORD
    }
}

impl<C: Owned> Drop for Arena<C> {
    fn drop(&mut self) {
        self.cells.store_release(at::STATE, state::RETIRED);
    }
}
