//! A reader of memory that is not as it should be: what it may see of a segment that is used anew at that very moment,
//! and worse. It may find anything, but it must not panic, and not go on for ever.

use std::cell::RefCell;
use std::sync::OnceLock;

use synapse_arena::arena::{Arena, SMALLEST_CAPACITY};
use synapse_arena::cells::Cells;
use synapse_arena::entry::{Head, NEVER};
use synapse_arena::hash::Hash;
use synapse_arena::layout::{BUCKET_WORDS, LANES, Lane, Plan, at, home, kind, lanes_with, seed};
use synapse_arena::reader::Reader;

const KEY: &[u8] = b"key";

/// Memory with an entry in it, and what follows from its seed.
struct Good {
    words: Vec<u64>,
    plan: Plan,
    hash: Hash,
    /// Where the key's home bucket stands, and its entry.
    bucket: usize,
    entry: usize,
}

/// The good words, and those that are in their place.
struct Spoilt {
    good: &'static Good,
    changes: RefCell<Vec<(usize, u64)>>,
}

/// Takes `data` for changes of the memory, twelve bytes each.
pub(crate) fn run(data: &[u8]) {
    static GOOD: OnceLock<Good> = OnceLock::new();
    let good = GOOD.get_or_init(good);
    let spoilt = Spoilt { good, changes: RefCell::default() };
    for change in data.chunks_exact(12).take(16) {
        let (what, near) = (change[0], usize::from(change[1]));
        let far = usize::from(change[2]) | usize::from(change[3]) << 8;
        let word = u64::from_le_bytes(std::array::from_fn(|n| change[4 + n]));
        // Somewhere in the memory; its end is of most interest.
        let last = good.words.len() - 1;
        let place = if what / 16 % 2 == 0 { last - near } else { far.min(last) };
        match what % 8 {
            0 => spoilt.store(near % (at::GENERATIONS + 3 * good.plan.segments), word),
            1 => spoilt.store(good.bucket + near % BUCKET_WORDS, word),
            2 => spoilt.store(good.entry + near % 4, word),
            3 => spoilt.store(place, word),
            4 | 5 => {
                let lane = Lane { bucket: good.bucket, lane: far % LANES };
                lane.set_entry(&spoilt, place);
                lane.set_tag(&spoilt, good.hash.tag);
                if let Some(segment) = good.plan.segment_of(place).filter(|_| what % 8 == 5) {
                    spoilt.store(good.plan.generation(segment), kind::ENTRIES);
                }
            }
            _ => {
                let key_len = KEY.len() as u16;
                spoilt.store(place, Head { version: 0, heat: 0, key_len, place: good.hash.place }.pack());
            }
        }
    }
    let Ok(mut reader) = Reader::over(spoilt) else { return };
    let mut value = Vec::new();
    for key in [KEY, b"other"] {
        reader.get(key, 1, &mut value);
    }
}

fn good() -> Good {
    let mut arena = Arena::on_heap(SMALLEST_CAPACITY).expect("the smallest capacity");
    arena.set(KEY, b"value", NEVER, 1).expect("it fits");
    let cells = arena.cells();
    let plan = Plan::read(cells).expect("an arena");
    let hash = seed(cells).hash(KEY);
    let (chunk, within) = plan.chunk_of(home(hash.place, cells.load(at::BUCKETS) as u32));
    let bucket = plan.start(cells.load(plan.directory(0, chunk)) as usize) + within * BUCKET_WORDS;
    let entry = lanes_with(cells, bucket, hash.tag).next().expect("at home").entry(cells);
    Good { words: (0..cells.words()).map(|at| cells.load(at)).collect(), plan, hash, bucket, entry }
}

impl Cells for Spoilt {
    fn words(&self) -> usize {
        self.good.words.len()
    }

    fn load(&self, at: usize) -> u64 {
        let changes = self.changes.borrow();
        let changed = changes.iter().rev().find(|change| change.0 == at).map(|change| change.1);
        changed.unwrap_or(self.good.words[at])
    }

    fn load_acquire(&self, at: usize) -> u64 {
        self.load(at)
    }

    fn store(&self, at: usize, word: u64) {
        self.changes.borrow_mut().push((at, word));
    }

    fn store_release(&self, at: usize, word: u64) {
        self.store(at, word);
    }

    fn fence_acquire(&self) {}

    fn fence_release(&self) {}
}
