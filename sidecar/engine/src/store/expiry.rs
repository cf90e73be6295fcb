//! Commands about deadlines: TTL and its kin, EXPIRE and its kin, PERSIST.

use bytes::Bytes;
use synapse_core::clock::{Deadline, Now};
use synapse_core::memory::Memory;
use synapse_core::reply::Reply;

use super::arguments::{Unit, already_expired, deadline_at, is_option};
use super::{Outcome, Store};
use crate::command::{Command, Op};

const NO_KEY: Reply = Reply::Int(-2);
const NO_DEADLINE: Reply = Reply::Int(-1);
const MIXED_WITH_NX: Reply =
    Reply::error("ERR NX and XX, GT or LT options at the same time are not compatible");
const MIXED_GT_LT: Reply = Reply::error("ERR GT and LT options at the same time are not compatible");

impl<M: Memory> Store<M> {
    pub(super) fn ttl(&mut self, op: Op, args: &[Bytes], now: Now) -> Reply {
        let Some(deadline) = self.deadline(&args[1], now) else { return NO_KEY };
        let (Some(left), Some(moment)) = (deadline.left_ms(now), now.unix_of(deadline)) else {
            return NO_DEADLINE;
        };
        let left = i64::try_from(left).unwrap_or(i64::MAX);
        Reply::Int(match op {
            Op::Ttl => left.saturating_add(500) / 1000,
            Op::Pttl => left,
            Op::Expiretime => moment.saturating_add(500) / 1000,
            _ => moment,
        })
    }

    pub(super) fn expire(&mut self, command: &Command, args: &[Bytes], now: Now) -> Outcome {
        let key = &args[1];
        let condition = Condition::parse(&args[3..])?;
        let unit = match command.op {
            Op::Expire => Unit { ms: 1000, absolute: false },
            Op::Pexpire => Unit { ms: 1, absolute: false },
            Op::Expireat => Unit { ms: 1000, absolute: true },
            _ => Unit { ms: 1, absolute: true },
        };
        let moment = unit.moment(&args[2], command, now)?;
        let Some(old) = self.deadline(key, now) else { return Ok(Reply::Int(0)) };
        if !condition.allows(now.unix_of(old), moment) {
            return Ok(Reply::Int(0));
        }
        if already_expired(moment, now) {
            self.drop_key(key, now);
        } else {
            self.move_deadline(key, deadline_at(moment, now), now);
        }
        Ok(Reply::Int(1))
    }

    pub(super) fn persist(&mut self, args: &[Bytes], now: Now) -> Reply {
        match self.deadline(&args[1], now) {
            None | Some(Deadline::NEVER) => Reply::Int(0),
            Some(_) => {
                self.move_deadline(&args[1], Deadline::NEVER, now);
                Reply::Int(1)
            }
        }
    }

    pub(super) fn move_deadline(&mut self, key: &[u8], deadline: Deadline, now: Now) {
        self.memory.expire(key, self.bounded(deadline, now), now);
        self.watched.changed(key);
    }
}

/// The options of `EXPIRE`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Condition {
    none: bool,
    some: bool,
    later: bool,
    sooner: bool,
}

impl Condition {
    fn parse(args: &[Bytes]) -> Result<Self, Reply> {
        let mut condition = Self::default();
        for arg in args {
            match arg {
                arg if is_option(arg, "NX") => condition.none = true,
                arg if is_option(arg, "XX") => condition.some = true,
                arg if is_option(arg, "GT") => condition.later = true,
                arg if is_option(arg, "LT") => condition.sooner = true,
                other => return Err(unsupported(other)),
            }
        }
        match condition {
            Self { none: true, some, later, sooner } if some || later || sooner => Err(MIXED_WITH_NX),
            Self { later: true, sooner: true, .. } => Err(MIXED_GT_LT),
            condition => Ok(condition),
        }
    }

    /// Whether the deadline may move from `old`, `None` being for ever, to `moment`.
    fn allows(&self, old: Option<i64>, moment: i64) -> bool {
        !(self.none && old.is_some()
            || self.some && old.is_none()
            || self.later && old.is_none_or(|old| moment <= old)
            || self.sooner && old.is_some_and(|old| moment >= old))
    }
}

pub(crate) fn unsupported(option: &[u8]) -> Reply {
    let end = option.iter().position(|byte| *byte == 0).unwrap_or(option.len());
    Reply::error_text([b"ERR Unsupported option ", &option[..end]].concat())
}
