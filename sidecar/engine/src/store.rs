//! The commands on a memory tier: what each means to keys, one after the other, under whoever's lock holds the store.

pub(crate) mod arguments;
mod counters;
pub(crate) mod expiry;
pub(crate) mod keyspace;
mod long_double;
mod natural;
mod read;
mod watch;
mod write;

use std::time::Duration;

use bytes::Bytes;
use synapse_core::clock::{Deadline, Now};
use synapse_core::memory::{Found, Kept, LEASE_MS, Memory, MemoryStats, Recalled, Stored};
use synapse_core::reply::Reply;

pub use self::watch::Watch;
use self::watch::Watched;
use crate::command::{Command, Op};

/// Longest string a command may make, in bytes: what no argument could have brought (64 MiB).
pub const MAX_VALUE_BYTES: usize = 64 << 20;

/// Most payload that one reply may hold, in bytes (128 MiB).
pub const MAX_REPLY_BYTES: usize = 128 << 20;

/// The refusal of a reply that would hold more than [`MAX_REPLY_BYTES`].
pub const REPLY_TOO_LARGE: Reply = Reply::error("ERR reply exceeds 128 MiB, ask for fewer keys at a time");

/// A memory tier with the meaning of the commands on it.
#[derive(Debug)]
pub struct Store<M> {
    memory: M,
    /// The longest that an entry lives, in milliseconds.
    longest_ms: Option<u64>,
    watched: Watched,
    lookups: Lookups,
}

/// Keys that were read, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lookups {
    /// That were there.
    pub hits: u64,
    /// That were not.
    pub misses: u64,
}

/// The end of a command before its time: the reply that says why.
type Outcome = Result<Reply, Reply>;

impl<M: Memory> Store<M> {
    /// A store on a memory tier, in which no entry lives for longer than `longest` after it was written.
    pub fn new(memory: M, longest: Option<Duration>) -> Self {
        let longest_ms = longest.map(|longest| u64::try_from(longest.as_millis()).unwrap_or(u64::MAX));
        Self { memory, longest_ms, watched: Watched::default(), lookups: Lookups::default() }
    }

    /// Executes one command on keys. Its arity has been checked; commands of the connection are not known here.
    pub fn run(&mut self, command: &Command, args: &[Bytes], now: Now) -> Reply {
        self.run_alone(command, args, 0, now)
    }

    /// As [`Store::run`], for a command whose arguments have a buffer of `held` bytes to themselves, or none where that is
    /// 0; see [`Memory::keep`].
    pub fn run_alone(&mut self, command: &Command, args: &[Bytes], held: usize, now: Now) -> Reply {
        self.dispatch(command, args, held, now).unwrap_or_else(|refusal| refusal)
    }

    /// Looks up many keys without a copy; see [`Memory::get`].
    pub fn read<K: AsRef<[u8]>>(
        &mut self,
        keys: &[K],
        now: Now,
        mut visit: impl FnMut(usize, Option<Found<'_>>),
    ) {
        let mut hits = 0;
        self.memory.get(keys, now, |position, found| {
            hits += u64::from(found.is_some());
            visit(position, found);
        });
        self.lookups.hits += hits;
        self.lookups.misses += keys.len() as u64 - hits;
    }

    /// SET in its plainest form, of each of these keys and its value, in order: without a deadline of its own. Calls
    /// `visit` once for each, with the reply that says why it is not stored, if it is not.
    pub fn write<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        entries: (&[K], &[V]),
        now: Now,
        mut visit: impl FnMut(Result<(), Reply>),
    ) {
        for key in entries.0 {
            self.watched.changed(key.as_ref());
        }
        let deadline = self.bounded(Deadline::NEVER, now);
        self.memory.set_many(entries, deadline, now, |stored| visit(done(stored)));
    }

    /// How many keys were read, and how many of them were there.
    pub fn lookups(&self) -> Lookups {
        self.lookups
    }

    /// Takes back the room of some expired entries, and lets readers outside of this process go on; see
    /// [`Memory::tend`] and [`Memory::lease`].
    pub fn tend(&mut self, now: Now) {
        self.memory.tend(now);
        self.memory.lease(now.mono_ms + LEASE_MS);
    }

    /// Readers outside of this process found so many keys in the memory; some of them are named.
    pub fn served<K: AsRef<[u8]>>(&mut self, hits: u64, sample: &[K]) {
        self.lookups.hits += hits;
        served(&mut self.memory, hits, sample);
    }

    /// Takes up an entry of the memory before this one; see [`Memory::recall`].
    pub fn recall(&mut self, kept: Kept<'_>, now: Now) -> Recalled {
        self.memory.recall(Kept { deadline: self.bounded(kept.deadline, now), ..kept }, now)
    }

    /// Something that only this kind of memory can do.
    pub fn with_memory<R>(&mut self, then: impl FnOnce(&mut M) -> R) -> R {
        then(&mut self.memory)
    }

    /// The figures of the memory tier.
    pub fn stats(&self) -> MemoryStats {
        self.memory.stats()
    }

    fn dispatch(&mut self, command: &Command, args: &[Bytes], held: usize, now: Now) -> Outcome {
        match command.op {
            Op::Get => Ok(self.get(args, now)),
            Op::Mget => self.mget(args, now),
            Op::Strlen => Ok(self.strlen(args, now)),
            Op::Getrange | Op::Substr => self.getrange(args, now),
            Op::Exists | Op::Touch => Ok(self.exists(args, now)),
            Op::Type => Ok(self.type_of(args, now)),
            Op::Set => self.set(args, held, now),
            Op::Setex => self.setex(args, held, 1000, command, now),
            Op::Psetex => self.setex(args, held, 1, command, now),
            Op::Setnx => self.setnx(args, held, now),
            Op::Getset => self.getset(args, held, now),
            Op::Getdel => Ok(self.getdel(args, now)),
            Op::Getex => self.getex(args, now),
            Op::Mset => self.mset(args, now),
            Op::Msetnx => self.msetnx(args, now),
            Op::Append => self.append(args, now),
            Op::Setrange => self.setrange(args, now),
            Op::Incr => self.add(args, 1, now),
            Op::Decr => self.add(args, -1, now),
            Op::Incrby => self.incrby(args, now),
            Op::Decrby => self.decrby(args, now),
            Op::Incrbyfloat => self.incrbyfloat(args, now),
            Op::Del | Op::Unlink => Ok(self.del(args, now)),
            Op::Ttl | Op::Pttl | Op::Expiretime | Op::Pexpiretime => Ok(self.ttl(command.op, args, now)),
            Op::Expire | Op::Pexpire | Op::Expireat | Op::Pexpireat => self.expire(command, args, now),
            Op::Persist => Ok(self.persist(args, now)),
            Op::Scan => self.scan(args, now),
            Op::Dbsize => Ok(self.dbsize()),
            Op::Flushall | Op::Flushdb => self.flush(args, now),
            _ => Err(Reply::error("ERR command does not work on keys")),
        }
    }

    // === one key: the ways in which every command touches the tier ===

    fn with<R>(&mut self, key: &[u8], now: Now, mut look: impl FnMut(Option<Found<'_>>) -> R) -> R {
        let mut seen = None;
        self.memory.get(&[key], now, |_, found| seen = Some(look(found)));
        seen.unwrap_or_else(|| look(None))
    }

    fn value(&mut self, key: &[u8], now: Now) -> Option<(Bytes, Deadline)> {
        self.with(key, now, |found| found.map(|found| (found.to_bytes(), found.deadline)))
    }

    fn deadline(&mut self, key: &[u8], now: Now) -> Option<Deadline> {
        self.with(key, now, |found| found.map(|found| found.deadline))
    }

    fn put(&mut self, key: &[u8], value: &[u8], deadline: Deadline, now: Now) -> Result<(), Reply> {
        self.put_by(key, deadline, now, |memory, deadline| memory.set(key, value, deadline, now))
    }

    /// As [`Self::put`], for an argument of a command whose arguments have `held` bytes to themselves.
    fn put_alone(
        &mut self,
        key: &[u8],
        value: &Bytes,
        held: usize,
        deadline: Deadline,
        now: Now,
    ) -> Result<(), Reply> {
        self.put_by(key, deadline, now, |memory, deadline| memory.keep(key, value, held, deadline, now))
    }

    fn put_by(
        &mut self,
        key: &[u8],
        deadline: Deadline,
        now: Now,
        store: impl FnOnce(&mut M, Deadline) -> Stored,
    ) -> Result<(), Reply> {
        self.watched.changed(key);
        if deadline.is_past(now) {
            self.memory.remove(key, now);
            return Ok(());
        }
        let deadline = self.bounded(deadline, now);
        done(store(&mut self.memory, deadline))
    }

    /// The deadline, or the one that the store gives where that comes first.
    fn bounded(&self, deadline: Deadline, now: Now) -> Deadline {
        self.longest_ms.map_or(deadline, |longest| deadline.min(now.after(longest)))
    }

    fn drop_key(&mut self, key: &[u8], now: Now) -> bool {
        let was_there = self.memory.remove(key, now);
        if was_there {
            self.watched.changed(key);
        }
        was_there
    }
}

fn done(stored: Stored) -> Result<(), Reply> {
    match stored {
        Stored::Kept => Ok(()),
        Stored::TooLarge => Err(Reply::error("OOM command not allowed when used memory > 'maxmemory'.")),
    }
}

/// Tells the memory what readers found in it: each key of the sample stands for as many hits as the next.
pub(crate) fn served<M: Memory, K: AsRef<[u8]>>(memory: &mut M, hits: u64, sample: &[K]) {
    let each = hits / sample.len().max(1) as u64;
    let each = u8::try_from(each).unwrap_or(u8::MAX).max(1);
    for key in sample {
        memory.touched(key.as_ref(), each);
    }
}
