//! From one arena to the next: entries visited by how often they are asked for, and taken up again with what was known.

use crate::arena::{Arena, Found};
use crate::cells::Owned;
use crate::entry::{HEADER_WORDS, Head, slot_words};
use crate::heat::{self, HOTTEST};
use crate::layout::BUCKET_WORDS;
use crate::segments::Role;
use crate::upkeep::INDEX_STEPS;

/// Cursors of [`Arena::hottest`] from here on are of entries that nobody has asked for lately.
pub const UNASKED: u64 = (HOTTEST as u64) << PASS_SHIFT;

/// A cursor is how far below the hottest the entries of this pass are, and the next segment to look through.
const PASS_SHIFT: u32 = 32;

/// Free segments below which nothing more is taken up: with fewer, a write begins to evict.
const READY: usize = 5;

/// What became of [`Arena::recall`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recalled {
    /// The entry is held.
    Kept,
    /// It is larger than the arena takes, or its deadline further than it can hold.
    Unfit,
    /// There is no room but that of other entries.
    Full,
}

impl<C: Owned> Arena<C> {
    /// Visits some entries alive at `now`, with their keys and how often they were asked for, from `cursor` (0 at
    /// first), and returns the next cursor, 0 at the end. Those asked for most often come first. A call looks through one
    /// segment; what changes between two calls may be visited twice, or not at all.
    pub fn hottest(&mut self, cursor: u64, now: u64, mut visit: impl FnMut(&[u8], Found<'_>, u8)) -> u64 {
        let (pass, segment) = (cursor >> PASS_SHIFT, cursor as u32 as usize);
        let Some(wanted) = u64::from(HOTTEST).checked_sub(pass) else { return 0 };
        if segment >= self.segments.len() {
            return if wanted == 0 { 0 } else { (pass + 1) << PASS_SHIFT };
        }
        let meta = *self.segments.get(segment);
        let holds_entries = matches!(meta.role, Role::Window | Role::Main | Role::Victim);
        let start = self.plan.start(segment);
        let mut at = start;
        while holds_entries && at < start + meta.used as usize {
            let (head, tail) = self.headers(at);
            let (key_len, value_len) = (usize::from(head.key_len), tail.value_len as usize);
            let is_wanted = !heat::is_dead(head)
                && u64::from(self.ageing.count(head.heat)) == wanted
                && now <= tail.deadline
                // What has moved out of a segment that is being emptied is still written there.
                && (meta.role != Role::Victim || self.index.locate(&self.cells, head.place, at).is_some());
            if is_wanted {
                let value = self.cells.bytes(at + HEADER_WORDS, 0, value_len);
                let key = self.cells.bytes(at + HEADER_WORDS, value_len, key_len);
                visit(key, Found { value, deadline: tail.deadline }, wanted as u8);
            }
            at += slot_words(key_len, value_len);
        }
        self.index.take_work();
        cursor + 1
    }

    /// Takes up an entry that was visited by [`Arena::hottest`] elsewhere. Nothing has to go for it, and no time passes
    /// by it: what was taken up before does not cool.
    pub fn recall(&mut self, key: &[u8], value: &[u8], deadline: u64, count: u8) -> Recalled {
        if !self.takes(key, value, deadline) {
            return Recalled::Unfit;
        }
        let words = slot_words(key.len(), value.len());
        let hash = self.seed.hash(key);
        if self.segments.available() < READY || !self.try_set(hash, key, value, deadline) {
            return Recalled::Full;
        }
        if let Some(named) = self.find_hashed(hash, key) {
            let heat = heat::heat(count, self.ageing.epoch());
            self.cells.store(named.at, Head { heat, ..named.head }.pack());
        }
        // So many are ready that nothing is evicted: the window alone is kept at its size.
        self.make_room(0, 0);
        self.tend_index(INDEX_STEPS + words / BUCKET_WORDS);
        self.settle(words);
        Recalled::Kept
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::entry::NEVER;

    const CAPACITY: usize = 2 << 20;

    type Entry = (Vec<u8>, u64, u8);

    /// More than fits, some of it asked for again and again, some with a deadline, some removed.
    fn used() -> Arena {
        let mut arena = Arena::on_heap(CAPACITY).unwrap();
        for n in 0..30_000_u32 {
            let deadline = if n % 3 == 0 { 1_000 + u64::from(n) } else { NEVER };
            arena.set(&n.to_le_bytes(), &vec![n as u8; (n % 200) as usize], deadline, 1).unwrap();
            for hot in (0..n % 64).step_by(7) {
                arena.get(&[hot.to_le_bytes()], 1, |_, _| {});
            }
            if n % 11 == 0 {
                arena.remove(&(n / 2).to_le_bytes(), 1);
            }
        }
        arena
    }

    fn visited(arena: &mut Arena, now: u64) -> Vec<(Vec<u8>, Entry)> {
        let (mut seen, mut cursor) = (Vec::new(), 0);
        loop {
            cursor = arena.hottest(cursor, now, |key, found, count| {
                seen.push((key.to_vec(), (found.value.to_vec(), found.deadline, count)));
            });
            if cursor == 0 {
                return seen;
            }
        }
    }

    fn scanned(arena: &mut Arena, now: u64) -> HashMap<Vec<u8>, (Vec<u8>, u64)> {
        let (mut seen, mut cursor) = (HashMap::new(), 0);
        loop {
            cursor = arena.scan(cursor, 1000, now, |key, found| {
                seen.insert(key.to_vec(), (found.value.to_vec(), found.deadline));
            });
            if cursor == 0 {
                return seen;
            }
        }
    }

    #[test]
    fn every_living_entry_is_visited_once_and_the_hottest_first() {
        let mut arena = used();
        let now = 5_000;
        let seen = visited(&mut arena, now);
        assert!(seen.is_sorted_by_key(|(_, (_, _, count))| u8::MAX - count));
        assert!(seen.iter().any(|(_, (_, _, count))| *count > 8));
        let mut is_being_emptied = 0;
        // Wherever eviction stands: what it has moved already is overwritten here and there.
        for n in 0..60_u32 {
            for key in n * 29..(n + 1) * 29 {
                let key = if key % 3 == 0 { 29_000 + key % 1000 } else { 100_000 + key };
                arena.set(&key.to_le_bytes(), &vec![9; (key % 150) as usize], NEVER, now).unwrap();
            }
            let victims = 0..arena.segments.len();
            let mut victims = victims.filter(|segment| arena.segments.get(*segment).role == Role::Victim);
            is_being_emptied += victims.next().map_or(0, |_| 1);
            let seen = visited(&mut arena, now);
            let by_key: HashMap<_, _> = seen
                .iter()
                .map(|(key, (value, deadline, _))| (key.clone(), (value.clone(), *deadline)))
                .collect();
            assert_eq!(by_key.len(), seen.len());
            assert!(by_key == scanned(&mut arena, now), "after {n}");
        }
        assert!(is_being_emptied > 1, "{is_being_emptied}");
    }

    #[test]
    fn what_is_taken_up_is_as_it_was_its_heat_included() {
        let mut old = used();
        let seen = visited(&mut old, 1);
        let mut new = Arena::on_heap(CAPACITY).unwrap();
        let kept = seen.iter().take_while(|(key, (value, deadline, count))| {
            new.recall(key, value, *deadline, *count) == Recalled::Kept
        });
        let kept = kept.count();
        assert!(kept >= seen.len() * 97 / 100, "{kept} of {}", seen.len());
        new.audit();
        let again: HashMap<_, _> = visited(&mut new, 1).into_iter().collect();
        let before: HashMap<_, _> = seen[..kept].iter().cloned().collect();
        assert!(again.iter().all(|(key, entry)| before.get(key) == Some(entry)));
        // Where one bucket of the index met too many keys, one had to go.
        let (lost, stats) = (before.len() - again.len(), new.stats());
        assert!(
            stats.evictions == stats.crowded_out && lost as u64 == stats.crowded_out && lost < 3,
            "{stats:?}"
        );
    }

    #[test]
    fn with_less_room_the_hottest_are_kept() {
        let seen = visited(&mut used(), 1);
        let mut small = Arena::on_heap(CAPACITY / 2).unwrap();
        let mut results =
            seen.iter().map(|(key, (value, deadline, count))| small.recall(key, value, *deadline, *count));
        let kept = results.by_ref().take_while(|recalled| *recalled == Recalled::Kept).count();
        assert!(kept > seen.len() / 3 && kept < seen.len() * 2 / 3, "{kept} of {}", seen.len());
        let (keys, colder) = (seen[..kept].iter(), &seen[kept..]);
        let mut lost = 0;
        for (key, _) in keys {
            small.get(&[key], 1, |_, found| lost += u64::from(found.is_none()));
        }
        // Where one bucket of the index met too many keys, one had to go.
        let stats = small.stats();
        assert!(
            stats.evictions == stats.crowded_out && lost <= stats.crowded_out.min(2),
            "{lost}, {stats:?}"
        );
        assert!(!colder.is_empty());
        small.audit();
    }

    #[test]
    fn what_can_never_fit_is_told_from_what_does_not_fit_now() {
        let mut arena = Arena::on_heap(CAPACITY).unwrap();
        assert_eq!(arena.recall(b"k", &vec![0; CAPACITY / 2], NEVER, 1), Recalled::Unfit);
        assert_eq!(arena.recall(b"k", b"v", NEVER - 1, 1), Recalled::Unfit);
        assert_eq!(arena.recall(b"k", b"v", NEVER, 200), Recalled::Kept);
        assert_eq!(visited(&mut arena, 1), [(b"k".to_vec(), (b"v".to_vec(), NEVER, HOTTEST))]);
    }
}
