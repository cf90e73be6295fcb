//! The copies in memory, and the rule by which an answer of the store becomes one.
//!
//! Every operation takes a sequence number when it is sent. The answer of a read becomes a copy only if, since it was
//! sent, its key was not announced as changed, no write of it was sent and none ended, and none is under way. The
//! value of a write becomes a copy only if its key was not announced as changed and no later write of it was sent.
//! A write whose end nobody saw puts everything in doubt until a later beat on the ordered connection is answered.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use synapse_core::clock::{Clock, Deadline, Now};
use synapse_core::feed::{FeedSink, Mark};
use synapse_core::memory::{Found, LEASE_MS, Memory, MemoryStats};
use synapse_core::remote::Fetched;

use super::plan::Copy;
use super::stripes::Stripes;

/// Copies of what the store holds.
pub struct Copies<M, C> {
    inner: Mutex<Inner<M>>,
    limits: Limits,
    clock: C,
}

/// How long copies live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Whether changes are announced. If not, `time_to_live` alone bounds the age of a copy.
    pub tracking: bool,
    /// How long copies are served after the feed was last heard.
    pub max_stale: Duration,
    /// The longest that a copy is kept.
    pub time_to_live: Option<Duration>,
}

/// A read under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket {
    sequence: u64,
    sent: Now,
}

/// A write under way.
#[derive(Debug)]
pub(crate) struct Writing {
    keys: Vec<Bytes>,
    ticket: Ticket,
    /// Whether it went over the ordered connection.
    own: bool,
}

struct Inner<M> {
    memory: M,
    stripes: Stripes,
    sequence: u64,
    /// No answer to what was sent up to here becomes a copy.
    floor: u64,
    /// A write whose end nobody saw was given up at this number.
    doubt: Option<u64>,
    armed: bool,
    heard_ms: u64,
}

/// While beats are answered, the feed is heard at least this often; a longer silence that nobody reported (a process
/// that was stopped, a machine that slept) counts as a loss.
const LONGEST_SILENCE: Duration = Duration::from_secs(3);

/// Keys that are gone through before others have their turn.
const KEYS_AT_ONCE: usize = 256;

// === impl Copies ===

impl<M: Memory, C: Clock> Copies<M, C> {
    /// No copies yet; none is kept before the feed is armed.
    pub fn new(memory: M, limits: Limits, clock: C) -> Self {
        let inner = Inner {
            memory,
            stripes: Stripes::new(),
            sequence: 0,
            floor: 0,
            doubt: None,
            armed: false,
            heard_ms: 0,
        };
        Self { inner: Mutex::new(inner), limits, clock }
    }

    pub(crate) fn now(&self) -> Now {
        self.clock.now()
    }

    /// Looks up `keys`; nothing is found while the feed has been silent for too long.
    pub(crate) fn get<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        now: Now,
        mut visit: impl FnMut(usize, Option<Found<'_>>),
    ) {
        let mut inner = self.inner();
        if self.serves(&inner, now) {
            inner.memory.get(keys, now, visit);
        } else {
            (0..keys.len()).for_each(|position| visit(position, None));
        }
    }

    /// A read is about to be sent.
    pub(crate) fn reading(&self) -> Ticket {
        Ticket { sequence: self.inner().next(), sent: self.now() }
    }

    /// The answer to a read of `key`.
    pub(crate) fn fill(&self, key: &[u8], fetched: &Fetched, ticket: Ticket) {
        let Fetched::Value(value, left_ms) = fetched else { return };
        let mut inner = self.inner();
        let stripe = *inner.stripes.of(key);
        let undisturbed = stripe.pending == 0 && stripe.touched.max(stripe.settled) < ticket.sequence;
        if undisturbed && self.keeps(&inner, ticket) {
            self.store(&mut inner, key, (value, value.len()), *left_ms, ticket);
        }
    }

    /// A write of `keys` is about to be sent: their copies are dropped.
    pub(crate) fn writing(&self, keys: Vec<Bytes>, own: bool) -> Writing {
        let now = self.now();
        let mut inner = self.inner();
        let sequence = inner.next();
        for (turn, key) in keys.iter().enumerate() {
            inner = self.share(inner, turn);
            let stripe = inner.stripes.of(key);
            stripe.touched = stripe.touched.max(sequence);
            stripe.pending += 1;
            inner.memory.remove(key, now);
        }
        Writing { keys, ticket: Ticket { sequence, sent: now }, own }
    }

    /// A write has ended, and `copies` is what the store holds now if nothing else has changed it.
    pub(crate) fn settle(&self, writing: Writing, copies: &[Copy]) {
        let mut inner = self.inner();
        let sequence = inner.next();
        for (turn, key) in writing.keys.iter().enumerate() {
            inner = self.share(inner, turn);
            let stripe = inner.stripes.of(key);
            stripe.pending -= 1;
            stripe.settled = stripe.settled.max(sequence);
        }
        for (turn, copy) in copies.iter().enumerate().filter(|_| writing.own) {
            inner = self.share(inner, turn);
            let is_last = inner.stripes.of(&copy.key).touched == writing.ticket.sequence;
            if is_last && self.keeps(&inner, writing.ticket) {
                self.store(&mut inner, &copy.key, (&copy.value, copy.held), copy.left_ms, writing.ticket);
            }
        }
    }

    /// Nobody will see the end of a write. On the ordered connection it may still be executed, unannounced; on any
    /// other it would be announced.
    pub(crate) fn abandon(&self, writing: Writing) {
        let own = writing.own;
        self.settle(writing, &[]);
        if own {
            let mut inner = self.inner();
            inner.doubt = Some(inner.next());
        }
    }

    /// Drops every copy, and keeps no answer to what was sent before.
    pub(crate) fn clear(&self) {
        let mut inner = self.inner();
        inner.floor = inner.next();
        inner.memory.clear();
    }

    /// Whether changes are announced, and the milliseconds since the feed was last heard.
    pub(crate) fn feed(&self) -> (bool, u64) {
        let now = self.now();
        let inner = self.inner();
        (inner.armed, now.mono_ms.saturating_sub(inner.heard_ms))
    }

    /// The memory itself.
    pub(crate) fn with_memory<R>(&self, then: impl FnOnce(&mut M) -> R) -> R {
        then(&mut self.inner().memory)
    }

    pub(crate) fn stats(&self) -> MemoryStats {
        self.inner().memory.stats()
    }

    pub(crate) fn tend(&self) {
        let now = self.now();
        let mut inner = self.inner();
        inner.memory.tend(now);
        self.renew(&mut inner, now);
    }

    fn serves(&self, inner: &Inner<M>, now: Now) -> bool {
        !self.limits.tracking || now.mono_ms <= self.last_served(inner)
    }

    /// Lets readers outside of this process trust the copies for as long as they would be served here.
    fn renew(&self, inner: &mut Inner<M>, now: Now) {
        let most = if self.limits.tracking { self.last_served(inner) } else { u64::MAX };
        inner.memory.lease(most.min(now.mono_ms + LEASE_MS));
    }

    fn last_served(&self, inner: &Inner<M>) -> u64 {
        let limit =
            if inner.armed { self.limits.max_stale.max(LONGEST_SILENCE) } else { self.limits.max_stale };
        inner.heard_ms.saturating_add(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX))
    }

    /// Whether an answer to what was sent with `ticket` may become a copy at all.
    fn keeps(&self, inner: &Inner<M>, ticket: Ticket) -> bool {
        inner.armed && inner.doubt.is_none() && inner.floor < ticket.sequence
    }

    /// `held` as in [`Memory::keep`].
    fn store(
        &self,
        inner: &mut Inner<M>,
        key: &[u8],
        (value, held): (&Bytes, usize),
        left_ms: Option<u64>,
        ticket: Ticket,
    ) {
        let now = self.now();
        let own_limit = self.limits.time_to_live.map(|limit| limit.as_millis() as u64);
        let left = [left_ms, own_limit].into_iter().flatten().min();
        let deadline = left.map_or(Deadline::NEVER, |left| ticket.sent.after(left));
        if !deadline.is_past(now) {
            // An entry that is too large is not kept; the store still has it.
            let _ = inner.memory.keep(key, value, held, deadline, now);
        }
    }

    /// Lets others have their turn now and then while many keys are gone through.
    fn share<'a>(&'a self, inner: MutexGuard<'a, Inner<M>>, turn: usize) -> MutexGuard<'a, Inner<M>> {
        if turn % KEYS_AT_ONCE != KEYS_AT_ONCE - 1 {
            return inner;
        }
        drop(inner);
        self.inner()
    }

    fn inner(&self) -> MutexGuard<'_, Inner<M>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M> Inner<M> {
    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }
}

impl<M: Memory, C: Clock> FeedSink for Copies<M, C> {
    fn invalidate(&self, key: &[u8]) {
        let now = self.now();
        let mut inner = self.inner();
        let sequence = inner.next();
        inner.stripes.of(key).touched = sequence;
        inner.memory.remove(key, now);
    }

    fn invalidate_all(&self) {
        self.clear();
    }

    fn armed(&self) {
        let now = self.now();
        let mut inner = self.inner();
        inner.floor = inner.next();
        if self.limits.tracking {
            inner.memory.clear();
        }
        // What the old connection still executes is announced to the new one.
        inner.doubt = None;
        inner.armed = true;
        inner.heard_ms = now.mono_ms;
        self.renew(&mut inner, now);
    }

    fn mark(&self) -> Mark {
        let now = self.now();
        Mark { sequence: self.inner().sequence, mono_ms: now.mono_ms }
    }

    fn heard(&self, mark: Mark) {
        let mut inner = self.inner();
        inner.heard_ms = inner.heard_ms.max(mark.mono_ms);
        if inner.doubt.is_some_and(|doubt| doubt <= mark.sequence) {
            inner.doubt = None;
            inner.floor = inner.next();
        }
    }

    fn lost(&self) {
        let now = self.now();
        let mut inner = self.inner();
        inner.armed = false;
        self.renew(&mut inner, now);
    }
}
