//! Arguments as Redis reads them: strict integers, options in any case, expiry times.

use synapse_core::clock::{Deadline, Now};
use synapse_core::reply::Reply;

use crate::command::Command;

/// The refusal of an option that does not fit.
pub(crate) const SYNTAX: Reply = Reply::error("ERR syntax error");

/// The refusal of a text that is no integer.
pub(super) const NOT_AN_INTEGER: Reply = Reply::error("ERR value is not an integer or out of range");

/// An integer in its one canonical spelling: no blanks, no plus, no leading zeros.
pub(super) fn parse_integer(text: &[u8]) -> Option<i64> {
    let canonical = match text.strip_prefix(b"-").unwrap_or(text) {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if canonical { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

/// An integer, or the refusal.
pub(crate) fn integer(text: &[u8]) -> Result<i64, Reply> {
    parse_integer(text).ok_or(NOT_AN_INTEGER)
}

/// Whether an argument is this option. It is compared as C does, up to a zero byte.
pub(crate) fn is_option(arg: &[u8], option: &str) -> bool {
    let end = arg.iter().position(|byte| *byte == 0).unwrap_or(arg.len());
    arg[..end].eq_ignore_ascii_case(option.as_bytes())
}

/// How an expiry time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit {
    /// Milliseconds in one of it.
    pub(super) ms: i64,
    /// Whether it counts from the Unix epoch rather than from now.
    pub(super) absolute: bool,
}

impl Unit {
    /// The unit of an option of `SET` and `GETEX`.
    pub(super) fn of_option(arg: &[u8]) -> Option<Self> {
        let units = [("EX", 1000, false), ("PX", 1, false), ("EXAT", 1000, true), ("PXAT", 1, true)];
        units
            .into_iter()
            .find(|(name, ..)| is_option(arg, name))
            .map(|(_, ms, absolute)| Self { ms, absolute })
    }

    /// The moment that `text` names for a command that stores: positive, in milliseconds since the Unix epoch.
    pub(super) fn positive_moment(self, text: &[u8], command: &str, now: Now) -> Result<i64, Reply> {
        let count = integer(text)?;
        let start = if self.absolute { 0 } else { now.unix_ms };
        let moment = count.checked_mul(self.ms).and_then(|ms| ms.checked_add(start));
        moment.filter(|moment| count > 0 && *moment > 0).ok_or_else(|| invalid_expire_time(command))
    }

    /// The moment that `text` names for `EXPIRE` and its kin, where the past is allowed.
    pub(super) fn moment(self, text: &[u8], command: &Command, now: Now) -> Result<i64, Reply> {
        let count = integer(text)?;
        let start = if self.absolute { 0 } else { now.unix_ms };
        let moment = count.checked_mul(self.ms).and_then(|ms| ms.checked_add(start));
        moment.ok_or_else(|| invalid_expire_time(command.name))
    }
}

/// The deadline at a moment in milliseconds since the Unix epoch.
pub(super) fn deadline_at(moment: i64, now: Now) -> Deadline {
    now.at_unix(moment).unwrap_or(Deadline::PAST)
}

/// Whether an entry with this moment of expiry is gone at once.
pub(super) fn already_expired(moment: i64, now: Now) -> bool {
    moment <= now.unix_ms
}

fn invalid_expire_time(command: &str) -> Reply {
    Reply::error_text(format!("ERR invalid expire time in '{command}' command"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_one_spelling() {
        for (text, value) in
            [("0", 0), ("-1", -1), ("9223372036854775807", i64::MAX), ("-9223372036854775808", i64::MIN)]
        {
            assert_eq!(parse_integer(text.as_bytes()), Some(value));
        }
        for text in ["", "-", "+1", " 1", "1 ", "01", "-0", "-01", "1.0", "9223372036854775808", "0x1", "1\0"]
        {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn options_are_compared_as_c_does() {
        assert!(is_option(b"nX", "NX") && is_option(b"NX\0y", "NX"));
        assert!(!is_option(b"NXX", "NX") && !is_option(b"", "NX"));
    }
}
