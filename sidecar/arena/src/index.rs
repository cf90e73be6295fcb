//! The owner's side of the index: buckets of one line, in the order of the hashes, growing and shrinking in small steps.
//!
//! A table of `n` buckets puts a hash at bucket `place * n / 2^32`, so any `n` will do and the order never changes. To
//! change size, a second table is filled from the lowest bucket upwards, a few buckets at a time; what lies below the
//! frontier is in the new table. Segments of the old one go back as the frontier passes them.

use crate::cells::Owned;
use crate::entry::Head;
use crate::hash::Hash;
use crate::layout::{BUCKET_WORDS, LANES, Lane, PROBES, Plan, at, elsewhere, first_place, home, lanes_with};

/// One table: its buckets lie in segments, which need not be neighbours.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Buckets at which entries are at home; [`PROBES`] more follow them.
    pub(crate) buckets: u32,
    /// Where each chunk begins; 0 once it was given back.
    chunks: Vec<usize>,
}

/// Both tables.
#[derive(Debug)]
pub(crate) struct Index {
    tables: [Table; 2],
    current: usize,
    frontier: u32,
    chunk_shift: u32,
    /// Buckets looked at since [`Index::take_work`].
    work: u32,
}

/// What became of an insertion.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Inserted {
    Named,
    /// All buckets that may name it are full: one of the entries in this one must go.
    Full(usize),
}

/// What a step of moving to the other table needs from its caller.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// Nothing.
    Nothing,
    /// A segment, for [`Index::add_chunk`].
    NeedsChunk,
    /// To take back the segment that begins here.
    Returns(usize),
}

impl Index {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            tables: [Table::default(), Table::default()],
            current: 0,
            frontier: 0,
            chunk_shift: plan.chunk_buckets().trailing_zeros(),
            work: 0,
        }
    }

    /// Buckets in the first chunk: the smallest table.
    pub(crate) fn smallest(&self) -> u32 {
        (1 << self.chunk_shift) - PROBES
    }

    /// Begins with one chunk, already cleared, which is the whole first table.
    pub(crate) fn begin(&mut self, cells: &impl Owned, plan: &Plan, chunk: usize) {
        self.current = 0;
        self.frontier = 0;
        self.tables = [Table { buckets: self.smallest(), chunks: vec![chunk] }, Table::default()];
        self.publish_chunk(cells, plan, 0, 0);
        self.publish_sizes(cells);
    }

    /// All chunks of both tables, for their segments to be taken back; nothing is found any more.
    pub(crate) fn end(&mut self, cells: &impl Owned) -> Vec<usize> {
        let chunks = self.tables.iter_mut().flat_map(|table| std::mem::take(table).chunks);
        let chunks = chunks.filter(|chunk| *chunk != 0).collect();
        self.publish_sizes(cells);
        chunks
    }

    /// Buckets of the table that is, or will be, the only one.
    pub(crate) fn buckets(&self) -> u32 {
        if self.is_moving() {
            self.tables[1 - self.current].buckets
        } else {
            self.tables[self.current].buckets
        }
    }

    pub(crate) fn is_moving(&self) -> bool {
        self.tables[1 - self.current].buckets > 0
    }

    /// Bytes of the index in use.
    pub(crate) fn bytes(&self) -> usize {
        let chunks = self.tables.iter().flat_map(|table| &table.chunks).filter(|chunk| **chunk != 0).count();
        (chunks << self.chunk_shift) * BUCKET_WORDS * 8
    }

    pub(crate) fn take_work(&mut self) -> u32 {
        std::mem::take(&mut self.work)
    }

    /// Asks for the bucket at which a place is at home, and tells where that is.
    #[inline]
    pub(crate) fn prefetch(&self, cells: &impl Owned, place: u32) -> usize {
        let (table, home) = self.likely_home(place);
        let bucket = self.bucket(table, home);
        cells.prefetch(bucket);
        bucket
    }

    /// The entry that a tag most likely means, once its bucket has come; asks for it.
    #[inline]
    pub(crate) fn prefetch_entry(cells: &impl Owned, bucket: usize, tag: u16) -> Option<usize> {
        let entry = lanes_with(cells, bucket, tag).next()?.entry(cells);
        cells.prefetch(entry);
        cells.prefetch(entry + BUCKET_WORDS);
        Some(entry)
    }

    /// The lane that names an entry for which `is_it` says yes; it is asked only about entries with the same tag.
    #[inline]
    pub(crate) fn find(
        &mut self,
        cells: &impl Owned,
        hash: Hash,
        mut is_it: impl FnMut(usize) -> bool,
    ) -> Option<Lane> {
        self.each_bucket(cells, hash.place, |bucket| {
            lanes_with(cells, bucket, hash.tag).find(|lane| is_it(lane.entry(cells)))
        })
    }

    /// The lane that names the entry at this position.
    pub(crate) fn locate(&mut self, cells: &impl Owned, place: u32, entry: usize) -> Option<Lane> {
        self.each_bucket(cells, place, |bucket| {
            let lanes = (0..LANES).map(|lane| Lane { bucket, lane });
            lanes.into_iter().find(|lane| lane.entry(cells) == entry && lane.tag(cells) != 0)
        })
    }

    /// Names an entry that no lane names yet.
    pub(crate) fn insert(&mut self, cells: &impl Owned, hash: Hash, entry: usize) -> Inserted {
        let (table, home) = self.likely_home(hash.place);
        self.insert_in(cells, table, home, hash.tag, entry)
    }

    /// Takes an entry out of the index.
    pub(crate) fn remove(&mut self, cells: &impl Owned, place: u32, lane: Lane) {
        lane.set_tag(cells, 0);
        // The table it was found in is the one whose home bucket can count it.
        for table in [self.current, 1 - self.current] {
            let buckets = self.tables[table].buckets;
            if buckets == 0 {
                continue;
            }
            let home = home(place, buckets);
            let first = if table == self.current { home.max(self.frontier) } else { home };
            let named = (first..=home + PROBES).find(|n| self.bucket_if(table, *n) == Some(lane.bucket));
            if let Some(named) = named {
                // A home bucket below the frontier has moved, and its counts with it.
                if home >= first && named > home {
                    let home_bucket = self.bucket(table, home);
                    elsewhere(cells, home_bucket).count(cells, home_bucket, named - home, false);
                }
                return;
            }
        }
    }

    /// Begins to move to a table of so many buckets.
    pub(crate) fn resize(&mut self, cells: &impl Owned, buckets: u32) {
        let buckets = buckets.max(self.smallest());
        if !self.is_moving() && buckets != self.tables[self.current].buckets {
            self.tables[1 - self.current] = Table { buckets, chunks: Vec::new() };
            self.publish_sizes(cells);
        }
    }

    /// Gives the new table its next chunk, already cleared.
    pub(crate) fn add_chunk(&mut self, cells: &impl Owned, plan: &Plan, chunk: usize) {
        let table = 1 - self.current;
        self.tables[table].chunks.push(chunk);
        self.publish_chunk(cells, plan, table, self.tables[table].chunks.len() - 1);
    }

    /// Moves one bucket to the new table. `dropped` is told of each entry for which there is no room.
    pub(crate) fn step(&mut self, cells: &impl Owned, mut dropped: impl FnMut(usize)) -> Moved {
        if !self.is_moving() {
            return Moved::Nothing;
        }
        let (old, new) = (self.current, 1 - self.current);
        let (old_buckets, new_buckets) = (self.tables[old].buckets, self.tables[new].buckets);
        let physical = old_buckets + PROBES;
        // What is at home below the next frontier must find its chunk.
        let next_home = first_place((self.frontier + 1).min(old_buckets), old_buckets);
        let reach = ((next_home * u64::from(new_buckets)) >> 32).min(u64::from(new_buckets) - 1) as u32;
        if ((reach + PROBES) >> self.chunk_shift) as usize >= self.tables[new].chunks.len() {
            return Moved::NeedsChunk;
        }
        let bucket = self.bucket(old, self.frontier);
        for lane in (0..LANES).map(|lane| Lane { bucket, lane }) {
            let tag = lane.tag(cells);
            if tag == 0 {
                continue;
            }
            let entry = lane.entry(cells);
            let place = Head::unpack(cells.load(entry)).place;
            if self.insert_in(cells, new, home(place, new_buckets), tag, entry) != Inserted::Named {
                dropped(entry);
            }
            lane.set_tag(cells, 0);
        }
        self.frontier += 1;
        cells.store_release(at::FRONTIER, u64::from(self.frontier));
        if self.frontier == physical {
            return Moved::Returns(self.finish(cells));
        }
        if self.frontier & ((1 << self.chunk_shift) - 1) == 0 {
            let passed = (self.frontier >> self.chunk_shift) as usize - 1;
            return Moved::Returns(std::mem::take(&mut self.tables[old].chunks[passed]));
        }
        if let Some(entry_bucket) = self.bucket_if(old, self.frontier) {
            for lane in (0..LANES).map(|lane| Lane { bucket: entry_bucket, lane }) {
                if lane.tag(cells) != 0 {
                    cells.prefetch(lane.entry(cells));
                }
            }
        }
        Moved::Nothing
    }

    /// Visits the entries whose place is at home in one bucket of the present table, from `place` on. Returns the first
    /// place after them, 2^32 at the end.
    pub(crate) fn visit(&self, cells: &impl Owned, place: u32, mut visit: impl FnMut(usize)) -> u64 {
        let old = self.tables[self.current].buckets;
        let bucket = home(place, old);
        let end = first_place(bucket + 1, old);
        let mut within = |table: usize, first: u32, last: u32| {
            for n in first..=last {
                let Some(bucket) = self.bucket_if(table, n) else { continue };
                for lane in (0..LANES).map(|lane| Lane { bucket, lane }) {
                    if lane.tag(cells) == 0 {
                        continue;
                    }
                    let entry = lane.entry(cells);
                    let at = Head::unpack(cells.load(entry)).place;
                    if at >= place && u64::from(at) < end {
                        visit(entry);
                    }
                }
            }
        };
        if !self.is_moving() {
            // Its home says where else what is at home there is named.
            within(self.current, bucket, bucket);
            for distance in elsewhere(cells, self.bucket(self.current, bucket)).distances() {
                within(self.current, bucket + distance, bucket + distance);
            }
            return end;
        }
        if bucket < self.frontier {
            let new = self.tables[1 - self.current].buckets;
            within(1 - self.current, home(place, new), home((end - 1) as u32, new) + PROBES);
        }
        within(self.current, bucket.max(self.frontier), bucket + PROBES);
        end
    }

    // === one key ===

    #[inline]
    fn each_bucket<T>(
        &mut self,
        cells: &impl Owned,
        place: u32,
        mut look: impl FnMut(usize) -> Option<T>,
    ) -> Option<T> {
        let (table, home_bucket) = self.likely_home(place);
        if let Some(found) = self.probe(cells, table, home_bucket, &mut look) {
            return Some(found);
        }
        if table != self.current {
            // Named after its home in the old table, beyond the frontier.
            let old_home = home(place, self.tables[self.current].buckets);
            for n in self.frontier..=old_home + PROBES {
                self.work += 1;
                let bucket = self.bucket_if(self.current, n)?;
                if let Some(found) = look(bucket) {
                    return Some(found);
                }
            }
        }
        None
    }

    #[inline]
    fn probe<T>(
        &mut self,
        cells: &impl Owned,
        table: usize,
        home: u32,
        look: &mut impl FnMut(usize) -> Option<T>,
    ) -> Option<T> {
        let bucket = self.bucket(table, home);
        self.work += 1;
        if let Some(found) = look(bucket) {
            return Some(found);
        }
        for distance in elsewhere(cells, bucket).distances() {
            self.work += 1;
            if let Some(found) = look(self.bucket(table, home + distance)) {
                return Some(found);
            }
        }
        None
    }

    fn insert_in(&mut self, cells: &impl Owned, table: usize, home: u32, tag: u16, entry: usize) -> Inserted {
        let home_bucket = self.bucket(table, home);
        for n in 0..=PROBES {
            self.work += 1;
            let bucket = self.bucket(table, home + n);
            if let Some(lane) = lanes_with(cells, bucket, 0).next() {
                lane.set_entry(cells, entry);
                lane.set_tag(cells, tag);
                if n > 0 {
                    elsewhere(cells, home_bucket).count(cells, home_bucket, n, true);
                }
                return Inserted::Named;
            }
        }
        Inserted::Full(home_bucket)
    }

    /// The table in which a place belongs now, and its home there.
    #[inline]
    fn likely_home(&self, place: u32) -> (usize, u32) {
        let here = home(place, self.tables[self.current].buckets);
        if here < self.frontier {
            let other = 1 - self.current;
            return (other, home(place, self.tables[other].buckets));
        }
        (self.current, here)
    }

    #[inline]
    fn bucket(&self, table: usize, n: u32) -> usize {
        let within = (n & ((1 << self.chunk_shift) - 1)) as usize;
        self.tables[table].chunks[(n >> self.chunk_shift) as usize] + within * BUCKET_WORDS
    }

    fn bucket_if(&self, table: usize, n: u32) -> Option<usize> {
        let chunk = *self.tables[table].chunks.get((n >> self.chunk_shift) as usize)?;
        (chunk != 0).then(|| self.bucket(table, n))
    }

    // === what readers see ===

    fn finish(&mut self, cells: &impl Owned) -> usize {
        let last = self.tables[self.current].chunks.pop().unwrap_or_default();
        self.tables[self.current] = Table::default();
        self.current = 1 - self.current;
        self.frontier = 0;
        self.publish_sizes(cells);
        last
    }

    fn publish_sizes(&self, cells: &impl Owned) {
        for (n, table) in self.tables.iter().enumerate() {
            cells.store(at::BUCKETS + n, u64::from(table.buckets));
        }
        cells.store(at::FRONTIER, u64::from(self.frontier));
        cells.store_release(at::CURRENT, self.current as u64);
    }

    fn publish_chunk(&self, cells: &impl Owned, plan: &Plan, table: usize, chunk: usize) {
        let start = self.tables[table].chunks[chunk];
        let segment = plan.segment_of(start).unwrap_or_default();
        cells.store_release(plan.directory(table, chunk), segment as u64);
    }
}
