//! Commands that only look: GET, MGET, STRLEN, GETRANGE, EXISTS, TYPE.

use bytes::Bytes;
use synapse_core::clock::Now;
use synapse_core::memory::Memory;
use synapse_core::reply::Reply;

use super::arguments::integer;
use super::{MAX_REPLY_BYTES, Outcome, REPLY_TOO_LARGE, Store};

impl<M: Memory> Store<M> {
    pub(super) fn get(&mut self, args: &[Bytes], now: Now) -> Reply {
        let mut reply = Reply::Nil;
        self.read(&args[1..2], now, |_, found| {
            reply = found.map_or(Reply::Nil, |found| Reply::Bulk(found.to_bytes()));
        });
        reply
    }

    pub(super) fn mget(&mut self, args: &[Bytes], now: Now) -> Outcome {
        let keys = &args[1..];
        let mut total = 0;
        let mut values = Vec::with_capacity(keys.len());
        self.read(keys, now, |_, found| {
            total += found.map_or(0, |found| found.value.len());
            if total <= MAX_REPLY_BYTES {
                values.push(found.map_or(Reply::Nil, |found| Reply::Bulk(found.to_bytes())));
            }
        });
        if total > MAX_REPLY_BYTES { Err(REPLY_TOO_LARGE) } else { Ok(Reply::Array(values)) }
    }

    pub(super) fn strlen(&mut self, args: &[Bytes], now: Now) -> Reply {
        self.with(&args[1], now, |found| Reply::Int(found.map_or(0, |found| found.value.len() as i64)))
    }

    pub(super) fn getrange(&mut self, args: &[Bytes], now: Now) -> Outcome {
        let (start, end) = (integer(&args[2])?, integer(&args[3])?);
        Ok(self.with(&args[1], now, |found| {
            let value = found.map_or(&b""[..], |found| found.value);
            Reply::Bulk(Bytes::copy_from_slice(range(value, start, end)))
        }))
    }

    pub(super) fn exists(&mut self, args: &[Bytes], now: Now) -> Reply {
        let mut alive = 0;
        self.memory.get(&args[1..], now, |_, found| alive += i64::from(found.is_some()));
        Reply::Int(alive)
    }

    pub(super) fn type_of(&mut self, args: &[Bytes], now: Now) -> Reply {
        self.with(&args[1], now, |found| Reply::status(if found.is_some() { "string" } else { "none" }))
    }
}

/// The bytes from `start` to `end`, both included, counted from the end when negative.
fn range(value: &[u8], start: i64, end: i64) -> &[u8] {
    if start < 0 && end < 0 && start > end {
        return b"";
    }
    let length = value.len() as i64;
    let from_end = |position: i64| if position < 0 { (length + position).max(0) } else { position };
    let (start, end) = (from_end(start), from_end(end).min(length - 1));
    if start > end {
        return b"";
    }
    &value[start as usize..=end as usize]
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_are_clamped() {
        let value = b"hello";
        for (start, end, expected) in [
            (0, 4, "hello"),
            (0, -1, "hello"),
            (-3, -2, "ll"),
            (-100, 1, "he"),
            (3, 100, "lo"),
            (5, 9, ""),
            (-1, -2, ""),
            (0, -100, "h"),
            (i64::MIN, i64::MAX, "hello"),
        ] {
            assert_eq!(range(value, start, end), expected.as_bytes(), "{start}..={end}");
        }
        assert_eq!(range(b"", 0, -1), b"");
    }
}
