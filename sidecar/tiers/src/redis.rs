//! A Redis server as the store that holds the truth.
//!
//! One link carries everything that changes something, in order, and announces what others change; two more carry
//! reads; a few connections are leased to sessions that WATCH.

pub mod endpoint;

mod dial;
mod lease;
mod link;
mod room;
mod scan;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use synapse_core::feed::FeedSink;
use synapse_core::remote::{
    Fetched, Order, Outcome, Pending, Remote, RemoteError, Step, Turn, Walk, Watching,
};
use synapse_core::reply::Reply;

use self::dial::Dialer;
use self::endpoint::Endpoint;
use self::lease::Leases;
use self::link::{Link, Role};
use self::wire::Packed;

/// How Redis is used.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it is.
    pub endpoint: Endpoint,
    /// What every key begins with there.
    pub prefix: Bytes,
    /// Whether changes under the prefix are announced.
    pub tracking: bool,
    /// Limit for opening a connection.
    pub connect_timeout: Duration,
    /// Limit for an answer.
    pub command_timeout: Duration,
    /// What may be under way on one connection, in bytes of arguments. What is larger travels alone.
    pub room: usize,
    /// Interval of the beats by which a dead connection is noticed; two missed ones are a loss.
    pub beat: Duration,
}

/// The usual interval of beats.
pub const BEAT: Duration = Duration::from_millis(500);

/// The usual room of a connection (32 MiB).
pub const ROOM: usize = 32 << 20;

/// Connections that carry reads.
const READ_LINKS: usize = 2;

/// The store. Its connections are opened in the background, and closed when it is dropped.
pub struct RedisRemote {
    ordered: Link,
    reads: Vec<Link>,
    next_read: AtomicUsize,
    leases: Leases,
    prefix: Bytes,
}

/// A turn on the ordered connection.
struct OrderedTurn {
    turn: link::Turn,
    prefix: Bytes,
}

// === impl RedisRemote ===

impl RedisRemote {
    /// Begins to connect, and tells `sink` what the tracking connection hears. Must be called inside a tokio runtime.
    pub fn start(options: Options, sink: Arc<dyn FeedSink>) -> Self {
        let dialer = Arc::new(Dialer::new(&options));
        let role = Role::Ordered { sink, tracking: options.tracking.then(|| options.prefix.clone()) };
        let reads =
            (0..READ_LINKS).map(|_| Link::start(Arc::clone(&dialer), Role::Reads, &options)).collect();
        Self {
            ordered: Link::start(Arc::clone(&dialer), role, &options),
            reads,
            next_read: AtomicUsize::new(0),
            leases: Leases::new(dialer, &options),
            prefix: options.prefix,
        }
    }

    /// One command beside the prefix, with one answer.
    fn one(&self, packed: Packed) -> Pending<Reply> {
        let replies = self.read_link().send(packed);
        Box::pin(async move { replies.await?.pop().map(wire::reply).ok_or(RemoteError::Broken) })
    }

    fn read_link(&self) -> &Link {
        let turn = self.next_read.fetch_add(1, Ordering::Relaxed);
        let mut candidates = (0..self.reads.len()).map(|i| &self.reads[(turn + i) % self.reads.len()]);
        let first = &self.reads[turn % self.reads.len()];
        candidates.find(|link| link.health().is_ok()).unwrap_or(first)
    }
}

impl Remote for RedisRemote {
    fn fetch(&self, keys: Vec<Bytes>) -> Pending<Vec<Fetched>> {
        let (packed, count) = (Packed::fetches(&keys, &self.prefix), keys.len());
        let replies = self.read_link().send(packed);
        Box::pin(async move { Ok(wire::fetched(replies.await?, count)) })
    }

    fn look(&self, orders: Vec<Order>) -> Pending<Vec<Reply>> {
        let replies = self.read_link().send(Packed::orders(&orders, &self.prefix));
        Box::pin(async move { Ok(replies.await?.into_iter().map(wire::reply).collect()) })
    }

    fn turn(&self, bytes: usize) -> Pending<Box<dyn Turn>> {
        let (turn, prefix) = (self.ordered.handle().turn(bytes), self.prefix.clone());
        Box::pin(async move { Ok(Box::new(OrderedTurn { turn: turn.await?, prefix }) as Box<dyn Turn>) })
    }

    fn watch(&self, keys: Vec<Bytes>) -> Pending<Box<dyn Watching>> {
        self.leases.watch(keys)
    }

    fn scan(&self, walk: Walk) -> Pending<(u64, Vec<Bytes>)> {
        let replies = self.read_link().send(scan::step(&walk, &self.prefix));
        let prefix = self.prefix.clone();
        Box::pin(async move { scan::page(replies.await?, &prefix) })
    }

    fn count(&self) -> Pending<u64> {
        scan::count(self.read_link().handle(), self.prefix.clone())
    }

    fn clear(&self) -> Pending<u64> {
        scan::clear(self.read_link().handle(), self.prefix.clone())
    }

    fn is_settled(&self) -> bool {
        self.ordered.is_settled() && self.reads.iter().all(Link::is_settled)
    }

    fn health(&self) -> Result<(), String> {
        self.ordered.health()
    }

    fn keep_alive(&self, key: Bytes, value: Bytes, seconds: u64) -> Pending<Reply> {
        self.one(Packed::raw(&[b"SET", &key, &value, b"EX", seconds.to_string().as_bytes()]))
    }

    fn forget(&self, key: Bytes) -> Pending<Reply> {
        self.one(Packed::raw(&[b"DEL", &key]))
    }
}

impl Turn for OrderedTurn {
    fn send(self: Box<Self>, steps: Vec<Step>) -> Pending<Vec<Outcome>> {
        let replies = self.turn.send(Packed::steps(&steps, &self.prefix));
        Box::pin(async move { Ok(wire::outcomes(&steps, replies.await?)) })
    }
}
