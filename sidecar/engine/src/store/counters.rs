//! Counters: INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT.

use bytes::Bytes;
use synapse_core::clock::{Deadline, Now};
use synapse_core::memory::Memory;
use synapse_core::reply::Reply;

use super::arguments::integer;
use super::long_double::LongDouble;
use super::{Outcome, Store};

const NOT_A_FLOAT: Reply = Reply::error("ERR value is not a valid float");

impl<M: Memory> Store<M> {
    pub(super) fn incrby(&mut self, args: &[Bytes], now: Now) -> Outcome {
        self.add(args, integer(&args[2])?, now)
    }

    pub(super) fn decrby(&mut self, args: &[Bytes], now: Now) -> Outcome {
        let delta = integer(&args[2])?.checked_neg().ok_or(Reply::error("ERR decrement would overflow"))?;
        self.add(args, delta, now)
    }

    pub(super) fn add(&mut self, args: &[Bytes], delta: i64, now: Now) -> Outcome {
        let key = &args[1];
        let (old, deadline) = self.with(key, now, |found| match found {
            Some(found) => integer(found.value).map(|value| (value, found.deadline)),
            None => Ok((0, Deadline::NEVER)),
        })?;
        let sum = old.checked_add(delta).ok_or(Reply::error("ERR increment or decrement would overflow"))?;
        self.put(key, sum.to_string().as_bytes(), deadline, now)?;
        Ok(Reply::Int(sum))
    }

    pub(super) fn incrbyfloat(&mut self, args: &[Bytes], now: Now) -> Outcome {
        let key = &args[1];
        let (old, deadline) = self.with(key, now, |found| match found {
            Some(found) => {
                LongDouble::parse(found.value).map(|value| (value, found.deadline)).ok_or(NOT_A_FLOAT)
            }
            None => Ok((LongDouble::ZERO, Deadline::NEVER)),
        })?;
        let delta = LongDouble::parse(&args[2]).ok_or(NOT_A_FLOAT)?;
        let sum = old.add(&delta).and_then(|sum| sum.to_text());
        let sum = sum.ok_or(Reply::error("ERR increment would produce NaN or Infinity"))?;
        self.put(key, sum.as_bytes(), deadline, now)?;
        Ok(Reply::Bulk(Bytes::from(sum)))
    }
}
