//! The two sides of the protocol, with its part of it left out.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use synapse_arena::cells::{Cells, Owned};
use synapse_arena::entry::Head;
use synapse_arena::layout::{Plan, at, kind};
use synapse_arena::region::Region;

/// Memory under the eyes of a reader: counts what a second look shows to have changed since the first one, or hides it.
pub(crate) struct Seen {
    region: Region,
    /// The reader is never told: it behaves as one that does not look again.
    pub(crate) is_hidden: bool,
    pub(crate) changed: Rc<Cell<u64>>,
    /// What the words were that say which bytes belong together, since the look-up began.
    first: RefCell<Vec<(usize, u64)>>,
    /// A copy was made, and is being checked.
    is_checking: Cell<bool>,
}

// === impl Seen ===

impl Seen {
    pub(crate) fn new(region: Region, is_hidden: bool) -> Self {
        let (changed, first) = (Rc::default(), RefCell::default());
        Self { region, is_hidden, changed, first, is_checking: Cell::new(false) }
    }

    /// What is seen of a word that is checked. Words of another meaning differ too: the heat that a header notes.
    fn again(&self, at: usize, now: u64) -> u64 {
        let first = self.first.borrow();
        let Some((_, before)) = first.iter().rev().find(|(place, _)| *place == at) else { return now };
        if *before != now && !is_heat(*before, now) {
            self.changed.set(self.changed.get() + 1);
        }
        if self.is_hidden { *before } else { now }
    }
}

/// Do two headers differ in nothing but what the owner notes for itself?
fn is_heat(before: u64, now: u64) -> bool {
    let (before, now) = (Head::unpack(before), Head::unpack(now));
    Head { heat: now.heat, ..before } == now
}

impl Cells for Seen {
    fn words(&self) -> usize {
        self.region.words()
    }

    fn load(&self, at: usize) -> u64 {
        let now = self.region.load(at);
        if self.is_checking.get() { self.again(at, now) } else { now }
    }

    fn load_acquire(&self, at: usize) -> u64 {
        if self.is_checking.replace(false) || at == at::STATE {
            self.first.borrow_mut().clear();
        }
        let now = self.region.load_acquire(at);
        self.first.borrow_mut().push((at, now));
        now
    }

    fn store(&self, _: usize, _: u64) {
        unreachable!("readers do not store");
    }

    fn store_release(&self, _: usize, _: u64) {
        unreachable!("readers do not store");
    }

    fn copy(&self, at: usize, to: &mut [[u8; 8]]) {
        self.region.copy(at, to);
    }

    fn fence_acquire(&self) {
        self.region.fence_acquire();
        self.is_checking.set(true);
    }

    fn fence_release(&self) {
        self.region.fence_release();
    }
}

/// Memory of a writer who forgets the protocol: segments are reused, and values replaced, without a word to readers.
pub(crate) struct Careless {
    pub(crate) region: Region,
    pub(crate) plan: Plan,
}

impl Careless {
    /// What becomes of a store; `None` when it is forgotten.
    fn as_stored(&self, at: usize, word: u64) -> Option<u64> {
        let generations = at::GENERATIONS..at::GENERATIONS + self.plan.segments;
        // Once readers have been let in, they stay.
        if generations.contains(&at) && self.region.load(at) & kind::MASK == kind::ENTRIES {
            return None;
        }
        // A header, of a key of eight bytes: no word of a value looks like one, see `prey`.
        let is_head = Head::unpack(word).key_len == 8 && Head::unpack(self.region.load(at)).key_len == 8;
        Some(if is_head { Head { version: 0, ..Head::unpack(word) }.pack() } else { word })
    }
}

impl Cells for Careless {
    fn words(&self) -> usize {
        self.region.words()
    }

    fn load(&self, at: usize) -> u64 {
        self.region.load(at)
    }

    fn load_acquire(&self, at: usize) -> u64 {
        self.region.load_acquire(at)
    }

    fn store(&self, at: usize, word: u64) {
        if let Some(word) = self.as_stored(at, word) {
            self.region.store(at, word);
        }
    }

    fn store_release(&self, at: usize, word: u64) {
        if let Some(word) = self.as_stored(at, word) {
            self.region.store_release(at, word);
        }
    }

    fn fence_acquire(&self) {
        self.region.fence_acquire();
    }

    fn fence_release(&self) {
        self.region.fence_release();
    }
}

impl Owned for Careless {
    fn bytes(&self, at: usize, skip: usize, len: usize) -> &[u8] {
        self.region.bytes(at, skip, len)
    }

    fn prefetch(&self, at: usize) {
        self.region.prefetch(at);
    }

    fn release(&self, _: usize, _: usize) -> bool {
        false
    }
}
