//! Eviction: what goes when room is needed, a few entries at a time.
//!
//! New entries stand in a window, a queue of segments. At its end, what is asked for more often than the coldest of the
//! main queue moves there; the rest goes, and a ghost keeps in mind how often it was asked for. At the end of the main
//! queue goes what belongs to the coldest eighth of all that came there lately; the rest moves to its beginning. A segment
//! of which much has died (overwritten, removed, expired) is packed before anything alive has to go. The reasons are in
//! `docs/adr`.

use crate::arena::Arena;
use crate::cells::Owned;
use crate::entry::{HEADER_WORDS, Head, slot_words};
use crate::hash::Hash;
use crate::heat::{self, HOTTEST};
use crate::one_key::Named;
use crate::segments::Role;

/// Words of a segment moved or dropped for each word written, at most. Emptying a segment of the window takes one. If all
/// of it moves to the main queue, that has to free as much, a twelfth of what it moves, and measures before: fifteen.
pub(crate) const EVICTED_PER_WORD: usize = 20;

/// Free segments that are held ready: for both queues, and for the index.
const READY: usize = 4;

/// The window at first, at least and at most, in 1024ths of all segments, and by how much it changes in one round.
const FIRST_SHARE: usize = 64;
const SMALLEST_SHARE: usize = 16;
const LARGEST_SHARE: usize = 900;
const STEP: usize = 32;

/// One part in so many of the window is late: its oldest segments.
pub(crate) const LATE: usize = 4;

/// A round is half as many accesses as there are entries, and so many more.
const SHORTEST_ROUND: u64 = 1 << 10;

/// Words that are measured in the time in which one is moved: their headers alone are looked at.
const MEASURED_PER_MOVED: usize = 4;

/// What goes of the main queue: one part in so many of what came to its end lately...
const GOES: usize = 8;
/// ...and of each segment at least one in so many, so that work for a write is bounded.
const GOES_AT_LEAST: usize = 12;
/// So many segments are lately.
const LATELY: usize = 32;

/// A segment is packed when one word in so many is dead.
const DEAD_SHARE: usize = 4;

/// Segments of which one is chosen to be packed.
const SAMPLE: usize = 64;

/// The state of eviction between two steps.
#[derive(Debug, Default)]
pub(crate) struct Eviction {
    victim: Option<Victim>,
    /// Words that may be looked at before the next write.
    credit: usize,
    /// How often the hottest was asked for that the main queue lets go.
    bar: u8,
    /// How much goes of what was asked for so often, in 1024ths.
    going: usize,
    /// Words that came to the end of the main queue lately.
    lately: ByHeat,
    hand: usize,
    window: Window,
}

/// Words by how often they are asked for.
type ByHeat = [usize; HOTTEST as usize + 1];

#[derive(Debug)]
struct Victim {
    segment: usize,
    at: usize,
    plan: Verdict,
}

/// Which entries of a segment stay.
#[derive(Debug)]
enum Verdict {
    /// It is being found out.
    Measure(Box<ByHeat>),
    /// What is hotter than the bar, and as many words that are just as hot.
    Above { bar: u8, spare: usize, to: Role },
    /// All that is alive.
    Living { to: Role },
}

impl Eviction {
    /// What has not been measured since has cooled down.
    pub(crate) fn next_epoch(&mut self) {
        self.bar -= self.bar.div_ceil(4);
    }

    /// Whether an entry that is asked for so often would go, were it to be judged now.
    #[inline]
    pub(crate) fn is_cold(&self, count: u8) -> bool {
        count <= self.bar
    }

    /// What stays of a segment of so many words that was measured: what is asked for more often than the first number,
    /// and so many words of what is asked for just as often.
    fn line(&mut self, by_heat: &ByHeat, words: usize) -> (u8, usize) {
        for (lately, now) in self.lately.iter_mut().zip(by_heat) {
            *lately = *lately - *lately / LATELY + now;
        }
        let all = self.lately.iter().sum::<usize>();
        let (bar, spare) = cut(&self.lately, all / GOES);
        let (at_bar, cold) = (self.lately[usize::from(bar)], self.lately[..=usize::from(bar)].iter().sum());
        self.bar = bar;
        self.going = ((at_bar - spare) * 1024).checked_div(at_bar).unwrap_or(0);
        self.window.is_cold(cold, all);
        let living = by_heat.iter().sum::<usize>();
        let at_bar = by_heat[usize::from(bar)];
        let spare = at_bar - at_bar * self.going / 1024;
        let stays = spare + by_heat[usize::from(bar) + 1..].iter().sum::<usize>();
        let least = words / GOES_AT_LEAST;
        if words - stays >= least { (bar, spare) } else { cut(by_heat, living.saturating_sub(words - least)) }
    }
}

impl<C: Owned> Arena<C> {
    /// Goes on with eviction, so far as a write of so many words has earned it, until enough segments are ready.
    pub(crate) fn make_room(&mut self, written: usize, now: u64) {
        self.roll_window();
        self.eviction.credit += written * EVICTED_PER_WORD;
        while self.segments.available() < READY && self.eviction.credit > 0 {
            let Some(looked_at) = self.evict_one(now) else { break };
            self.eviction.credit = self.eviction.credit.saturating_sub(looked_at);
        }
        if self.segments.available() >= READY {
            self.eviction.credit = 0;
        }
    }

    /// No room was ready. What the write waits for is done now; false when there is nothing to be done.
    pub(crate) fn make_room_at_once(&mut self, now: u64) -> bool {
        self.counts.stalls += 1;
        let is_done = self.empty_one(now);
        self.counts.work = 0;
        self.index.take_work();
        is_done
    }

    /// Empties one segment, or one after the other until there is one more to take; false when there is none to empty.
    pub(crate) fn empty_one(&mut self, now: u64) -> bool {
        let before = self.segments.in_use();
        // Each round drops a twelfth at least, or moves what is alive out of what is dead.
        for _ in 0..3 * GOES_AT_LEAST * self.plan.segment_words {
            if self.segments.in_use() < before {
                return true;
            }
            if self.evict_one(now).is_none() {
                return false;
            }
        }
        false
    }

    /// An entry was asked for that would have gone, were it to be judged now: a little less room, and this had been a
    /// miss. In which queue that happens more often is where room is worth more.
    #[cold]
    pub(crate) fn cold_hit(&mut self, at: usize) {
        let Some(segment) = self.plan.segment_of(at) else { return };
        match self.segments.get(segment).role {
            Role::Main => self.eviction.window.main_hits += 1,
            Role::Window if self.segments.is_late_in_window(segment) => self.eviction.window.late_hits += 1,
            _ => {}
        }
    }

    /// Counts accesses, and moves the border between window and main queue now and then.
    pub(crate) fn pass_window(&mut self, accesses: u64) {
        let window = &mut self.eviction.window;
        window.seen += accesses;
        if window.seen > self.counts.entries / 2 + SHORTEST_ROUND {
            let queues = [Role::Window, Role::Main].map(|role| self.segments.queue(role).len());
            // As long as there is room, neither queue has to let anything go.
            window.decide(queues[0], queues[1], self.segments.available() < 2 * READY);
        }
    }

    /// What the window has too much belongs to the main queue, as long as nothing has to go.
    fn roll_window(&mut self) {
        if self.segments.available() >= READY && self.window_is_full() {
            self.segments.promote_oldest();
        }
    }

    fn window_is_full(&self) -> bool {
        self.segments.queue(Role::Window).len() > self.eviction.window.segments(self.segments.limit())
    }

    /// Looks at one entry of the victim. Returns how many words were moved or dropped in that time; `None` when there is no
    /// victim.
    fn evict_one(&mut self, now: u64) -> Option<usize> {
        let mut victim = match self.eviction.victim.take() {
            Some(victim) => victim,
            None => self.choose()?,
        };
        let (start, used) =
            (self.plan.start(victim.segment), self.segments.get(victim.segment).used as usize);
        if victim.at == used {
            match victim.plan {
                Verdict::Measure(by_heat) => {
                    let (bar, spare) = self.eviction.line(&by_heat, self.plan.segment_words);
                    victim.at = 0;
                    victim.plan = Verdict::Above { bar, spare, to: Role::Main };
                    self.eviction.victim = Some(victim);
                }
                Verdict::Above { .. } | Verdict::Living { .. } => {
                    self.segments.give_back(&self.cells, &self.plan, victim.segment);
                }
            }
            return Some(1);
        }
        self.counts.work += 1;
        let at = start + victim.at;
        let (head, tail) = self.headers(at);
        let words = slot_words(usize::from(head.key_len), tail.value_len as usize);
        victim.at += words;
        let mut moved = words;
        if !heat::is_dead(head) {
            let count = self.ageing.count(head.heat);
            let is_past = now > tail.deadline;
            match &mut victim.plan {
                Verdict::Measure(by_heat) => {
                    by_heat[usize::from(count)] += if is_past { 0 } else { words };
                    moved = words.div_ceil(MEASURED_PER_MOVED);
                }
                Verdict::Living { to } => {
                    let to = (!is_past).then_some(*to);
                    self.judge(at, words, count, is_past, to);
                }
                Verdict::Above { bar, spare, to } => {
                    let stays = !is_past && (count > *bar || (count == *bar && *spare >= words));
                    if stays && count == *bar {
                        *spare -= words;
                    }
                    let to = stays.then_some(*to);
                    self.judge(at, words, count, is_past, to);
                }
            }
        }
        if victim.at < used {
            // The next one's bucket arrives while the next write is being decoded.
            let next = Head::unpack(self.cells.load(start + victim.at));
            self.index.prefetch(&self.cells, next.place);
        }
        self.eviction.victim = Some(victim);
        Some(moved)
    }

    /// Moves an entry to the queue `to`, or drops it.
    fn judge(&mut self, at: usize, words: usize, count: u8, is_past: bool, to: Option<Role>) {
        let (head, tail) = self.headers(at);
        let Some(lane) = self.index.locate(&self.cells, head.place, at) else { return };
        let room = to.and_then(|to| self.segments.append(&self.cells, &self.plan, to, words, tail.deadline));
        if let Some(there) = room {
            let moved = Head { version: 0, heat: self.ageing.touched(head.heat, 0), ..head };
            self.cells.store(there, moved.pack());
            self.cells.store(there + 1, tail.pack());
            for n in HEADER_WORDS..words {
                self.cells.store(there + n, self.cells.load(at + n));
            }
            lane.set_entry(&self.cells, there);
            if let Some(segment) = self.plan.segment_of(at) {
                self.segments.get_mut(segment).live -= words as u32;
            }
            return;
        }
        if is_past {
            self.counts.expirations += 1;
        } else {
            self.counts.evictions += 1;
            self.ghosts.remember(Hash { place: head.place, tag: lane.tag(&self.cells) }, count);
        }
        self.forget(Named { lane, at, head, tail });
    }

    /// The next segment to empty: one of which much is dead, else the end of the window, else that of the main queue.
    fn choose(&mut self) -> Option<Victim> {
        let (segment, plan) = if let Some(segment) = self.deadest() {
            (segment, Verdict::Living { to: self.segments.get(segment).role })
        } else if let Some(segment) =
            self.segments.queue(Role::Window).oldest().filter(|_| self.window_is_full())
        {
            // Nothing spare: what is only as hot as what the main queue lets go is no gain.
            (segment, Verdict::Above { bar: self.eviction.bar, spare: 0, to: Role::Main })
        } else if let Some(segment) = self.segments.queue(Role::Main).oldest() {
            (segment, Verdict::Measure(Box::default()))
        } else {
            let segment = self.segments.queue(Role::Window).oldest()?;
            (segment, Verdict::Above { bar: HOTTEST, spare: 0, to: Role::Main })
        };
        self.segments.condemn(segment);
        Some(Victim { segment, at: 0, plan })
    }

    fn deadest(&mut self) -> Option<usize> {
        let mut deadest = (self.plan.segment_words / DEAD_SHARE, None);
        for _ in 0..SAMPLE.min(self.segments.len()) {
            self.eviction.hand = (self.eviction.hand + 1) % self.segments.len();
            let segment = self.eviction.hand;
            let meta = self.segments.get(segment);
            let dead = (meta.used - meta.live) as usize;
            let is_queued = matches!(meta.role, Role::Window | Role::Main) && !self.segments.is_open(segment);
            if is_queued && dead > deadest.0 {
                deadest = (dead, Some(segment));
            }
        }
        deadest.1
    }
}

/// How large the window is.
///
/// Room is worth most where one segment more would bring most hits. Both queues tell: by the hits on what would go, were
/// it to be judged now. So the border moves to where these are as frequent for each segment.
#[derive(Debug)]
struct Window {
    /// Segments of the window, in 1024ths of all.
    share: usize,
    /// Accesses since the last decision.
    seen: u64,
    late_hits: usize,
    main_hits: usize,
    /// The part of the main queue that is cold, in 1024ths.
    cold: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self { share: FIRST_SHARE, seen: 0, late_hits: 0, main_hits: 0, cold: 128 }
    }
}

impl Window {
    fn segments(&self, all: usize) -> usize {
        (all * self.share / 1024).max(1)
    }

    /// So much of the main queue is cold.
    fn is_cold(&mut self, cold: usize, all: usize) {
        self.cold = (cold * 1024).checked_div(all).unwrap_or(0).clamp(32, 1024);
    }

    fn decide(&mut self, window: usize, main: usize, is_full: bool) {
        // Hits a segment, for the late part of the window and for the cold part of the main queue.
        let late = self.late_hits * 1024 * main.max(1) * self.cold;
        let cold = self.main_hits * 1024 * 1024 * window.max(1) / LATE;
        if is_full && late > cold + cold / 8 {
            self.share = (self.share + STEP).min(LARGEST_SHARE);
        } else if is_full && cold > late + late / 8 {
            self.share = self.share.saturating_sub(STEP).max(SMALLEST_SHARE);
        }
        (self.seen, self.late_hits, self.main_hits) = (0, 0, 0);
    }
}

/// Where to draw the line so that so many of the coldest words go: above which count, and how many words at it stay.
fn cut(by_heat: &ByHeat, mut goes: usize) -> (u8, usize) {
    for count in 0..=HOTTEST {
        let words = by_heat[usize::from(count)];
        if words > goes {
            return (count, words - goes);
        }
        goes -= words;
    }
    (0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coldest_go() {
        let mut by_heat = [0; 16];
        (by_heat[0], by_heat[1], by_heat[9]) = (10, 30, 40);
        assert_eq!(cut(&by_heat, 9), (0, 1));
        assert_eq!(cut(&by_heat, 10), (1, 30));
        assert_eq!(cut(&by_heat, 19), (1, 21));
        assert_eq!(cut(&[0; 16], 0), (0, 0));
    }

    #[test]
    fn a_segment_of_what_is_hot_loses_little_and_a_cold_one_all() {
        let mut eviction = Eviction::default();
        let (mut hot, mut cold) = ([0; 16], [0; 16]);
        (hot[9], cold[1]) = (1200, 1200);
        for _ in 0..2 * LATELY {
            for _ in 0..7 {
                eviction.line(&hot, 1200);
            }
            eviction.line(&cold, 1200);
        }
        assert_eq!(eviction.line(&hot, 1200), (9, 1100));
        assert_eq!(eviction.line(&hot, 2400), (1, 0), "half of it is dead already");
        let (bar, stays) = eviction.line(&cold, 1200);
        assert!((bar, stays / 400) == (1, 0), "{stays} of it stay at {bar}");
    }
}
