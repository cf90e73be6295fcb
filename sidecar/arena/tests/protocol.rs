//! The protocol between writer and readers under loom: every interleaving, and every order that weak memory allows.
//!
//! Only the words that change are loom's atomics; the others are constants. The writer runs the functions of
//! `writer`, the reader the whole of `Reader::get`.

use std::collections::HashMap;
use std::panic;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering, fence};
use loom::thread;
use synapse_arena::cells::Cells;
use synapse_arena::entry::{Head, NEVER, slot_words};
use synapse_arena::hash::Seed;
use synapse_arena::layout::{Lane, MAGIC, Plan, VERSION, at, home, kind, state};
use synapse_arena::reader::{Look, Reader};
use synapse_arena::writer;

const PLAN: Plan = Plan::new(256, 3);
const SEED: Seed = Seed([1, 2]);
const BUCKETS: u32 = 8;
const KEY: &[u8] = b"key";

/// Which part of the protocol is left out.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Replacing a value does not make the version odd, nor another one.
    Version,
    /// A segment is reused without a change of its generation.
    Generation,
    /// Nothing is ordered before anything else.
    NoFences,
}

struct Words {
    racing: HashMap<usize, AtomicU64>,
    constant: HashMap<usize, u64>,
    fault: Fault,
}

impl Words {
    fn order(&self, order: Ordering) -> Ordering {
        if self.fault == Fault::NoFences { Ordering::Relaxed } else { order }
    }

    fn stored(&self, at: usize, word: u64) -> Option<u64> {
        match self.fault {
            Fault::Generation if at == PLAN.generation(1) => None,
            Fault::Version if at == PLAN.start(1) => Some(Head { version: 0, ..Head::unpack(word) }.pack()),
            _ => Some(word),
        }
    }
}

#[derive(Clone)]
struct Model(Arc<Words>);

impl Cells for Model {
    fn words(&self) -> usize {
        PLAN.words()
    }

    fn load(&self, at: usize) -> u64 {
        match self.0.racing.get(&at) {
            Some(cell) => cell.load(Ordering::Relaxed),
            None => self.0.constant.get(&at).copied().unwrap_or(0),
        }
    }

    fn load_acquire(&self, at: usize) -> u64 {
        match self.0.racing.get(&at) {
            Some(cell) => cell.load(self.0.order(Ordering::Acquire)),
            None => self.load(at),
        }
    }

    fn store(&self, at: usize, word: u64) {
        if let Some(word) = self.0.stored(at, word) {
            self.0.racing[&at].store(word, Ordering::Relaxed);
        }
    }

    fn store_release(&self, at: usize, word: u64) {
        if let Some(word) = self.0.stored(at, word) {
            self.0.racing[&at].store(word, self.0.order(Ordering::Release));
        }
    }

    fn fence_acquire(&self) {
        if self.0.fault != Fault::NoFences {
            fence(Ordering::Acquire);
        }
    }

    fn fence_release(&self) {
        if self.0.fault != Fault::NoFences {
            fence(Ordering::Release);
        }
    }
}

fn lane() -> Lane {
    let place = SEED.hash(KEY).place;
    Lane { bucket: PLAN.start(0) + home(place, BUCKETS) as usize * 8, lane: 0 }
}

fn head(version: u8) -> Head {
    Head { version, heat: 0, key_len: KEY.len() as u16, place: SEED.hash(KEY).place }
}

/// Memory with a bucket in segment 0 and an entry, `KEY` with `value`, at the beginning of segment 1.
fn memory(value: &[u8], fault: Fault) -> Model {
    let entry = PLAN.start(1);
    let mut words = HashMap::from([
        (at::MAGIC, MAGIC),
        (at::VERSION, VERSION),
        (at::SEGMENT_WORDS, PLAN.segment_words as u64),
        (at::SEGMENTS, PLAN.segments as u64),
        (at::SEED, SEED.0[0]),
        (at::SEED + 1, SEED.0[1]),
        (at::STATE, state::LIVE),
        (at::LEASE, u64::MAX),
        (at::BUCKETS, u64::from(BUCKETS)),
        (PLAN.generation(0), kind::BUCKETS),
    ]);
    let mut racing = vec![PLAN.generation(1), lane().bucket, lane().bucket + 3];
    racing.extend(entry..entry + slot_words(KEY.len(), value.len()));
    let recorder = Recorder(std::cell::RefCell::new(HashMap::new()));
    writer::write(&recorder, entry, head(0), NEVER, value, KEY);
    words.extend(recorder.0.into_inner());
    words.insert(PLAN.generation(1), kind::ENTRIES);
    words.insert(lane().bucket, u64::from(SEED.hash(KEY).tag));
    words.insert(lane().bucket + 3, entry as u64);
    let racing = racing.into_iter().map(|at| (at, AtomicU64::new(words[&at]))).collect();
    Model(Arc::new(Words { racing, constant: words, fault }))
}

struct Recorder(std::cell::RefCell<HashMap<usize, u64>>);

impl Cells for Recorder {
    fn words(&self) -> usize {
        PLAN.words()
    }
    fn load(&self, at: usize) -> u64 {
        self.0.borrow().get(&at).copied().unwrap_or(0)
    }
    fn load_acquire(&self, at: usize) -> u64 {
        self.load(at)
    }
    fn store(&self, at: usize, word: u64) {
        self.0.borrow_mut().insert(at, word);
    }
    fn store_release(&self, at: usize, word: u64) {
        self.store(at, word);
    }
    fn fence_acquire(&self) {}
    fn fence_release(&self) {}
}

fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.max_branches = 20_000;
    builder.check(model);
}

const OLD: &[u8] = b"old old old old ";
const NEW: &[u8] = b"new new new new ";

/// The writer replaces a value where it lies while a reader copies it.
fn replacing(fault: Fault) {
    explore(move || {
        let cells = memory(OLD, fault);
        let reader = thread::spawn({
            let cells = cells.clone();
            move || {
                let mut copy = Vec::new();
                let mut reader = Reader::over(cells).expect("an arena");
                match reader.get(KEY, 1, &mut copy) {
                    Look::Hit { .. } => assert!(copy == OLD || copy == NEW, "torn: {copy:?}"),
                    Look::Unsure => {}
                    other => panic!("{other:?}"),
                }
            }
        });
        writer::replace(&cells, PLAN.start(1), head(0), NEVER, NEW, KEY);
        reader.join().expect("the reader is content");
    });
}

/// The writer drops an entry and writes another one of the same key length where it lay, whose value ends as if it were
/// the old one; nobody names it.
fn reusing(fault: Fault) {
    explore(move || {
        let cells = memory(OLD, fault);
        let reader = thread::spawn({
            let cells = cells.clone();
            move || {
                let mut copy = Vec::new();
                let mut reader = Reader::over(cells).expect("an arena");
                match reader.get(KEY, 1, &mut copy) {
                    Look::Hit { .. } => assert!(copy == OLD, "foreign: {copy:?}"),
                    Look::Unsure | Look::Miss => {}
                    Look::Gone => panic!("nobody went"),
                }
            }
        });
        lane().set_tag(&cells, 0);
        writer::retire(&cells, PLAN.generation(1));
        writer::write(&cells, PLAN.start(1), head(0), NEVER, NEW, KEY);
        writer::begin(&cells, PLAN.generation(1), kind::ENTRIES);
        reader.join().expect("the reader is content");
    });
}

fn is_caught(model: impl Fn() + panic::UnwindSafe) -> bool {
    panic::catch_unwind(model).is_err()
}

#[test]
fn a_value_that_is_replaced_is_read_whole() {
    replacing(Fault::None);
}

#[test]
fn a_segment_that_is_reused_gives_no_foreign_bytes() {
    reusing(Fault::None);
}

#[test]
fn each_part_of_the_protocol_is_needed() {
    assert!(is_caught(|| replacing(Fault::Version)), "the version");
    assert!(is_caught(|| reusing(Fault::Generation)), "the generation");
    assert!(is_caught(|| replacing(Fault::NoFences)), "fences, when a value is replaced");
    assert!(is_caught(|| reusing(Fault::NoFences)), "fences, when a segment is reused");
}
