//! The port to the truth behind the cache: a store elsewhere, reached within a deadline or not at all.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use crate::reply::Reply;

/// An answer under way. The operation is sent by the call that returns this, not by its first poll, so calls made
/// one after the other reach an ordered connection in that order; a read for which there is no room at once may be sent
/// by a later poll. Ends within the deadline of the store. Dropping it
/// leaves the outcome unknown.
pub type Pending<T> = Pin<Box<dyn Future<Output = Result<T, RemoteError>> + Send>>;

/// A command for the store, keys without the prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The name and the arguments.
    pub args: Vec<Bytes>,
    /// Which of `args` are keys.
    pub keys: KeySpan,
}

impl Order {
    /// Bytes that it takes to send it, about.
    pub fn size(&self) -> usize {
        const FRAMING: usize = 16;
        self.args.iter().map(|arg| arg.len() + FRAMING).sum()
    }
}

/// Every `step`-th argument of `range` is a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySpan {
    /// Positions, 0 being the name of the command.
    pub range: Range<usize>,
    /// At least 1.
    pub step: usize,
}

/// One step on the ordered connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Value and remaining time of one key.
    Fetch(Bytes),
    /// One command.
    Run(Order),
    /// Commands that are executed as one (MULTI, EXEC).
    Atomic(Vec<Order>),
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Of a [`Step::Fetch`].
    Fetched(Fetched),
    /// Of a [`Step::Run`].
    Reply(Reply),
    /// Of a [`Step::Atomic`]: one answer for each command, or why none was executed.
    Atomic(Result<Vec<Reply>, Reply>),
}

/// What the store holds under a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Fetched {
    /// A value in a buffer of its own, with the milliseconds it has left from the moment of sending; `None` without a
    /// deadline.
    Value(Bytes, Option<u64>),
    /// A value whose time ran out while it was read: an answer, not a copy to keep.
    Ending(Bytes),
    /// Nothing.
    Missing,
    /// The store refused: a value of another type, a user without permission.
    Refused(Reply),
}

/// One step of a scan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Walk {
    /// 0 at first, then what the last step answered.
    pub cursor: u64,
    /// Glob that keys (without the prefix) must match.
    pub pattern: Option<Bytes>,
    /// Hint of how many keys the store looks at.
    pub count: Option<u64>,
    /// Type that the values must have.
    pub kind: Option<Bytes>,
}

/// Why there is no answer of the store.
#[derive(Debug, Clone, Error, PartialEq)]
pub enum RemoteError {
    /// Nothing was sent: there is no connection.
    #[error("REDISDOWN Redis cannot be reached: {reason}")]
    Away {
        /// What the last attempt met, without any secret.
        reason: String,
    },
    /// Nothing was sent: too many operations are under way.
    #[error("REDISBUSY too many operations wait for Redis")]
    Busy,
    /// The store itself refused.
    #[error("{}", refusal_text(.0))]
    Refused(Reply),
    /// It was sent, and no answer came in time.
    #[error("REDISTIMEOUT Redis did not answer within {}ms; whether a write took place is unknown", after.as_millis())]
    Late {
        /// The deadline.
        after: Duration,
    },
    /// It was sent, and the connection broke before the answer.
    #[error("REDISLOST the connection to Redis broke; whether a write took place is unknown")]
    Broken,
}

impl RemoteError {
    /// The same, as the answer of a command.
    pub fn to_reply(&self) -> Reply {
        match self {
            Self::Refused(reply) => reply.clone(),
            other => Reply::error_text(other.to_string()),
        }
    }
}

fn refusal_text(reply: &Reply) -> String {
    match reply {
        Reply::Error(text) => String::from_utf8_lossy(text).into_owned(),
        _ => "ERR Redis refused".to_owned(),
    }
}

/// The store that holds the truth. Object-safe: dynamic dispatch belongs below the I/O line.
pub trait Remote: Send + Sync + 'static {
    /// Values and remaining times of `keys`, in one round trip, in their order. Not ordered against anything else.
    fn fetch(&self, keys: Vec<Bytes>) -> Pending<Vec<Fetched>>;

    /// Commands that change nothing, in one round trip. Not ordered against anything else.
    fn look(&self, orders: Vec<Order>) -> Pending<Vec<Reply>>;

    /// A turn on the one ordered connection, for steps with about so many bytes of arguments: waits for the connection
    /// while it is opened for the first time, and for room beside what is under way.
    fn turn(&self, bytes: usize) -> Pending<Box<dyn Turn>>;

    /// A connection of its own on which `keys` are watched; bounded in number.
    fn watch(&self, keys: Vec<Bytes>) -> Pending<Box<dyn Watching>>;

    /// One step of a scan: keys under the prefix, without it, and the next cursor, 0 at the end.
    fn scan(&self, walk: Walk) -> Pending<(u64, Vec<Bytes>)>;

    /// How many keys lie under the prefix. Costs a walk over all keys of the store.
    fn count(&self) -> Pending<u64>;

    /// Deletes every key under the prefix that lay there at the call, and answers how many. Costs a walk over all
    /// keys of the store.
    fn clear(&self) -> Pending<u64>;

    /// Whether every connection has been tried once: what [`Remote::health`] says before is only that it is early.
    fn is_settled(&self) -> bool;

    /// Whether changing something would be attempted now.
    ///
    /// # Errors
    /// What the last attempt to connect met; holds no secret.
    fn health(&self) -> Result<(), String>;

    /// Writes `value` under exactly `key`, outside the prefix, for `seconds`: how an instance shows that it lives.
    fn keep_alive(&self, key: Bytes, value: Bytes, seconds: u64) -> Pending<Reply>;

    /// Takes back what [`Remote::keep_alive`] wrote.
    fn forget(&self, key: Bytes) -> Pending<Reply>;
}

/// Leave to send on the ordered connection, which is also the one that announces changes by everyone else. Its deadline
/// began when the turn was asked for.
pub trait Turn: Send {
    /// Sends the steps in one round trip. They are sent in the order of these calls, and executed in that order.
    fn send(self: Box<Self>, steps: Vec<Step>) -> Pending<Vec<Outcome>>;
}

/// A connection on which keys are watched. Dropping it forgets the watch.
pub trait Watching: Send {
    /// Watches more keys.
    fn watch(&mut self, keys: Vec<Bytes>) -> Pending<Reply>;

    /// Steps on this connection, in order and in one round trip. The watch ends with the first [`Step::Atomic`].
    fn send(&mut self, steps: Vec<Step>) -> Pending<Vec<Outcome>>;
}
