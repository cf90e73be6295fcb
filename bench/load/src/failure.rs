//! Why a run failed.

use std::io;
use std::time::Duration;

use crate::encoder::{Operation, Verdict};

/// How many bytes of an answer a message shows.
const SHOWN: usize = 48;

/// Why a run failed. One of these is enough: figures of a server that answers wrongly mean nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Nobody listens, or nobody accepts any more.
    #[error("connecting to {0}, connection {1}")]
    Connect(String, usize, #[source] io::Error),
    /// A connection broke.
    #[error("a connection broke with {0} answers outstanding")]
    Broken(usize, #[source] io::Error),
    /// The server closed a connection.
    #[error("the server closed a connection with {0} answers outstanding")]
    Closed(usize),
    /// The bytes are no answer.
    #[error("what follows is no answer in this protocol: \"{0}\"")]
    Malformed(String),
    /// An answer too many.
    #[error("an answer that nobody asked for: \"{0}\"")]
    Surplus(String),
    /// A wrong answer.
    #[error("wrong answer to {0}")]
    Wrong(String),
    /// The answers stay away.
    #[error("{0} answers did not come within {1:?}: the server hangs, or the rate is above what it serves")]
    Stalled(usize, Duration),
    /// The system's poll failed.
    #[error("waiting for the server")]
    Poll(#[source] io::Error),
    /// A worker's thread ended early.
    #[error("a worker ended before its work was done")]
    Worker,
}

// === impl Failure ===

impl Failure {
    /// From an answer that was judged not to be right.
    pub(crate) fn judged(operation: Operation, key: &[u8], verdict: Verdict) -> Self {
        let why = match verdict {
            Verdict::Wrong(wrong) => wrong.to_string(),
            Verdict::OtherKey(other) => format!("the value of {}", excerpt(&other)),
            Verdict::OtherKind(kind) => kind.to_owned(),
            Verdict::Refused(text) => format!("the server says: {}", excerpt(&text)),
            Verdict::Miss => {
                "no value, though it was stored: give --misses count or store where a miss is right".into()
            }
            Verdict::NoRoom => {
                "the server has no room: give --misses count or store where that is right".into()
            }
            Verdict::Right => "nothing".to_owned(),
        };
        let operation = match operation {
            Operation::Get => "GET",
            Operation::Set => "SET",
        };
        Self::Wrong(format!("{operation} {}: {why}", excerpt(key)))
    }
}

/// The beginning of some bytes, as text.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    let more = if bytes.len() > SHOWN { "..." } else { "" };
    format!("{}{more}", bytes[..bytes.len().min(SHOWN)].escape_ascii())
}
