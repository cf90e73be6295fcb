//! Between the words of the port and those of the Redis client: commands out with the prefix, answers back.

use bytes::Bytes;
use redis::{Arg, Cmd, Pipeline, ServerError, Value};
use synapse_core::remote::{Fetched, Order, Outcome, Step};
use synapse_core::reply::Reply;

/// Commands that are sent as one piece, and how many answers they have.
pub(crate) struct Packed {
    pub(crate) pipeline: Pipeline,
    pub(crate) answers: usize,
    /// Bytes of all arguments together.
    pub(crate) bytes: usize,
}

// === impl Packed ===

impl Packed {
    /// One command as it is, without a prefix.
    pub(crate) fn raw(args: &[&[u8]]) -> Self {
        let mut packed = Self::new();
        packed.add(args);
        packed
    }

    /// Values and remaining times of all `keys`, read at one moment.
    pub(crate) fn fetches(keys: &[Bytes], prefix: &[u8]) -> Self {
        let mut packed = Self::new();
        packed.add(&[b"MULTI"]);
        for key in keys {
            packed.add_fetch(&prefixed(prefix, key));
        }
        packed.add(&[b"EXEC"]);
        packed
    }

    pub(crate) fn orders(orders: &[Order], prefix: &[u8]) -> Self {
        let mut packed = Self::new();
        for order in orders {
            packed.add_order(order, prefix);
        }
        packed
    }

    pub(crate) fn steps(steps: &[Step], prefix: &[u8]) -> Self {
        let mut packed = Self::new();
        for step in steps {
            match step {
                Step::Run(order) => packed.add_order(order, prefix),
                Step::Fetch(key) => {
                    packed.add(&[b"MULTI"]);
                    packed.add_fetch(&prefixed(prefix, key));
                    packed.add(&[b"EXEC"]);
                }
                Step::Atomic(orders) => {
                    packed.add(&[b"MULTI"]);
                    orders.iter().for_each(|order| packed.add_order(order, prefix));
                    packed.add(&[b"EXEC"]);
                }
            }
        }
        packed
    }

    /// A command whose every argument after the name is a key.
    pub(crate) fn keys(name: &[u8], keys: &[Bytes], prefix: &[u8]) -> Self {
        let mut cmd = Cmd::new();
        cmd.arg(name);
        for key in keys {
            cmd.arg(prefixed(prefix, key));
        }
        let mut packed = Self::new();
        packed.push(cmd);
        packed
    }

    fn new() -> Self {
        Self { pipeline: Pipeline::new(), answers: 0, bytes: 0 }
    }

    fn add(&mut self, args: &[&[u8]]) {
        let mut cmd = Cmd::new();
        for arg in args {
            cmd.arg(*arg);
        }
        self.push(cmd);
    }

    fn add_fetch(&mut self, key: &[u8]) {
        self.add(&[b"GET", key]);
        self.add(&[b"PTTL", key]);
    }

    fn add_order(&mut self, order: &Order, prefix: &[u8]) {
        let mut cmd = Cmd::new();
        for (position, arg) in order.args.iter().enumerate() {
            let range = &order.keys.range;
            if range.contains(&position) && (position - range.start).is_multiple_of(order.keys.step.max(1)) {
                cmd.arg(prefixed(prefix, arg));
            } else {
                cmd.arg(arg.as_ref());
            }
        }
        self.push(cmd);
    }

    fn push(&mut self, cmd: Cmd) {
        self.bytes +=
            cmd.args_iter().map(|arg| if let Arg::Simple(arg) = arg { arg.len() } else { 0 }).sum::<usize>();
        self.pipeline.add_command(cmd);
        self.answers += 1;
    }
}

/// `key` as it is named in Redis.
pub(crate) fn prefixed(prefix: &[u8], key: &[u8]) -> Vec<u8> {
    [prefix, key].concat()
}

/// The answers to [`Packed::fetches`] of `count` keys.
pub(crate) fn fetched(mut answers: Vec<Value>, count: usize) -> Vec<Fetched> {
    match answers.pop() {
        Some(Value::Array(values)) if values.len() == 2 * count => {
            let mut values = values.into_iter();
            let pair = |_| fetched_one(values.next().unwrap_or_default(), values.next().unwrap_or_default());
            (0..count).map(pair).collect()
        }
        executed => vec![Fetched::Refused(not_executed(answers, executed)); count],
    }
}

fn fetched_one(value: Value, left: Value) -> Fetched {
    match (value, left) {
        (Value::Nil, _) => Fetched::Missing,
        (Value::BulkString(value), Value::Int(-1)) => Fetched::Value(value.into(), None),
        (Value::BulkString(value), Value::Int(left @ 0..)) => {
            Fetched::Value(value.into(), Some(left.unsigned_abs()))
        }
        (Value::BulkString(value), _) => Fetched::Ending(value.into()),
        (other, _) => Fetched::Refused(reply(other)),
    }
}

/// The answers to [`Packed::steps`].
pub(crate) fn outcomes(steps: &[Step], answers: Vec<Value>) -> Vec<Outcome> {
    let mut answers = answers.into_iter();
    let mut take = |count| answers.by_ref().take(count).collect::<Vec<_>>();
    steps
        .iter()
        .map(|step| match step {
            Step::Run(_) => Outcome::Reply(take(1).pop().map_or(Reply::Nil, reply)),
            Step::Fetch(_) => Outcome::Fetched(fetched(take(4), 1).pop().unwrap_or(Fetched::Missing)),
            Step::Atomic(orders) => Outcome::Atomic(atomic(take(orders.len() + 2))),
        })
        .collect()
}

fn atomic(mut answers: Vec<Value>) -> Result<Vec<Reply>, Reply> {
    match answers.pop() {
        Some(Value::Array(values)) => Ok(values.into_iter().map(reply).collect()),
        Some(Value::Nil) => Err(Reply::NilArray),
        executed => Err(not_executed(answers, executed)),
    }
}

/// Why EXEC executed nothing: the command that was not queued, or what EXEC itself said.
fn not_executed(queued: Vec<Value>, executed: Option<Value>) -> Reply {
    let refusal = queued.into_iter().find(|answer| matches!(answer, Value::ServerError(_)));
    refusal.or(executed).map_or(Reply::error("ERR no answer from Redis"), reply)
}

/// An answer of Redis in the words of the cache.
pub(crate) fn reply(value: Value) -> Reply {
    match value {
        Value::Nil => Reply::Nil,
        Value::Int(number) => Reply::Int(number),
        Value::BulkString(bytes) => Reply::Bulk(bytes.into()),
        Value::Array(values) => Reply::Array(values.into_iter().map(reply).collect()),
        Value::SimpleString(text) => Reply::Simple(text.into()),
        Value::Okay => Reply::OK,
        Value::Map(pairs) => Reply::Map(pairs.into_iter().map(|(k, v)| (reply(k), reply(v))).collect()),
        Value::Attribute { data, .. } => reply(*data),
        Value::Set(values) => Reply::Set(values.into_iter().map(reply).collect()),
        Value::Double(number) => Reply::Double(number),
        Value::Boolean(flag) => Reply::Int(flag.into()),
        Value::VerbatimString { text, .. } => Reply::Text(text.into()),
        Value::ServerError(error) => error_line(&error),
        other => Reply::error_text(format!("ERR unexpected answer of Redis: {}", kind(&other))),
    }
}

fn error_line(error: &ServerError) -> Reply {
    match error.details() {
        Some(details) => Reply::error_text(format!("{} {details}", error.code())),
        None => Reply::error_text(error.code()),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::BigNumber(_) => "a big number",
        Value::Push { .. } => "a push",
        _ => "a type that is not known",
    }
}

#[cfg(test)]
mod tests {
    use synapse_core::remote::KeySpan;

    use super::*;

    #[test]
    fn every_key_and_nothing_else_gets_the_prefix() {
        let order = Order {
            args: ["MSET", "a", "1", "b", "2"].map(Bytes::from).to_vec(),
            keys: KeySpan { range: 1..5, step: 2 },
        };
        let packed = Packed::orders(&[order], b"p:").pipeline.get_packed_pipeline();
        assert_eq!(packed, b"*5\r\n$4\r\nMSET\r\n$3\r\np:a\r\n$1\r\n1\r\n$3\r\np:b\r\n$1\r\n2\r\n");
    }

    #[test]
    fn a_value_whose_time_ran_out_meanwhile_is_no_copy_to_keep() {
        let exec = Value::Array(vec![Value::BulkString(b"v".to_vec()), Value::Int(-2)]);
        assert_eq!(fetched(vec![Value::Okay, exec], 1), [Fetched::Ending(Bytes::from_static(b"v"))]);
    }
}
