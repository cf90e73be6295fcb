//! What a command means for the near cache: where it goes, what it changes, and what it leaves behind.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use synapse_core::remote::{KeySpan, Order};
use synapse_core::reply::Reply;

use super::Request;
use crate::store::expiry::unsupported;

/// Where a command goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// GET: memory may answer.
    Get,
    /// MGET: memory may answer.
    GetMany,
    /// A walk over the prefix.
    Walk,
    /// Anything else: the store answers.
    Other,
}

/// An item of a batch, thought through.
pub(crate) enum Plan {
    /// GET or MGET: memory first.
    Get(Request),
    /// Any other command.
    Run(Box<Planned>),
    /// The commands of a transaction, or why one of them is not sent.
    Exec(Vec<Result<Planned, Reply>>),
    /// Answered already.
    Refused(Reply),
}

/// A command on its way to the store.
pub(crate) struct Planned {
    /// What is sent for it.
    pub(crate) orders: Vec<Order>,
    /// Whether it may change something.
    pub(crate) writes: bool,
    /// Its keys.
    pub(crate) keys: Vec<Bytes>,
    left_behind: Vec<Copy>,
    success: Success,
    shape: Shape,
}

/// What the store holds after a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Copy {
    pub(crate) key: Bytes,
    pub(crate) value: Bytes,
    /// The size of the buffer in which the value lies with little else, as in `Memory::keep`.
    pub(crate) held: usize,
    /// Milliseconds from the moment of sending.
    pub(crate) left_ms: Option<u64>,
}

/// The answer by which a write has left its value behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Success {
    Ok,
    One,
    NoError,
}

/// How the answers of what was sent become the reply to what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    AsIs,
    /// `OK` and nothing become 1 and 0.
    Flag,
    /// The first error, or the last answer.
    All,
}

// === impl Kind ===

impl Kind {
    pub(crate) fn of(request: &Request) -> Self {
        match request.name {
            "get" => Self::Get,
            "mget" => Self::GetMany,
            "scan" | "dbsize" | "flushdb" | "flushall" => Self::Walk,
            _ => Self::Other,
        }
    }

    pub(crate) fn is_get(self) -> bool {
        matches!(self, Self::Get | Self::GetMany)
    }

    pub(crate) fn is_walk(self) -> bool {
        self == Self::Walk
    }
}

/// The keys of `request`.
pub(crate) fn keys(request: &Request) -> impl Iterator<Item = Bytes> + '_ {
    let KeySpan { range, step } = &request.order.keys;
    let end = range.end.min(request.order.args.len());
    (range.start..end).step_by((*step).max(1)).map(|position| request.order.args[position].clone())
}

/// What is answered here in the place of Redis: its answer would repeat bytes of the client, and the client of Redis
/// gives up a connection on which an error is no UTF-8.
pub(crate) fn refusal(request: &Request) -> Option<Reply> {
    let options = match request.name {
        "expire" | "pexpire" | "expireat" | "pexpireat" => request.order.args.get(3..)?,
        _ => return None,
    };
    let unknown = options.iter().find(|option| {
        !["NX", "XX", "GT", "LT"].iter().any(|known| option.eq_ignore_ascii_case(known.as_bytes()))
    })?;
    Some(unsupported(unknown))
}

/// As [`refusal`], for a command of a transaction, where a walk is not possible either.
pub(crate) fn refusal_in_a_transaction(request: &Request) -> Option<Reply> {
    let walk = || {
        let name = request.name.to_uppercase();
        Reply::error_text(format!("ERR {name} inside a transaction is not possible in a cache before Redis"))
    };
    refusal(request).or_else(|| Kind::of(request).is_walk().then(walk))
}

// === impl Plan ===

impl Plan {
    /// Bytes that are sent for it, about.
    pub(crate) fn size(&self) -> usize {
        let sum = |orders: &[Order]| orders.iter().map(Order::size).sum::<usize>();
        match self {
            Self::Get(request) => request.order.size(),
            Self::Run(planned) => sum(&planned.orders),
            Self::Exec(parts) => parts.iter().flatten().map(|planned| sum(&planned.orders)).sum(),
            Self::Refused(_) => 0,
        }
    }
}

// === impl Planned ===

impl Planned {
    /// `time_to_live` is given to what is written without a deadline.
    pub(crate) fn new(request: Request, time_to_live: Option<Duration>) -> Self {
        let keys = keys(&request).collect();
        let own_ms = time_to_live.map(|limit| limit.as_millis() as u64);
        let (left_behind, success) = left_behind(&request, own_ms);
        let Request { name, writes, order, held: _ } = request;
        let (orders, shape) = match own_ms {
            Some(limit) if writes => with_deadline(name, order, limit),
            _ => (vec![order], Shape::AsIs),
        };
        Self { orders, writes, keys, left_behind, success, shape }
    }

    /// What the store holds after these answers.
    pub(crate) fn copies(&self, answers: &[Reply]) -> Vec<Copy> {
        let done = |answer: &Reply| match (self.success, answer) {
            (Success::Ok, answer) => *answer == Reply::OK,
            (Success::One, answer) => matches!(answer, Reply::Int(1)) || *answer == Reply::OK,
            (Success::NoError, answer) => !answer.is_error(),
        };
        match !answers.is_empty() && answers.iter().all(done) {
            true => self.left_behind.clone(),
            false => Vec::new(),
        }
    }

    /// The reply to the command.
    pub(crate) fn reply(&self, mut answers: Vec<Reply>) -> Reply {
        let refused = answers.iter().position(Reply::is_error);
        let answer = match (self.shape, refused) {
            (Shape::All, Some(refused)) => Some(answers.swap_remove(refused)),
            _ => answers.pop(),
        };
        match (self.shape, answer) {
            (_, None) => super::batch::no_answer(),
            (Shape::Flag, Some(Reply::Nil)) => Reply::Int(0),
            (Shape::Flag, Some(Reply::Simple(_))) => Reply::Int(1),
            (_, Some(answer)) => answer,
        }
    }
}

/// The value that a write leaves behind, where the command alone tells it.
fn left_behind(request: &Request, own_ms: Option<u64>) -> (Vec<Copy>, Success) {
    let args = &request.order.args;
    let copy = |key: usize, value: usize, left_ms| Copy {
        key: args[key].clone(),
        value: args[value].clone(),
        held: request.held,
        left_ms,
    };
    let seconds = |text: &Bytes| number(text).and_then(|seconds| seconds.checked_mul(1000));
    match (request.name, args.len()) {
        ("set", 3..) => match set_deadline(&args[3..], own_ms) {
            Some(left_ms) => (vec![copy(1, 2, left_ms)], Success::Ok),
            None => (Vec::new(), Success::Ok),
        },
        ("setex", 4) => {
            (seconds(&args[2]).map(|left| copy(1, 3, Some(left))).into_iter().collect(), Success::Ok)
        }
        ("psetex", 4) => {
            (number(&args[2]).map(|left| copy(1, 3, Some(left))).into_iter().collect(), Success::Ok)
        }
        ("setnx", 3) => (vec![copy(1, 2, own_ms)], Success::One),
        ("getset", 3) => (vec![copy(1, 2, own_ms)], Success::NoError),
        ("mset", 3..) if args.len() % 2 == 1 => {
            // A key that is named twice has the value that was named last.
            let mut named = HashSet::new();
            let last = (1..args.len()).step_by(2).rev().filter(|key| named.insert(&args[*key][..]));
            (last.map(|key| copy(key, key + 1, own_ms)).collect(), Success::Ok)
        }
        _ => (Vec::new(), Success::Ok),
    }
}

/// The deadline that the options of a SET give, in milliseconds from now; `None` where they do not tell it.
fn set_deadline(options: &[Bytes], own_ms: Option<u64>) -> Option<Option<u64>> {
    let mut left_ms = own_ms;
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match option.to_ascii_uppercase().as_slice() {
            b"EX" => left_ms = Some(number(options.next()?)?.checked_mul(1000)?),
            b"PX" => left_ms = Some(number(options.next()?)?),
            b"NX" | b"XX" => {}
            _ => return None,
        }
    }
    Some(left_ms)
}

/// Commands that write without a deadline, sent with one.
fn with_deadline(name: &str, mut order: Order, limit_ms: u64) -> (Vec<Order>, Shape) {
    let limit = Bytes::from(limit_ms.to_string());
    let px = Bytes::from_static(b"PX");
    let set = |key: &Bytes, value: &Bytes, option: Option<&'static str>| {
        let mut args = vec![Bytes::from_static(b"SET"), key.clone(), value.clone()];
        args.extend(option.map(|option| Bytes::from_static(option.as_bytes())));
        args.extend([px.clone(), limit.clone()]);
        Order { args, keys: KeySpan { range: 1..2, step: 1 } }
    };
    let args = &order.args;
    match (name, args.len()) {
        ("setnx", 3) => (vec![set(&args[1], &args[2], Some("NX"))], Shape::Flag),
        ("getset", 3) => (vec![set(&args[1], &args[2], Some("GET"))], Shape::AsIs),
        ("mset", 3..) if args.len() % 2 == 1 => {
            (args[1..].chunks(2).map(|pair| set(&pair[0], &pair[1], None)).collect(), Shape::All)
        }
        ("set", 3..) if !args[3..].iter().any(|option| is_deadline(option)) => {
            order.args.extend([px, limit]);
            (vec![order], Shape::AsIs)
        }
        _ => (vec![order], Shape::AsIs),
    }
}

fn is_deadline(option: &[u8]) -> bool {
    ["EX", "PX", "EXAT", "PXAT", "KEEPTTL"].iter().any(|name| option.eq_ignore_ascii_case(name.as_bytes()))
}

fn number(text: &Bytes) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &'static str, args: &[&'static str], keys: KeySpan) -> Request {
        let args = std::iter::once(&name).chain(args).map(|arg| Bytes::from_static(arg.as_bytes()));
        Request { name, writes: true, order: Order { args: args.collect(), keys }, held: 0 }
    }

    fn one() -> KeySpan {
        KeySpan { range: 1..2, step: 1 }
    }

    fn left(name: &'static str, args: &[&'static str]) -> Option<Option<u64>> {
        let planned = Planned::new(request(name, args, one()), None);
        planned.copies(&[Reply::OK]).pop().map(|copy| copy.left_ms)
    }

    #[test]
    fn a_copy_is_kept_only_where_the_command_tells_value_and_deadline() {
        assert_eq!(left("set", &["k", "v"]), Some(None));
        assert_eq!(left("set", &["k", "v", "nx", "ex", "2"]), Some(Some(2000)));
        assert_eq!(left("set", &["k", "v", "PX", "7"]), Some(Some(7)));
        assert_eq!(left("setex", &["k", "3", "v"]), Some(Some(3000)));
        assert_eq!(left("set", &["k", "v", "KEEPTTL"]), None);
        assert_eq!(left("set", &["k", "v", "GET"]), None);
        assert_eq!(left("set", &["k", "v", "EXAT", "9"]), None);
        assert_eq!(left("append", &["k", "v"]), None);
        let planned = Planned::new(request("set", &["k", "v", "NX"], one()), None);
        assert!(planned.copies(&[Reply::Nil]).is_empty());
    }

    #[test]
    fn of_a_key_that_is_named_twice_the_last_value_is_kept() {
        let pairs = KeySpan { range: 1..7, step: 2 };
        let planned = Planned::new(request("mset", &["a", "1", "b", "2", "a", "3"], pairs), None);
        let mut kept: Vec<_> =
            planned.copies(&[Reply::OK]).into_iter().map(|copy| (copy.key, copy.value)).collect();
        kept.sort();
        assert_eq!(kept, [("a", "3"), ("b", "2")].map(|(key, value)| (key.into(), value.into())));
    }

    #[test]
    fn what_is_written_without_a_deadline_gets_the_caches_own() {
        let sent = |name, args: &[&'static str], keys| {
            let planned = Planned::new(request(name, args, keys), Some(Duration::from_millis(50)));
            let text = |order: &Order| {
                order
                    .args
                    .iter()
                    .map(|arg| String::from_utf8_lossy(arg).into_owned())
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            planned.orders.iter().map(text).collect::<Vec<_>>().join(";")
        };
        assert_eq!(sent("set", &["k", "v"], one()), "set k v PX 50");
        assert_eq!(sent("set", &["k", "v", "EX", "9"], one()), "set k v EX 9");
        assert_eq!(sent("set", &["k", "v", "keepttl"], one()), "set k v keepttl");
        assert_eq!(sent("setnx", &["k", "v"], one()), "SET k v NX PX 50");
        let pairs = KeySpan { range: 1..5, step: 2 };
        assert_eq!(sent("mset", &["a", "1", "b", "2"], pairs), "SET a 1 PX 50;SET b 2 PX 50");
    }
}
