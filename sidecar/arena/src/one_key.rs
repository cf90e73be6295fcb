//! What the operations do with one key: find it, write it, forget it.

use crate::arena::{Arena, Found};
use crate::cells::Owned;
use crate::entry::{HEADER_WORDS, Head, MAX_VERSION, Tail, slot_words};
use crate::hash::Hash;
use crate::heat;
use crate::index::Inserted;
use crate::layout::{BUCKET_WORDS, LANES, Lane};
use crate::region::WORD;
use crate::segments::Role;
use crate::writer;

/// A lane, and the entry that it names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named {
    pub(crate) lane: Lane,
    pub(crate) at: usize,
    pub(crate) head: Head,
    pub(crate) tail: Tail,
}

/// Where an entry is, if the first with its tag is the one that is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guess {
    pub(crate) hash: Hash,
    /// Positions fit into 32 bits.
    bucket: u32,
    /// 0 for none: no entry lies there.
    entry: u32,
}

impl Guess {
    pub(crate) const NONE: Self = Self { hash: Hash { place: 0, tag: 0 }, bucket: 0, entry: 0 };

    #[inline]
    pub(crate) fn of(hash: Hash, bucket: usize) -> Self {
        Self { hash, bucket: bucket as u32, entry: 0 }
    }

    #[inline]
    pub(crate) fn bucket(&self) -> usize {
        self.bucket as usize
    }

    #[inline]
    pub(crate) fn entry(&self) -> Option<usize> {
        (self.entry != 0).then_some(self.entry as usize)
    }

    #[inline]
    pub(crate) fn set_entry(&mut self, entry: Option<usize>) {
        self.entry = entry.unwrap_or_default() as u32;
    }
}

impl Named {
    pub(crate) fn words(&self) -> usize {
        slot_words(usize::from(self.head.key_len), self.tail.value_len as usize)
    }

    pub(crate) fn is_past(&self, now: u64) -> bool {
        now > self.tail.deadline
    }
}

impl<C: Owned> Arena<C> {
    pub(crate) fn get_one(&mut self, key: &[u8], hash: Hash, now: u64) -> Option<Found<'_>> {
        let found = self.find_hashed(hash, key);
        self.settle(0);
        let named = found?;
        if named.is_past(now) {
            self.forget(named);
            self.counts.expirations += 1;
            return None;
        }
        Some(self.hit(named.at, named.head, named.tail))
    }

    /// Asks for the key of a guessed entry, whose header has come: it lies behind the value.
    #[inline]
    pub(crate) fn prefetch_key(&self, guess: &Guess) {
        if let Some(at) = guess.entry() {
            let value_len = Tail::unpack(self.cells.load(at + 1)).value_len as usize;
            self.cells.prefetch(at + HEADER_WORDS + value_len / WORD);
        }
    }

    /// The entry that was guessed, if it is that of the key, and named. Since the guess no segment was given back.
    #[inline]
    fn guessed(&self, key: &[u8], guess: &Guess) -> Option<(usize, Head, Tail)> {
        let at = guess.entry()?;
        let (head, tail) = self.headers(at);
        let is_it = head.place == guess.hash.place
            && usize::from(head.key_len) == key.len()
            && !heat::is_dead(head)
            && self.cells.bytes(at + HEADER_WORDS, tail.value_len as usize, key.len()) == key;
        is_it.then_some((at, head, tail))
    }

    /// As [`Arena::get_one`]. Between the guess and now, entries may have gone, but none has moved.
    #[inline(always)]
    pub(crate) fn get_guessed(&mut self, key: &[u8], guess: &Guess, now: u64) -> Option<Found<'_>> {
        match self.guessed(key, guess) {
            Some((at, head, tail)) if now <= tail.deadline => Some(self.hit(at, head, tail)),
            _ => self.get_one(key, guess.hash, now),
        }
    }

    /// Writes another value over the entry that was guessed; false when it is another one, or has to move, or has moved.
    #[inline]
    pub(crate) fn replace_guessed(&mut self, key: &[u8], guess: &Guess, value: &[u8], deadline: u64) -> bool {
        let Some((at, head, tail)) = self.guessed(key, guess) else { return false };
        let role = self.plan.segment_of(at).map(|segment| self.segments.get(segment).role);
        // What has moved out of a segment that is being emptied is still written there.
        matches!(role, Some(Role::Window | Role::Main)) && self.replace(at, head, tail, key, value, deadline)
    }

    /// An entry is served.
    #[inline(always)]
    fn hit(&mut self, at: usize, head: Head, tail: Tail) -> Found<'_> {
        if self.eviction.is_cold(self.ageing.count(head.heat)) {
            self.cold_hit(at);
        }
        let warmer = self.ageing.touched(head.heat, 1);
        // Nothing is stored when nothing changes: the line stays shared with readers on other cores.
        if warmer != head.heat {
            self.cells.store(at, Head { heat: warmer, ..head }.pack());
        }
        let value = self.cells.bytes(at + HEADER_WORDS, 0, tail.value_len as usize);
        Found { value, deadline: tail.deadline }
    }

    pub(crate) fn find(&mut self, key: &[u8]) -> Option<Named> {
        self.find_hashed(self.seed.hash(key), key)
    }

    #[inline]
    pub(crate) fn find_hashed(&mut self, hash: Hash, key: &[u8]) -> Option<Named> {
        let (cells, work) = (&self.cells, &mut self.counts.work);
        let mut found = None;
        let lane = self.index.find(cells, hash, |at| {
            *work += 1;
            // The key comes after the value: its line is on the way while the header is looked at.
            cells.prefetch(at + BUCKET_WORDS);
            let head = Head::unpack(cells.load(at));
            if head.place != hash.place || usize::from(head.key_len) != key.len() {
                return false;
            }
            let tail = Tail::unpack(cells.load(at + 1));
            let same = cells.bytes(at + HEADER_WORDS, tail.value_len as usize, key.len()) == key;
            found = same.then_some((at, head, tail));
            same
        })?;
        found.map(|(at, head, tail)| Named { lane, at, head, tail })
    }

    /// False when there is no room, and nothing has changed.
    pub(crate) fn try_set(&mut self, hash: Hash, key: &[u8], value: &[u8], deadline: u64) -> bool {
        let words = slot_words(key.len(), value.len());
        let head = Head { version: 0, heat: 0, key_len: key.len() as u16, place: hash.place };
        let Some(old) = self.find_hashed(hash, key) else {
            // What is seen for the first time has been asked for once; its ghost may know of more.
            let Some(at) = self.append(Role::Window, words, deadline) else { return false };
            let count = self.ghosts.recall(hash) + 1;
            let head = Head { heat: heat::heat(count, self.ageing.epoch()), ..head };
            writer::write(&self.cells, at, head, deadline, value, key);
            self.name(hash, at);
            return true;
        };
        if self.replace(old.at, old.head, old.tail, key, value, deadline) {
            return true;
        }
        let head = Head { heat: self.ageing.touched(old.head.heat, 1), ..head };
        let segment = self.plan.segment_of(old.at).map(|segment| self.segments.get(segment).role);
        let role = if segment == Some(Role::Window) { Role::Window } else { Role::Main };
        let Some(at) = self.append(role, words, deadline) else { return false };
        writer::write(&self.cells, at, head, deadline, value, key);
        old.lane.set_entry(&self.cells, at);
        self.bury(old);
        true
    }

    /// Writes another value over an entry of the key; false when it takes another number of words, or has to move.
    #[inline]
    fn replace(
        &mut self,
        at: usize,
        head: Head,
        tail: Tail,
        key: &[u8],
        value: &[u8],
        deadline: u64,
    ) -> bool {
        let words = slot_words(key.len(), value.len());
        if slot_words(key.len(), tail.value_len as usize) != words || head.version >= MAX_VERSION {
            return false;
        }
        let head = Head { heat: self.ageing.touched(head.heat, 1), ..head };
        writer::replace(&self.cells, at, head, deadline, value, key);
        if let Some(segment) = self.plan.segment_of(at) {
            let meta = self.segments.get_mut(segment);
            meta.next_walk = meta.next_walk.min(deadline);
        }
        true
    }

    fn append(&mut self, role: Role, words: usize, deadline: u64) -> Option<usize> {
        let at = self.segments.append(&self.cells, &self.plan, role, words, deadline)?;
        self.counts.entries += 1;
        self.counts.live_words += words as u64;
        Some(at)
    }

    /// Names a new entry in the index; where that is full, the coldest of its bucket goes.
    fn name(&mut self, hash: Hash, at: usize) {
        while let Inserted::Full(bucket) = self.index.insert(&self.cells, hash, at) {
            let named =
                (0..LANES).map(|lane| Lane { bucket, lane }).filter(|lane| lane.tag(&self.cells) != 0);
            let coldest =
                named.map(|lane| self.named(lane)).min_by_key(|named| self.ageing.count(named.head.heat));
            let Some(coldest) = coldest else { return };
            self.forget(coldest);
            self.counts.evictions += 1;
            self.counts.crowded_out += 1;
        }
    }

    pub(crate) fn named(&self, lane: Lane) -> Named {
        let at = lane.entry(&self.cells);
        let (head, tail) = self.headers(at);
        Named { lane, at, head, tail }
    }

    pub(crate) fn headers(&self, at: usize) -> (Head, Tail) {
        (Head::unpack(self.cells.load(at)), Tail::unpack(self.cells.load(at + 1)))
    }

    /// Takes an entry out of the index.
    pub(crate) fn forget(&mut self, named: Named) {
        self.index.remove(&self.cells, named.head.place, named.lane);
        self.bury(named);
    }

    /// Accounts for an entry that no lane names any more.
    pub(crate) fn bury(&mut self, named: Named) {
        let words = named.words();
        self.cells.store(named.at, heat::dead(named.head).pack());
        self.counts.entries -= 1;
        self.counts.live_words -= words as u64;
        if let Some(segment) = self.plan.segment_of(named.at) {
            self.segments.get_mut(segment).live -= words as u32;
        }
    }
}
