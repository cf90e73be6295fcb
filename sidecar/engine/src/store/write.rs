//! Commands that store whole values or change parts of them: SET and its kin, MSET, APPEND, SETRANGE.

use bytes::Bytes;
use synapse_core::clock::{Deadline, Now};
use synapse_core::memory::Memory;
use synapse_core::reply::Reply;

use super::arguments::{SYNTAX, Unit, already_expired, deadline_at, integer, is_option};
use super::{MAX_VALUE_BYTES, Outcome, Store};
use crate::command::Command;

const TOO_LONG: Reply = Reply::error("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
const WRONG_MSET: Reply = Reply::error("ERR wrong number of arguments for 'mset' command");
const WRONG_MSETNX: Reply = Reply::error("ERR wrong number of arguments for 'msetnx' command");

/// The options of `SET`.
#[derive(Debug, Default)]
struct SetOptions<'a> {
    only_new: bool,
    only_old: bool,
    get: bool,
    keep_ttl: bool,
    expiry: Option<(Unit, &'a [u8])>,
}

impl<'a> SetOptions<'a> {
    fn parse(args: &'a [Bytes]) -> Result<Self, Reply> {
        let mut options = Self::default();
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            if is_option(arg, "NX") && !options.only_old {
                options.only_new = true;
            } else if is_option(arg, "XX") && !options.only_new {
                options.only_old = true;
            } else if is_option(arg, "GET") {
                options.get = true;
            } else if is_option(arg, "KEEPTTL") && options.expiry.is_none() {
                options.keep_ttl = true;
            } else if let Some(unit) = Unit::of_option(arg)
                && !options.keep_ttl
                && options.expiry.is_none_or(|(earlier, _)| earlier == unit)
            {
                options.expiry = Some((unit, rest.next().ok_or(SYNTAX)?));
            } else {
                return Err(SYNTAX);
            }
        }
        Ok(options)
    }
}

impl<M: Memory> Store<M> {
    pub(super) fn set(&mut self, args: &[Bytes], held: usize, now: Now) -> Outcome {
        let (key, value) = (&args[1], &args[2]);
        let options = SetOptions::parse(&args[3..])?;
        let moment = match options.expiry {
            Some((unit, text)) => Some(unit.positive_moment(text, "set", now)?),
            None => None,
        };
        let conditional = options.only_new || options.only_old || options.keep_ttl || options.get;
        let old_deadline = if conditional { self.deadline(key, now) } else { None };
        let old_value = if options.get { self.value(key, now).map(|(value, _)| value) } else { None };
        let refused =
            (options.only_new && old_deadline.is_some()) || (options.only_old && old_deadline.is_none());
        if !refused {
            let deadline = match moment {
                Some(moment) => deadline_at(moment, now),
                None if options.keep_ttl => old_deadline.unwrap_or(Deadline::NEVER),
                None => Deadline::NEVER,
            };
            self.put_alone(key, value, held, deadline, now)?;
        }
        Ok(match old_value {
            Some(old) => Reply::Bulk(old),
            None if options.get || refused => Reply::Nil,
            None => Reply::OK,
        })
    }

    pub(super) fn setex(
        &mut self,
        args: &[Bytes],
        held: usize,
        unit_ms: i64,
        command: &Command,
        now: Now,
    ) -> Outcome {
        let unit = Unit { ms: unit_ms, absolute: false };
        let moment = unit.positive_moment(&args[2], command.name, now)?;
        self.put_alone(&args[1], &args[3], held, deadline_at(moment, now), now)?;
        Ok(Reply::OK)
    }

    pub(super) fn setnx(&mut self, args: &[Bytes], held: usize, now: Now) -> Outcome {
        if self.deadline(&args[1], now).is_some() {
            return Ok(Reply::Int(0));
        }
        self.put_alone(&args[1], &args[2], held, Deadline::NEVER, now)?;
        Ok(Reply::Int(1))
    }

    pub(super) fn getset(&mut self, args: &[Bytes], held: usize, now: Now) -> Outcome {
        let old = self.get(args, now);
        self.put_alone(&args[1], &args[2], held, Deadline::NEVER, now)?;
        Ok(old)
    }

    pub(super) fn getdel(&mut self, args: &[Bytes], now: Now) -> Reply {
        let old = self.get(args, now);
        self.drop_key(&args[1], now);
        old
    }

    pub(super) fn getex(&mut self, args: &[Bytes], now: Now) -> Outcome {
        let key = &args[1];
        let (mut persist, mut expiry) = (false, None);
        let mut rest = args[2..].iter();
        while let Some(arg) = rest.next() {
            if is_option(arg, "PERSIST") && expiry.is_none() {
                persist = true;
            } else if let Some(unit) = Unit::of_option(arg)
                && !persist
                && expiry.is_none_or(|(earlier, _)| earlier == unit)
            {
                expiry = Some((unit, rest.next().ok_or(SYNTAX)?));
            } else {
                return Err(SYNTAX);
            }
        }
        let Some((value, old_deadline)) = self.value(key, now) else { return Ok(Reply::Nil) };
        if let Some((unit, text)) = expiry {
            let moment = unit.positive_moment(text, "getex", now)?;
            if unit.absolute && already_expired(moment, now) {
                self.drop_key(key, now);
            } else {
                self.move_deadline(key, deadline_at(moment, now), now);
            }
        } else if persist && old_deadline != Deadline::NEVER {
            self.move_deadline(key, Deadline::NEVER, now);
        }
        Ok(Reply::Bulk(value))
    }

    pub(super) fn mset(&mut self, args: &[Bytes], now: Now) -> Outcome {
        if args.len().is_multiple_of(2) {
            return Err(WRONG_MSET);
        }
        for pair in args[1..].chunks_exact(2) {
            self.put(&pair[0], &pair[1], Deadline::NEVER, now)?;
        }
        Ok(Reply::OK)
    }

    pub(super) fn msetnx(&mut self, args: &[Bytes], now: Now) -> Outcome {
        if args.len().is_multiple_of(2) {
            return Err(WRONG_MSETNX);
        }
        for pair in args[1..].chunks_exact(2) {
            if self.deadline(&pair[0], now).is_some() {
                return Ok(Reply::Int(0));
            }
        }
        self.mset(args, now)?;
        Ok(Reply::Int(1))
    }

    pub(super) fn append(&mut self, args: &[Bytes], now: Now) -> Outcome {
        let (key, tail) = (&args[1], &args[2]);
        let (joined, deadline) = self.with(key, now, |found| match found {
            Some(found) if found.value.len() + tail.len() > MAX_VALUE_BYTES => Err(TOO_LONG),
            Some(found) => Ok((Bytes::from([found.value, tail].concat()), found.deadline)),
            None => Ok((tail.clone(), Deadline::NEVER)),
        })?;
        self.put(key, &joined, deadline, now)?;
        Ok(Reply::Int(joined.len() as i64))
    }

    pub(super) fn setrange(&mut self, args: &[Bytes], now: Now) -> Outcome {
        let (key, part) = (&args[1], &args[3]);
        let offset = integer(&args[2])?;
        let offset = usize::try_from(offset).map_err(|_| Reply::error("ERR offset is out of range"))?;
        let end = offset.saturating_add(part.len());
        let changed = self.with(key, now, |found| {
            let (old, deadline) =
                found.map_or((&b""[..], Deadline::NEVER), |found| (found.value, found.deadline));
            if part.is_empty() {
                return Ok(Err(old.len()));
            }
            if end > MAX_VALUE_BYTES {
                return Err(TOO_LONG);
            }
            let mut value = Vec::with_capacity(end.max(old.len()));
            value.extend_from_slice(old);
            value.resize(end.max(old.len()), 0);
            value[offset..end].copy_from_slice(part);
            Ok(Ok((value, deadline)))
        })?;
        match changed {
            Ok((value, deadline)) => {
                self.put(key, &value, deadline, now)?;
                Ok(Reply::Int(value.len() as i64))
            }
            Err(unchanged_len) => Ok(Reply::Int(unchanged_len as i64)),
        }
    }
}
