//! The segments: which are free, which queue the others stand in, and what is alive in each.

use crate::cells::Owned;
use crate::entry::NEVER;
use crate::eviction::LATE;
use crate::layout::{Plan, kind};
use crate::writer::{begin, retire};

const NONE: u32 = u32::MAX;

/// What a segment is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Free,
    /// Entries that have not yet shown whether they will be asked for again.
    Window,
    /// Entries that have.
    Main,
    /// Being emptied.
    Victim,
    /// A chunk of the index.
    Buckets,
}

/// What the owner knows of a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meta {
    pub(crate) role: Role,
    /// Words appended to it.
    pub(crate) used: u32,
    /// Words of them that lanes name.
    pub(crate) live: u32,
    /// When it is worth while to look for entries whose deadline has passed.
    pub(crate) next_walk: u64,
    /// How many segments the window had been given before.
    born: u32,
    newer: u32,
    older: u32,
}

/// Segments in the order in which they were filled.
#[derive(Debug)]
pub(crate) struct Queue {
    newest: u32,
    oldest: u32,
    len: usize,
}

/// All segments.
#[derive(Debug)]
pub(crate) struct Segments {
    metas: Vec<Meta>,
    /// Free ones whose pages are resident, the last used first.
    free: Vec<u32>,
    /// Free ones whose pages are not.
    untouched: Vec<u32>,
    window: Queue,
    main: Queue,
    limit: usize,
    born: u32,
    given_back: u64,
}

impl Segments {
    pub(crate) fn new(plan: &Plan) -> Self {
        let meta =
            Meta { role: Role::Free, used: 0, live: 0, next_walk: NEVER, born: 0, newer: NONE, older: NONE };
        Self {
            metas: vec![meta; plan.segments],
            free: Vec::with_capacity(plan.segments),
            untouched: (0..plan.segments as u32).rev().collect(),
            window: Queue::EMPTY,
            main: Queue::EMPTY,
            limit: plan.segments,
            born: 0,
            given_back: 0,
        }
    }

    /// Bytes of bookkeeping for so many segments.
    pub(crate) fn bookkeeping_bytes(segments: usize) -> usize {
        segments * (size_of::<Meta>() + 2 * size_of::<u32>())
    }

    pub(crate) fn len(&self) -> usize {
        self.metas.len()
    }

    pub(crate) fn get(&self, segment: usize) -> &Meta {
        &self.metas[segment]
    }

    pub(crate) fn get_mut(&mut self, segment: usize) -> &mut Meta {
        &mut self.metas[segment]
    }

    /// How many more may be taken.
    pub(crate) fn available(&self) -> usize {
        self.limit.saturating_sub(self.in_use())
    }

    pub(crate) fn in_use(&self) -> usize {
        self.metas.len() - self.free.len() - self.untouched.len()
    }

    /// Segments whose pages are resident.
    pub(crate) fn resident(&self) -> usize {
        self.metas.len() - self.untouched.len()
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit.min(self.metas.len());
    }

    pub(crate) fn queue(&self, role: Role) -> &Queue {
        if role == Role::Main { &self.main } else { &self.window }
    }

    /// Takes a free segment, which readers do not look into yet.
    pub(crate) fn take(&mut self, cells: &impl Owned, plan: &Plan, role: Role) -> Option<usize> {
        if self.available() == 0 {
            return None;
        }
        let segment = match self.free.pop() {
            Some(segment) => segment,
            None => {
                let segment = self.untouched.pop()?;
                let resident = self.resident() * plan.segment_words;
                cells.occupy(plan.start(segment as usize), plan.segment_words, resident);
                segment
            }
        };
        let meta = &mut self.metas[segment as usize];
        (meta.role, meta.used, meta.live, meta.next_walk) = (role, 0, 0, NEVER);
        Some(segment as usize)
    }

    /// Takes back a segment to which no lane points any more; readers who are in it will notice.
    pub(crate) fn give_back(&mut self, cells: &impl Owned, plan: &Plan, segment: usize) {
        retire(cells, plan.generation(segment));
        self.unlink(segment);
        self.metas[segment].role = Role::Free;
        self.free.push(segment as u32);
        self.given_back += 1;
    }

    /// How often a segment was taken back.
    #[inline]
    pub(crate) fn given_back(&self) -> u64 {
        self.given_back
    }

    /// Gives the pages of a free segment back to the kernel; false when there is none, or they stay.
    pub(crate) fn release_one(&mut self, cells: &impl Owned, plan: &Plan) -> bool {
        let Some(segment) = self.free.pop() else { return false };
        let released = cells.release(plan.start(segment as usize), plan.segment_words);
        if released {
            self.untouched.push(segment)
        } else {
            self.free.push(segment)
        }
        released
    }

    /// The position of `words` words at the end of a queue; `None` when that needs a segment and none may be taken.
    pub(crate) fn append(
        &mut self,
        cells: &impl Owned,
        plan: &Plan,
        role: Role,
        words: usize,
        deadline: u64,
    ) -> Option<usize> {
        let open = self.queue(role).newest;
        let fits = open != NONE && self.metas[open as usize].used as usize + words <= plan.segment_words;
        let segment = if fits { open as usize } else { self.open(cells, plan, role)? };
        let meta = &mut self.metas[segment];
        let at = plan.start(segment) + meta.used as usize;
        meta.used += words as u32;
        meta.live += words as u32;
        meta.next_walk = meta.next_walk.min(deadline);
        Some(at)
    }

    /// Moves the oldest segment of the window to the main queue as it is.
    pub(crate) fn promote_oldest(&mut self) {
        if let Some(segment) = self.window.oldest() {
            self.unlink(segment);
            self.metas[segment].role = Role::Main;
            // Behind the open one, which stays open.
            self.link_second(segment);
        }
    }

    /// Takes a segment out of its queue, to be emptied.
    pub(crate) fn condemn(&mut self, segment: usize) {
        self.unlink(segment);
        self.metas[segment].role = Role::Victim;
    }

    /// Whether entries are still appended to it.
    pub(crate) fn is_open(&self, segment: usize) -> bool {
        self.window.newest == segment as u32 || self.main.newest == segment as u32
    }

    /// Whether a segment of the window is among its oldest.
    pub(crate) fn is_late_in_window(&self, segment: usize) -> bool {
        let age = self.born.wrapping_sub(self.metas[segment].born) as usize;
        age * LATE >= self.window.len * (LATE - 1)
    }

    fn open(&mut self, cells: &impl Owned, plan: &Plan, role: Role) -> Option<usize> {
        let segment = self.take(cells, plan, role)?;
        begin(cells, plan.generation(segment), kind::ENTRIES);
        let id = segment as u32;
        if role == Role::Window {
            self.born = self.born.wrapping_add(1);
            self.metas[segment].born = self.born;
        }
        let queue = if role == Role::Main { &mut self.main } else { &mut self.window };
        let before = std::mem::replace(&mut queue.newest, id);
        queue.len += 1;
        if before == NONE {
            queue.oldest = id;
        } else {
            self.metas[before as usize].newer = id;
        }
        (self.metas[segment].older, self.metas[segment].newer) = (before, NONE);
        Some(segment)
    }

    fn link_second(&mut self, segment: usize) {
        let id = segment as u32;
        let open = self.main.newest;
        self.main.len += 1;
        if open == NONE {
            (self.main.newest, self.main.oldest) = (id, id);
            return;
        }
        let second = std::mem::replace(&mut self.metas[open as usize].older, id);
        (self.metas[segment].newer, self.metas[segment].older) = (open, second);
        if second == NONE {
            self.main.oldest = id;
        } else {
            self.metas[second as usize].newer = id;
        }
    }

    fn unlink(&mut self, segment: usize) {
        let Meta { role, newer, older, .. } = self.metas[segment];
        let queue = match role {
            Role::Window => &mut self.window,
            Role::Main => &mut self.main,
            Role::Free | Role::Victim | Role::Buckets => return,
        };
        queue.len -= 1;
        if newer == NONE {
            queue.newest = older;
        } else {
            self.metas[newer as usize].older = older;
        }
        if older == NONE {
            queue.oldest = newer;
        } else {
            self.metas[older as usize].newer = newer;
        }
        (self.metas[segment].newer, self.metas[segment].older) = (NONE, NONE);
    }
}

impl Queue {
    const EMPTY: Self = Self { newest: NONE, oldest: NONE, len: 0 };

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The segment filled longest ago, `None` when there is only the open one.
    pub(crate) fn oldest(&self) -> Option<usize> {
        (self.oldest != self.newest).then_some(self.oldest as usize)
    }
}
