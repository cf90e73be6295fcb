//! The layout of the memory, version 1: control words, generations, directories, segments.

use crate::cells::Cells;
use crate::hash::Seed;

/// The first word: `SYNARENA`.
pub const MAGIC: u64 = u64::from_le_bytes(*b"SYNARENA");

/// The layout that this code writes and reads.
pub const VERSION: u64 = 1;

/// Positions of the control words.
pub mod at {
    /// [`super::MAGIC`].
    pub const MAGIC: usize = 0;
    /// [`super::VERSION`].
    pub const VERSION: usize = 1;
    /// Words in one segment, a power of two.
    pub const SEGMENT_WORDS: usize = 2;
    /// How many segments there are.
    pub const SEGMENTS: usize = 3;
    /// Both halves of the seed of the hash.
    pub const SEED: usize = 4;
    /// [`super::state`]; the only word above this line that changes.
    pub const STATE: usize = 8;
    /// CLOCK_BOOTTIME in nanoseconds at the beginning of millisecond 1 of the deadlines.
    pub const CLOCK: usize = 9;
    /// The last millisecond at which readers may trust the memory; `u64::MAX` for ever.
    pub const LEASE: usize = 10;
    /// The number of a thread of the owner; [`super::DIED`] as soon as it, and with it the owner, has ended. 0 where the
    /// kernel does not say.
    pub const OWNER: usize = 11;
    /// Which of both tables is complete, or still holds what has not moved to the other: 0 or 1.
    pub const CURRENT: usize = 16;
    /// Buckets of the current table, counted from 0, that have moved to the other one.
    pub const FRONTIER: usize = 17;
    /// Buckets in table 0; the next word is for table 1. 0 when there is no such table.
    pub const BUCKETS: usize = 18;
    /// Where the generations begin; both directories follow them, and then the first segment.
    pub const GENERATIONS: usize = 64;
}

/// Values of the word [`at::STATE`].
pub mod state {
    /// The memory is in use.
    pub const LIVE: u64 = 1;
    /// Its owner has left it: what it holds is of the past.
    pub const RETIRED: u64 = 2;
}

/// The bit of the word [`at::OWNER`] that the kernel sets when the owner has ended.
pub const DIED: u64 = 1 << 30;

/// The two low bits of a generation word: what its segment is. The other bits count how often that changed.
pub mod kind {
    /// Nothing in it may be read.
    pub const FREE: u64 = 0;
    /// Entries, one after the other.
    pub const ENTRIES: u64 = 1;
    /// Buckets of the index.
    pub const BUCKETS: u64 = 2;
    /// The bits that say which.
    pub const MASK: u64 = 3;
}

/// Words in a bucket: one line.
pub const BUCKET_WORDS: usize = 8;

/// Entries that a bucket can name.
pub const LANES: usize = 10;

/// Buckets after its own in which an entry may be named.
pub const PROBES: u32 = 16;

/// The most words a region can have: positions of entries are 32 bits wide (32 GiB).
pub const MAX_WORDS: usize = u32::MAX as usize;

const SMALLEST_SEGMENT_WORDS: usize = 16 << 10 >> 3;
const LARGEST_SEGMENT_WORDS: usize = 256 << 10 >> 3;
const SEGMENTS_WANTED: usize = 1024;
const PAGE_WORDS: usize = 4096 >> 3;

/// Where everything lies: what follows from the size of a segment and their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Words in one segment, a power of two.
    pub segment_words: usize,
    /// How many segments there are.
    pub segments: usize,
    /// What follows from both, and is needed for each look-up: where the first segment begins, and the binary logarithm of
    /// the size.
    first_segment: usize,
    segment_shift: u32,
}

impl Plan {
    /// So many segments of so many words, a power of two.
    pub const fn new(segment_words: usize, segments: usize) -> Self {
        let first_segment = (at::GENERATIONS + 3 * segments).next_multiple_of(PAGE_WORDS);
        Self { segment_words, segments, first_segment, segment_shift: segment_words.trailing_zeros() }
    }

    /// The plan that fits into so many words; `None` when there is room for fewer than `least` segments.
    pub fn fitting(words: usize, least: usize) -> Option<Self> {
        let words = words.min(MAX_WORDS);
        let wanted = (words / SEGMENTS_WANTED).next_power_of_two();
        let segment_words = wanted.clamp(SMALLEST_SEGMENT_WORDS, LARGEST_SEGMENT_WORDS);
        let mut plans =
            (least..=words / segment_words).rev().map(|segments| Self::new(segment_words, segments));
        plans.find(|plan| plan.words() <= words)
    }

    /// The plan of somebody else's memory, as its control words say.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(cells: &impl Cells) -> Result<Self, Unreadable> {
        if cells.words() < at::GENERATIONS || cells.load(at::MAGIC) != MAGIC {
            return Err(Unreadable::NotAnArena);
        }
        match cells.load(at::VERSION) {
            VERSION => {}
            other => return Err(Unreadable::Version(other)),
        }
        let number = |at| usize::try_from(cells.load(at)).unwrap_or(usize::MAX);
        let (segment_words, segments) = (number(at::SEGMENT_WORDS), number(at::SEGMENTS));
        let is_sane = segment_words.is_power_of_two()
            && (BUCKET_WORDS..=MAX_WORDS).contains(&segment_words)
            && segments <= MAX_WORDS / segment_words;
        let plan = is_sane.then(|| Self::new(segment_words, segments));
        plan.filter(|plan| plan.words() <= cells.words()).ok_or(Unreadable::Size)
    }

    /// All words together.
    pub fn words(&self) -> usize {
        self.start(self.segments)
    }

    /// Where the generation of a segment stands.
    #[inline]
    pub fn generation(&self, segment: usize) -> usize {
        at::GENERATIONS + segment
    }

    /// Where a table (0 or 1) names the segment of one of its chunks.
    #[inline]
    pub fn directory(&self, table: usize, chunk: usize) -> usize {
        at::GENERATIONS + (1 + table) * self.segments + chunk
    }

    /// Where a segment begins.
    #[inline]
    pub fn start(&self, segment: usize) -> usize {
        self.first_segment + (segment << self.segment_shift)
    }

    /// In which segment a word lies, `None` for the words before the first and after the last.
    #[inline]
    pub fn segment_of(&self, at: usize) -> Option<usize> {
        let segment = at.checked_sub(self.first_segment)? >> self.segment_shift;
        (segment < self.segments).then_some(segment)
    }

    /// Buckets in one segment of the index.
    #[inline]
    pub fn chunk_buckets(&self) -> u32 {
        (self.segment_words / BUCKET_WORDS) as u32
    }

    /// In which chunk of its table a bucket lies, and which of the chunk's it is.
    #[inline]
    pub fn chunk_of(&self, bucket: u32) -> (usize, usize) {
        let word = (bucket as usize) * BUCKET_WORDS;
        (word >> self.segment_shift, (word & (self.segment_words - 1)) / BUCKET_WORDS)
    }

    /// The most words that one entry may take: what is left at the end of a segment is less than an eighth of it.
    pub fn largest_slot(&self) -> usize {
        self.segment_words / 8
    }
}

/// The bucket at which an entry is at home, in a table of so many.
#[inline]
pub fn home(place: u32, buckets: u32) -> u32 {
    ((u64::from(place) * u64::from(buckets)) >> 32) as u32
}

/// The first place that is at home in a bucket, 2^32 for the bucket after the last.
pub fn first_place(bucket: u32, buckets: u32) -> u64 {
    (u64::from(bucket) << 32).div_ceil(u64::from(buckets))
}

/// One lane of a bucket: where its parts stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lane {
    /// Where the bucket begins.
    pub bucket: usize,
    /// Which of its entries, below [`LANES`].
    pub lane: usize,
}

impl Lane {
    /// The tag, 0 when the lane is empty.
    #[inline]
    pub fn tag(self, cells: &impl Cells) -> u16 {
        (cells.load(self.bucket + self.lane / 4) >> (self.lane % 4 * 16)) as u16
    }

    /// The tag, with all that was stored before it was set.
    #[inline]
    pub fn tag_acquire(self, cells: &impl Cells) -> u16 {
        (cells.load_acquire(self.bucket + self.lane / 4) >> (self.lane % 4 * 16)) as u16
    }

    /// The position of the entry.
    #[inline]
    pub fn entry(self, cells: &impl Cells) -> usize {
        self.entry_in(cells.load(self.entry_word()))
    }

    /// The position of the entry, with all that was stored before it was named.
    #[inline]
    pub fn entry_acquire(self, cells: &impl Cells) -> usize {
        self.entry_in(cells.load_acquire(self.entry_word()))
    }

    /// Names another entry; everything stored before is seen by who finds it.
    #[inline]
    pub fn set_entry(self, cells: &impl Cells, entry: usize) {
        let (at, shift) = (self.entry_word(), self.lane % 2 * 32);
        let others = cells.load(at) & !(u64::from(u32::MAX) << shift);
        cells.store_release(at, others | (entry as u64) << shift);
    }

    /// Sets the tag; everything stored before is seen by who finds it.
    #[inline]
    pub fn set_tag(self, cells: &impl Cells, tag: u16) {
        let (at, shift) = (self.bucket + self.lane / 4, self.lane % 4 * 16);
        let others = cells.load(at) & !(u64::from(u16::MAX) << shift);
        cells.store_release(at, others | u64::from(tag) << shift);
    }

    #[inline]
    fn entry_word(self) -> usize {
        self.bucket + 3 + self.lane / 2
    }

    #[inline]
    fn entry_in(self, word: u64) -> usize {
        (word >> (self.lane % 2 * 32)) as u32 as usize
    }
}

/// The lanes of a bucket that have this tag, 0 for the empty ones.
#[inline]
pub fn lanes_with(cells: &impl Cells, bucket: usize, tag: u16) -> Lanes {
    const LOWS: u64 = 0x7fff_7fff_7fff_7fff;
    let wanted = u64::from(tag) * 0x0001_0001_0001_0001;
    // The highest bit of each 16 that are all 0, and of no others.
    let zeros = |word: u64| !(((word & LOWS) + LOWS) | word | LOWS);
    let first = zeros(cells.load(bucket) ^ wanted) >> 15;
    let second = zeros(cells.load(bucket + 1) ^ wanted) >> 14;
    // The last word has two tags only; its other half counts what is named elsewhere.
    let third = (zeros(cells.load(bucket + 2) ^ wanted) & u64::from(u32::MAX)) >> 13;
    Lanes { bucket, marks: first | second | third }
}

/// See [`lanes_with`]: a mark for tag `t` of word `w` of the bucket at bit `16 * t + w`.
#[derive(Debug, Clone)]
pub struct Lanes {
    bucket: usize,
    marks: u64,
}

impl Iterator for Lanes {
    type Item = Lane;

    #[inline]
    fn next(&mut self) -> Option<Lane> {
        if self.marks == 0 {
            return None;
        }
        let mark = self.marks.trailing_zeros() as usize;
        self.marks &= self.marks - 1;
        Some(Lane { bucket: self.bucket, lane: mark % 16 * 4 + mark / 16 })
    }
}

/// How many entries that are at home in this bucket are named in another one, two bits for each distance, 1 to
/// [`PROBES`].
#[inline]
pub fn elsewhere(cells: &impl Cells, bucket: usize) -> Elsewhere {
    Elsewhere((cells.load(bucket + 2) >> 32) as u32)
}

/// See [`elsewhere`]. A count of 3 means 3 or more, and stays until the table changes its size: it costs a look at a
/// bucket where nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elsewhere(u32);

const MANY: u32 = 3;

impl Elsewhere {
    /// The distances at which some may be, the nearest first.
    #[inline]
    pub fn distances(self) -> impl Iterator<Item = u32> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let pair = left.trailing_zeros() / 2;
            left &= !(MANY << (pair * 2));
            Some(pair + 1)
        })
    }

    /// Counts one more at this distance, or one less.
    pub fn count(self, cells: &impl Cells, bucket: usize, distance: u32, is_more: bool) {
        let shift = (distance - 1) * 2;
        let counts = match (self.0 >> shift & MANY, is_more) {
            (MANY, _) => return,
            (_, true) => self.0 + (1 << shift),
            (_, false) => self.0 - (1 << shift),
        };
        let tags = cells.load(bucket + 2) & u64::from(u32::MAX);
        cells.store(bucket + 2, tags | u64::from(counts) << 32);
    }
}

/// The seed in the control words.
pub fn seed(cells: &impl Cells) -> Seed {
    Seed([cells.load(at::SEED), cells.load(at::SEED + 1)])
}

/// Why somebody's memory cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It does not begin as an arena does.
    #[error("this memory is not an arena")]
    NotAnArena,
    /// Its layout is another one.
    #[error("the arena has layout {0}, this reader knows layout {VERSION}")]
    Version(u64),
    /// Its parts do not fit into it.
    #[error("the arena is larger than the memory it lies in")]
    Size,
}
