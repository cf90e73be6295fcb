//! Entries whose deadline has passed: found without looking at those whose has not, and their room taken back.
//!
//! Each segment knows from when on it is worth while to walk through it: at first the earliest deadline in it, after a
//! walk the one that an eighth of the remaining ones has passed by then. Walking goes on over several calls.

use crate::arena::Arena;
use crate::cells::Owned;
use crate::entry::{NEVER, slot_words};
use crate::heat;
use crate::one_key::Named;
use crate::segments::Role;

/// Entries looked at in one call.
const WALKED_ENTRIES: usize = 1024;

/// Segments asked in one call whether a walk is due.
const ASKED_SEGMENTS: usize = 1024;

/// Deadlines of which the next walk's time is told.
const SAMPLED: usize = 32;

/// A walk through one segment.
#[derive(Debug)]
pub(crate) struct Walk {
    segment: usize,
    /// The segment's generation word when the walk began.
    generation: u64,
    at: usize,
    deadlines: [u64; SAMPLED],
    seen: usize,
}

impl Walk {
    fn new(segment: usize, generation: u64) -> Self {
        Self { segment, generation, at: 0, deadlines: [NEVER; SAMPLED], seen: 0 }
    }

    /// Keeps a sample of deadlines: any of them is as good as another.
    fn remember(&mut self, deadline: u64) {
        self.deadlines[self.seen % SAMPLED] = deadline;
        self.seen += 1;
    }

    fn next(&mut self) -> u64 {
        let sample = &mut self.deadlines[..self.seen.min(SAMPLED)];
        sample.sort_unstable();
        sample.get(sample.len() / 8).copied().unwrap_or(NEVER)
    }
}

impl<C: Owned> Arena<C> {
    pub(crate) fn expire_some(&mut self, now: u64) {
        let (mut entries, mut segments) = (WALKED_ENTRIES, ASKED_SEGMENTS.min(self.segments.len()));
        while entries > 0 {
            let walk = match self.walk.take() {
                Some(walk) => walk,
                None => match self.next_walk(now, &mut segments) {
                    Some(walk) => walk,
                    None => return,
                },
            };
            self.go_on(walk, now, &mut entries);
        }
    }

    fn next_walk(&mut self, now: u64, segments: &mut usize) -> Option<Walk> {
        while *segments > 0 {
            *segments -= 1;
            self.walk_hand = (self.walk_hand + 1) % self.segments.len();
            let meta = self.segments.get_mut(self.walk_hand);
            if matches!(meta.role, Role::Window | Role::Main) && now > meta.next_walk {
                // What is appended meanwhile, or gets an earlier deadline, lowers this again.
                meta.next_walk = NEVER;
                let generation = self.cells.load(self.plan.generation(self.walk_hand));
                return Some(Walk::new(self.walk_hand, generation));
            }
        }
        None
    }

    fn go_on(&mut self, mut walk: Walk, now: u64, entries: &mut usize) {
        let start = self.plan.start(walk.segment);
        while *entries > 0 {
            let meta = self.segments.get(walk.segment);
            // Eviction may have come first, and the segment may even be in use again, for other entries.
            let is_same = self.cells.load(self.plan.generation(walk.segment)) == walk.generation;
            if !is_same || !matches!(meta.role, Role::Window | Role::Main) {
                return;
            }
            if walk.at == meta.used as usize {
                let next = walk.next();
                let meta = self.segments.get_mut(walk.segment);
                meta.next_walk = meta.next_walk.min(next);
                return;
            }
            *entries -= 1;
            let at = start + walk.at;
            let (head, tail) = self.headers(at);
            walk.at += slot_words(usize::from(head.key_len), tail.value_len as usize);
            if heat::is_dead(head) || tail.deadline == NEVER {
                continue;
            }
            if now <= tail.deadline {
                walk.remember(tail.deadline);
            } else if let Some(lane) = self.index.locate(&self.cells, head.place, at) {
                self.forget(Named { lane, at, head, tail });
                self.counts.expirations += 1;
            }
        }
        self.walk = Some(walk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_walk_is_worth_while() {
        let mut walk = Walk::new(0, 0);
        assert_eq!(walk.next(), NEVER);
        walk.remember(5);
        assert_eq!(walk.next(), 5);
        for deadline in (0..16).rev() {
            walk.remember(100 + deadline);
        }
        assert_eq!(walk.next(), 101);
    }
}
