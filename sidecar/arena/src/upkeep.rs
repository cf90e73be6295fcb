//! What goes on beside the operations: the index changes its size, time passes, and work stays within its bounds.

use crate::arena::Arena;
use crate::cells::Owned;
use crate::entry::HEADER_WORDS;
use crate::eviction::EVICTED_PER_WORD;
use crate::index::Moved;
use crate::layout::{BUCKET_WORDS, LANES, Lane, PROBES, kind};
use crate::one_key::Named;
use crate::region::WORD;
use crate::segments::Role;
use crate::writer;

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

/// Accesses that are counted together.
const PASSED_TOGETHER: u64 = 64;

/// Buckets that one write moves when the index changes its size, and one more for each line written.
pub(crate) const INDEX_STEPS: usize = 8;

/// Buckets that a call of [`Arena::tend`] moves.
pub(crate) const TENDED_STEPS: usize = 64;

/// How much of the index is taken, in hundredths of its lanes.
struct Loads {
    /// It grows above this...
    full: u64,
    /// ...and shrinks below this...
    sparse: u64,
    /// ...to this.
    aim: u64,
}

/// While there is room for entries, none may go for want of a lane: far from full, seventeen full buckets in a row are
/// not met.
const ROOMY: Loads = Loads { full: 62, sparse: 12, aim: 31 };
/// Where entries are evicted anyway, what the index does not take is theirs.
const SNUG: Loads = Loads { full: 75, sparse: 60, aim: 70 };

/// The arena ceases to be roomy when less than one part in so many of its segments is left...
const ROOM_ENDS: usize = 8;
/// ...and is roomy again when more than one part in so many is.
const ROOM_BEGINS: usize = 2;

enum Preparing {
    Ready(usize),
    Clearing,
    NoRoom,
}

impl<C: Owned> Arena<C> {
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

    // === the index and its segments ===

    pub(crate) fn begin(&mut self) {
        let chunk = loop {
            // The smallest capacity has room for far more than this segment.
            match self.prepare_chunk() {
                Preparing::Ready(chunk) => break chunk,
                Preparing::Clearing => {}
                Preparing::NoRoom => return,
            }
        };
        self.index.begin(&self.cells, &self.plan, chunk);
        // A beginning is no operation on a key: its work is one segment, whatever is done next.
        self.counts.work = 0;
        self.index.take_work();
    }

    /// Works towards a segment for the index, cleared, where readers may look from then on.
    fn prepare_chunk(&mut self) -> Preparing {
        let (segment, cleared) = match self.spare {
            Some(spare) => spare,
            None if self.segments.available() < 2 => return Preparing::NoRoom,
            None => match self.segments.take(&self.cells, &self.plan, Role::Buckets) {
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

    pub(crate) fn tend_index(&mut self, steps: usize) {
        if !self.index.is_moving() {
            let lanes = u64::from(self.index.buckets()) * LANES as u64;
            let entries = self.counts.entries;
            let loads = if self.is_roomy() { ROOMY } else { SNUG };
            let is_sparse =
                entries * 100 < lanes * loads.sparse && self.index.buckets() > self.index.smallest();
            if entries * 100 <= lanes * loads.full && !is_sparse {
                return;
            }
            self.index.resize(&self.cells, (entries * 100 / loads.aim / LANES as u64 + 1) as u32);
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

    /// Whether there is room for entries. What a smaller index leaves does not count: it would have to grow again.
    fn is_roomy(&mut self) -> bool {
        let limit = self.segments.limit();
        // Numbers that the compiler knows: to divide by others takes as long as all the rest.
        let least = if self.roomy { limit / ROOM_ENDS } else { limit / ROOM_BEGINS };
        self.roomy = self.segments.available() > least;
        self.roomy
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
    pub(crate) fn pass(&mut self, accesses: u64) {
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
            self.eviction.next_epoch();
            if self.ageing.begins_to_halve() {
                self.ghosts.age_again();
            }
        }
        self.ghosts.age_to(self.ageing.share_of(self.ghosts.words()));
    }

    /// Ends an operation on an entry of so many words: its work has been within bounds.
    pub(crate) fn settle(&mut self, words: usize) {
        let work = std::mem::take(&mut self.counts.work) + self.index.take_work();
        let lines = words.div_ceil(BUCKET_WORDS) as u32;
        self.counts.most_work = self.counts.most_work.max(work);
        debug_assert!(work <= MAX_WORK + lines * WORK_PER_LINE, "{work} lines and entries for {lines} lines");
    }
}
