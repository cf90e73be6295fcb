//! The near cache: copies in memory before a store elsewhere that holds the truth.
//!
//! A batch of commands that only read asks memory first and fetches all that is missing in one round trip. A batch
//! that changes anything goes in its order over the one ordered connection, in one round trip too. What answers may
//! become copies is decided by [`copies`].

pub mod copies;
pub mod warm;

mod batch;
mod plan;
mod route;
mod stripes;
mod walk;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use synapse_core::clock::{Clock, Now};
use synapse_core::memory::{Found, Memory, MemoryStats};
use synapse_core::remote::{Order, Remote, RemoteError, Watching};
use synapse_core::reply::Reply;

use self::copies::Copies;
use self::plan::Kind;
use crate::store::served;

/// The near cache.
pub struct Near<M, C> {
    copies: Arc<Copies<M, C>>,
    remote: Arc<dyn Remote>,
    rules: Rules,
    /// Held while something is sent on the ordered connection: sequence numbers follow the order of sending.
    sending: Mutex<()>,
    hits: AtomicU64,
    misses: AtomicU64,
    failures: AtomicU64,
}

/// What the cache allows, beyond what memory knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// The deadline of an entry that is written without one.
    pub time_to_live: Option<Duration>,
    /// Whether FLUSHDB and FLUSHALL work.
    pub flush: bool,
}

/// A command with keys, or a walk: SCAN, DBSIZE, FLUSHDB, FLUSHALL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its name in lower case.
    pub name: &'static str,
    /// Whether it may change something.
    pub writes: bool,
    /// Its arguments, the name first, and which of them are keys.
    pub order: Order,
    /// The size of the buffer that the arguments have to themselves; 0 where they have none.
    pub held: usize,
}

/// What a session asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// One command.
    Run(Request),
    /// What was queued between MULTI and EXEC for the store.
    Exec(Vec<Request>),
}

/// What the near cache keeps for one session.
#[derive(Default)]
pub struct NearSession {
    watching: Option<Box<dyn Watching>>,
    /// Keys were watched on a connection that broke: whether they changed is unknown, so EXEC must refuse.
    lost: bool,
}

/// Figures since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NearStats {
    /// Keys answered from memory.
    pub hits: u64,
    /// Keys asked of the store.
    pub misses: u64,
    /// Round trips that ended without an answer of the store.
    pub failures: u64,
    /// Whether changes are being announced.
    pub armed: bool,
    /// Milliseconds since the feed was last heard.
    pub silent_ms: u64,
}

// === impl Item ===

impl Item {
    fn into_request(self) -> Option<Request> {
        match self {
            Self::Run(request) => Some(request),
            Self::Exec(_) => None,
        }
    }
}

// === impl NearSession ===

impl NearSession {
    /// Whether keys are watched: then a copy in memory may be older than the watch and must not be served.
    pub fn is_watching(&self) -> bool {
        self.watching.is_some() || self.lost
    }
}

impl fmt::Debug for NearSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NearSession").field("is_watching", &self.is_watching()).finish_non_exhaustive()
    }
}

// === impl Near ===

impl<M: Memory, C: Clock> Near<M, C> {
    /// A near cache over `copies`, which must be the sink of `remote`'s feed.
    pub fn new(copies: Arc<Copies<M, C>>, remote: Arc<dyn Remote>, rules: Rules) -> Self {
        let [hits, misses, failures] = Default::default();
        Self { copies, remote, rules, sending: Mutex::new(()), hits, misses, failures }
    }

    /// Visits what memory holds of `keys` up to the first that it does not hold, and answers how many those were: the
    /// rest is asked of [`Near::execute`]. A visit that answers false was one too many, and the last. Not for a
    /// session that watches.
    pub fn read_front<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        now: Now,
        mut visit: impl FnMut(Found<'_>) -> bool,
    ) -> usize {
        let mut hits = 0;
        self.copies.get(keys, now, |position, found| {
            if position == hits && found.is_some_and(&mut visit) {
                hits += 1;
            }
        });
        self.hits.fetch_add(hits as u64, Ordering::Relaxed);
        hits
    }

    /// Executes `items` in their order and answers each. Ends within the deadline of the store, walks excepted:
    /// each of their steps does.
    pub async fn execute(&self, session: &mut NearSession, items: Vec<Item>) -> Vec<Reply> {
        let mut replies = Vec::with_capacity(items.len());
        let mut run = Vec::new();
        for item in items {
            match item {
                Item::Run(request) if Kind::of(&request).is_walk() => {
                    self.execute_run(session, std::mem::take(&mut run), &mut replies).await;
                    replies.push(self.walk(&request).await);
                }
                item => run.push(item),
            }
        }
        self.execute_run(session, run, &mut replies).await;
        replies
    }

    /// WATCH.
    pub async fn watch(&self, session: &mut NearSession, keys: Vec<Bytes>) -> Reply {
        let watched = match &mut session.watching {
            Some(watching) => watching.watch(keys).await,
            None => self.remote.watch(keys).await.map(|watching| {
                session.watching = Some(watching);
                Reply::OK
            }),
        };
        watched.unwrap_or_else(|error| {
            session.lost |= session.watching.take().is_some();
            self.failed(&error)
        })
    }

    /// Forgets what is watched: UNWATCH, DISCARD, RESET.
    pub fn unwatch(&self, session: &mut NearSession) -> Reply {
        *session = NearSession::default();
        Reply::OK
    }

    /// Takes back the room of some copies whose time has passed.
    pub fn tend(&self) {
        self.copies.tend();
    }

    /// Readers outside of this process found so many keys in the memory; some of them are named.
    pub fn served<K: AsRef<[u8]>>(&self, hits: u64, sample: &[K]) {
        self.hits.fetch_add(hits, Ordering::Relaxed);
        self.copies.with_memory(|memory| served(memory, hits, sample));
    }

    /// Something that only this kind of memory can do.
    pub fn with_memory<R>(&self, then: impl FnOnce(&mut M) -> R) -> R {
        self.copies.with_memory(then)
    }

    /// Figures of the near cache.
    pub fn stats(&self) -> NearStats {
        let (armed, silent_ms) = self.copies.feed();
        NearStats {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            armed,
            silent_ms,
        }
    }

    /// Figures of the memory tier.
    pub fn memory_stats(&self) -> MemoryStats {
        self.copies.stats()
    }

    /// Whether the store is connected.
    ///
    /// # Errors
    /// Why it is not; holds no secret.
    pub fn health(&self) -> Result<(), String> {
        self.remote.health()
    }

    fn failed(&self, error: &RemoteError) -> Reply {
        if !matches!(error, RemoteError::Refused(_)) {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        error.to_reply()
    }
}
