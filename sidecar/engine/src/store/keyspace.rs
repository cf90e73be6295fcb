//! Commands about keys, many or all of them: DEL, SCAN, DBSIZE, FLUSHDB.

use bytes::Bytes;
use synapse_core::clock::Now;
use synapse_core::memory::Memory;
use synapse_core::reply::Reply;

use super::arguments::{SYNTAX, integer, is_option};
use super::{Outcome, Store};
use crate::glob;

/// How many keys a SCAN looks at when it does not say.
const SCAN_COUNT: usize = 10;

/// The most keys that one SCAN looks at, whatever it says: the store answers nobody else meanwhile.
const MAX_SCAN_COUNT: usize = 100_000;

impl<M: Memory> Store<M> {
    pub(super) fn del(&mut self, args: &[Bytes], now: Now) -> Reply {
        let dropped = args[1..].iter().filter(|key| self.drop_key(key, now)).count();
        Reply::Int(dropped as i64)
    }

    pub(super) fn scan(&mut self, args: &[Bytes], now: Now) -> Outcome {
        let cursor = cursor(&args[1]).ok_or(Reply::error("ERR invalid cursor"))?;
        let (mut count, mut pattern, mut strings) = (SCAN_COUNT, None, true);
        for option in args[2..].chunks(2) {
            match option {
                [name, value] if is_option(name, "COUNT") => {
                    let wanted = integer(value)?;
                    let wanted = usize::try_from(wanted).ok().filter(|wanted| *wanted > 0).ok_or(SYNTAX)?;
                    count = wanted.min(MAX_SCAN_COUNT);
                }
                [name, value] if is_option(name, "MATCH") => pattern = Some(value),
                [name, value] if is_option(name, "TYPE") => strings = is_option(value, "string"),
                _ => return Err(SYNTAX),
            }
        }
        let mut keys = Vec::new();
        let next = self.memory.scan(cursor, count, now, |key| {
            if strings && pattern.is_none_or(|pattern| glob::matches(pattern, key)) {
                keys.push(Reply::Bulk(Bytes::copy_from_slice(key)));
            }
        });
        Ok(Reply::Array(vec![Reply::Bulk(next.to_string().into()), Reply::Array(keys)]))
    }

    pub(super) fn dbsize(&self) -> Reply {
        Reply::Int(i64::try_from(self.memory.stats().entries).unwrap_or(i64::MAX))
    }

    pub(super) fn flush(&mut self, args: &[Bytes], now: Now) -> Outcome {
        match &args[1..] {
            [] => {}
            [how] if is_option(how, "SYNC") || is_option(how, "ASYNC") => {}
            _ => return Err(SYNTAX),
        }
        let memory = &mut self.memory;
        self.watched.changed_where(|key| {
            let mut alive = false;
            memory.get(&[key], now, |_, found| alive = found.is_some());
            alive
        });
        self.memory.clear();
        Ok(Reply::OK)
    }
}

/// A cursor as `strtoul` reads it: a sign is allowed, a blank first is not.
pub(crate) fn cursor(text: &[u8]) -> Option<u64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if text.is_empty() {
        return Some(0);
    }
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(if negative { value.wrapping_neg() } else { value })
}

#[cfg(test)]
mod tests {
    use super::cursor;

    #[test]
    fn cursors_are_read_as_c_does() {
        assert_eq!(cursor(b""), Some(0));
        assert_eq!(cursor(b"+007"), Some(7));
        assert_eq!(cursor(b"-1"), Some(u64::MAX));
        assert_eq!(cursor(b"18446744073709551616"), None);
        assert_eq!(cursor(b" 1"), None);
        assert_eq!(cursor(b"1a"), None);
    }
}
