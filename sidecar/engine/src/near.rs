//! The near cache: copies in memory before a store elsewhere that holds the truth.
//!
//! A batch of commands that only read asks memory first and fetches all that is missing in one round trip. A batch
//! that changes anything goes in its order over the one ordered connection, in one round trip too. What answers may
//! become copies is decided by [`copies`].

pub mod copies;

mod batch;
mod plan;
mod stripes;
mod walk;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use synapse_core::clock::{Clock, Now};
use synapse_core::memory::{Found, Memory, MemoryStats};
use synapse_core::remote::{Fetched, Order, Remote, RemoteError, Step, Watching};
use synapse_core::reply::Reply;

use self::batch::{Answer, Batch, Part, Writes, get_reply, many_reply, no_answer};
use self::copies::Copies;
use self::plan::{Kind, Planned};
use crate::store::{MAX_REPLY_BYTES, REPLY_TOO_LARGE};

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

    async fn execute_run(&self, session: &mut NearSession, items: Vec<Item>, replies: &mut Vec<Reply>) {
        let only_reads = |item: &Item| matches!(item, Item::Run(request) if !request.writes);
        if items.is_empty() {
        } else if session.lost {
            self.after_a_loss(session, items, replies).await;
        } else if session.watching.is_some() {
            self.on_the_lease(session, items, replies).await;
        } else if items.iter().all(only_reads) {
            self.reads(items, replies).await;
        } else {
            self.in_order(items, replies).await;
        }
    }

    /// Reads: memory first, then one round trip for all keys that are missing, and one for what asks for other
    /// things than values.
    async fn reads(&self, items: Vec<Item>, replies: &mut Vec<Reply>) {
        let requests: Vec<Request> = items.into_iter().filter_map(Item::into_request).collect();
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for request in requests.iter().filter(|request| Kind::of(request).is_get()) {
            self.look_up(request, &mut found, &mut missing);
        }
        let ticket = self.copies.reading();
        let fetching = (!missing.is_empty()).then(|| {
            self.misses.fetch_add(missing.len() as u64, Ordering::Relaxed);
            self.remote.fetch(missing.iter().map(|(_, key)| key.clone()).collect())
        });
        let looks: Vec<Order> =
            requests.iter().filter(|r| !Kind::of(r).is_get()).map(|r| r.order.clone()).collect();
        let looking = (!looks.is_empty()).then(|| self.remote.look(looks));
        let mut failure = None;
        if let Some(fetching) = fetching {
            match fetching.await {
                Ok(fetched) => {
                    for ((position, key), fetched) in missing.into_iter().zip(fetched) {
                        self.copies.fill(&key, &fetched, ticket);
                        found[position] = Some(fetched);
                    }
                }
                Err(error) => failure = Some(self.failed(&error)),
            }
        }
        let mut looked = match looking {
            None => Ok(Vec::new().into_iter()),
            Some(looking) => looking.await.map(Vec::into_iter).map_err(|error| self.failed(&error)),
        };
        let mut found = found.into_iter();
        for request in &requests {
            replies.push(match Kind::of(request) {
                Kind::Get => get_reply(found.next().flatten(), failure.as_ref()),
                Kind::GetMany => {
                    let many = found.by_ref().take(plan::keys(request).count());
                    many_reply(many, failure.as_ref())
                }
                _ => match &mut looked {
                    Ok(answers) => answers.next().unwrap_or_else(no_answer),
                    Err(failure) => failure.clone(),
                },
            });
        }
    }

    /// Adds what memory holds of the keys of `request`, and which of them are missing, with their positions.
    fn look_up(
        &self,
        request: &Request,
        found: &mut Vec<Option<Fetched>>,
        missing: &mut Vec<(usize, Bytes)>,
    ) {
        let keys: Vec<Bytes> = plan::keys(request).collect();
        let (start, mut hits, mut bytes) = (found.len(), 0, 0);
        self.copies.get(&keys, self.copies.now(), |_, copy| {
            hits += usize::from(copy.is_some());
            bytes += copy.map_or(0, |copy| copy.value.len());
            found.push(copy.map(|copy| match bytes {
                0..=MAX_REPLY_BYTES => Fetched::Value(Bytes::copy_from_slice(copy.value), None),
                _ => Fetched::Refused(REPLY_TOO_LARGE),
            }));
        });
        self.hits.fetch_add(hits as u64, Ordering::Relaxed);
        let keys = keys.into_iter().enumerate().map(|(at, key)| (start + at, key));
        missing.extend(keys.filter(|(position, _)| found[*position].is_none()));
    }

    /// A batch that changes something: everything that memory cannot answer goes over the ordered connection.
    async fn in_order(&self, items: Vec<Item>, replies: &mut Vec<Reply>) {
        let mut batch = Batch::default();
        let sent = {
            let _turn = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
            for item in items {
                match item {
                    Item::Run(request) if Kind::of(&request).is_get() => self.plan_get(&request, &mut batch),
                    Item::Run(request) => self.plan_run(request, &mut batch, true),
                    Item::Exec(queued) => self.plan_exec(queued, &mut batch, true),
                }
            }
            (!batch.steps.is_empty()).then(|| self.remote.send(std::mem::take(&mut batch.steps)))
        };
        let outcomes = match sent {
            Some(sent) => sent.await,
            None => Ok(Vec::new()),
        };
        self.finish(batch, outcomes, replies);
    }

    /// While keys are watched, the session has a connection of its own, and its reads go there.
    async fn on_the_lease(&self, session: &mut NearSession, items: Vec<Item>, replies: &mut Vec<Reply>) {
        let mut items = items.into_iter();
        let mut batch = Batch::default();
        let mut ended = false;
        for item in items.by_ref() {
            match item {
                Item::Run(request) => self.plan_run(request, &mut batch, false),
                Item::Exec(queued) => {
                    self.plan_exec(queued, &mut batch, false);
                    ended = true;
                    break;
                }
            }
        }
        let steps = std::mem::take(&mut batch.steps);
        let outcomes = match &mut session.watching {
            Some(watching) => watching.send(steps).await,
            None => Err(RemoteError::Broken),
        };
        if ended || outcomes.is_err() {
            session.watching = None;
            session.lost = !ended;
        }
        self.finish(batch, outcomes, replies);
        // What follows the transaction is watched by nobody.
        Box::pin(self.execute_run(session, items.collect(), replies)).await;
    }

    /// The session goes on without its watch, and the transaction that relied on it is not executed.
    async fn after_a_loss(&self, session: &mut NearSession, items: Vec<Item>, replies: &mut Vec<Reply>) {
        let mut items = items.into_iter();
        let mut before = Vec::new();
        let exec = items.by_ref().find_map(|item| match item {
            Item::Exec(_) => Some(Reply::NilArray),
            run => {
                before.push(run);
                None
            }
        });
        session.lost = false;
        Box::pin(self.execute_run(session, before, replies)).await;
        match exec {
            Some(refused) => {
                session.watching = None;
                replies.push(refused);
            }
            None => session.lost = true,
        }
        Box::pin(self.execute_run(session, items.collect(), replies)).await;
    }

    fn plan_get(&self, request: &Request, batch: &mut Batch<M, C>) {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        self.look_up(request, &mut found, &mut missing);
        self.misses.fetch_add(missing.len() as u64, Ordering::Relaxed);
        let ticket = self.copies.reading();
        batch.steps.extend(missing.iter().map(|(_, key)| Step::Fetch(key.clone())));
        batch.answers.push(Answer::Get { found, missing, ticket, many: Kind::of(request) == Kind::GetMany });
    }

    /// `own` tells whether the ordered connection carries it: only then is its result not announced, and may
    /// become a copy.
    fn plan_run(&self, request: Request, batch: &mut Batch<M, C>, own: bool) {
        if let Some(refusal) = plan::refusal(&request) {
            return batch.answers.push(Answer::Known(refusal));
        }
        let mut planned = Planned::new(request, self.rules.time_to_live);
        let writes = self.begin(&planned, own);
        let several = planned.orders.len() > 1;
        batch.steps.extend(match several {
            true => Some(Step::Atomic(std::mem::take(&mut planned.orders))),
            false => planned.orders.pop().map(Step::Run),
        });
        batch.answers.push(Answer::Run { planned, writes });
    }

    fn plan_exec(&self, queued: Vec<Request>, batch: &mut Batch<M, C>, own: bool) {
        let mut orders = Vec::new();
        let parts: Vec<Part<M, C>> = queued
            .into_iter()
            .map(|request| {
                if let Some(refusal) = plan::refusal_in_a_transaction(&request) {
                    return Part::Known(refusal);
                }
                let mut planned = Planned::new(request, self.rules.time_to_live);
                let writes = self.begin(&planned, own);
                let count = planned.orders.len();
                orders.append(&mut planned.orders);
                Part::Run { planned, writes, count }
            })
            .collect();
        let sent = !orders.is_empty() || !own;
        batch.steps.extend(sent.then_some(Step::Atomic(orders)));
        batch.answers.push(Answer::Exec { parts, sent });
    }

    fn begin(&self, planned: &Planned, own: bool) -> Option<Writes<M, C>> {
        planned.writes.then(|| {
            let ticket = self.copies.writing(planned.keys.clone(), own);
            Writes { copies: Arc::clone(&self.copies), ticket: Some(ticket) }
        })
    }

    fn failed(&self, error: &RemoteError) -> Reply {
        if !matches!(error, RemoteError::Refused(_)) {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        error.to_reply()
    }
}
