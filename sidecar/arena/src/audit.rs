//! The checker build: everything that the arena believes about itself, compared with what lies in its memory.

use crate::arena::Arena;
use crate::cells::Owned;
use crate::entry::{MAX_VERSION, slot_words};
use crate::heat;
use crate::layout::kind;
use crate::segments::Role;

impl<C: Owned> Arena<C> {
    /// Looks at every entry of every segment. Only in builds with debug assertions.
    ///
    /// # Panics
    /// When something does not fit together.
    pub fn audit(&mut self) {
        let (mut entries, mut live_words) = (0, 0);
        for segment in 0..self.segments.len() {
            let meta = *self.segments.get(segment);
            let expected = match meta.role {
                Role::Free => kind::FREE,
                Role::Window | Role::Main | Role::Victim => kind::ENTRIES,
                // A chunk that is being cleared is not open yet.
                Role::Buckets => self.cells.load(self.plan.generation(segment)) & kind::BUCKETS,
            };
            assert_eq!(
                self.cells.load(self.plan.generation(segment)) & kind::MASK,
                expected,
                "{segment}: {meta:?}"
            );
            if expected != kind::ENTRIES {
                continue;
            }
            let (mut at, mut live) = (0, 0);
            while at < meta.used as usize {
                let position = self.plan.start(segment) + at;
                let (head, tail) = self.headers(position);
                let words = slot_words(usize::from(head.key_len), tail.value_len as usize);
                assert!(words <= self.plan.largest_slot(), "a slot of {words} words");
                assert!(head.version % 2 == 0 && head.version <= MAX_VERSION, "version {}", head.version);
                let is_named = self.index.locate(&self.cells, head.place, position).is_some();
                let may_be_named = !heat::is_dead(head);
                assert!(
                    is_named == may_be_named || (!is_named && meta.role == Role::Victim),
                    "{segment}+{at}"
                );
                if is_named {
                    entries += 1;
                    live += words;
                }
                at += words;
            }
            assert_eq!(at, meta.used as usize, "segment {segment} does not end with an entry");
            assert_eq!(live, meta.live as usize, "live words of segment {segment}");
            live_words += live as u64;
        }
        assert_eq!((entries, live_words), (self.counts.entries, self.counts.live_words));
        let stats = self.stats();
        assert!(stats.resident_bytes <= stats.capacity_bytes, "{stats:?}");
        self.index.take_work();
    }
}
