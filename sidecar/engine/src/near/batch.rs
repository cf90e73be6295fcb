//! A batch on its way over an ordered connection: what each item waits for, and what it leaves behind.

use std::sync::Arc;

use bytes::Bytes;
use synapse_core::clock::Clock;
use synapse_core::memory::Memory;
use synapse_core::remote::{Fetched, Outcome, RemoteError, Step};
use synapse_core::reply::Reply;

use super::Near;
use super::copies::{Copies, Ticket, Writing};
use super::plan::{Copy, Planned};

pub(super) struct Batch<M: Memory, C: Clock> {
    pub(super) steps: Vec<Step>,
    pub(super) answers: Vec<Answer<M, C>>,
}

pub(super) enum Answer<M: Memory, C: Clock> {
    Known(Reply),
    Get { found: Vec<Option<Fetched>>, missing: Vec<(usize, Bytes)>, ticket: Ticket, many: bool },
    Run { planned: Planned, writes: Option<Writes<M, C>> },
    Exec { parts: Vec<Part<M, C>>, sent: bool },
}

pub(super) enum Part<M: Memory, C: Clock> {
    Known(Reply),
    Run { planned: Planned, writes: Option<Writes<M, C>>, count: usize },
}

/// Writes under way. Dropped without an answer, their outcome is unknown, and memory is told so.
pub(super) struct Writes<M: Memory, C: Clock> {
    pub(super) copies: Arc<Copies<M, C>>,
    pub(super) ticket: Option<Writing>,
}

// === impl Near ===

impl<M: Memory, C: Clock> Near<M, C> {
    /// Gives every item of the batch its reply, and memory what it may keep.
    pub(super) fn finish(
        &self,
        batch: Batch<M, C>,
        outcomes: Result<Vec<Outcome>, RemoteError>,
        replies: &mut Vec<Reply>,
    ) {
        let mut outcomes = match outcomes {
            Ok(outcomes) => outcomes.into_iter(),
            Err(error) => {
                let reply = self.failed(&error);
                for answer in batch.answers {
                    replies.push(answer.fail(&error, &reply));
                }
                return;
            }
        };
        for answer in batch.answers {
            replies.push(match answer {
                Answer::Known(reply) => reply,
                Answer::Get { mut found, missing, ticket, many } => {
                    for (position, key) in missing {
                        if let Some(Outcome::Fetched(fetched)) = outcomes.next() {
                            self.copies.fill(&key, &fetched, ticket);
                            found[position] = Some(fetched);
                        }
                    }
                    match many {
                        true => many_reply(found.into_iter(), None),
                        false => get_reply(found.pop().flatten(), None),
                    }
                }
                Answer::Run { planned, writes } => match outcomes.next() {
                    Some(Outcome::Reply(reply)) => settle(planned, writes, vec![reply]),
                    Some(Outcome::Atomic(Ok(several))) => settle(planned, writes, several),
                    Some(Outcome::Atomic(Err(refused))) => settle(planned, writes, vec![refused]),
                    _ => no_answer(),
                },
                Answer::Exec { parts, sent } => {
                    let executed = if sent { outcomes.next() } else { Some(Outcome::Atomic(Ok(Vec::new()))) };
                    match executed {
                        Some(Outcome::Atomic(Ok(several))) => exec_reply(parts, several),
                        Some(Outcome::Atomic(Err(refused))) => {
                            parts.into_iter().for_each(Part::not_executed);
                            refused
                        }
                        _ => no_answer(),
                    }
                }
            });
        }
    }
}

// === impl Batch ===

impl<M: Memory, C: Clock> Default for Batch<M, C> {
    fn default() -> Self {
        Self { steps: Vec::new(), answers: Vec::new() }
    }
}

impl<M: Memory, C: Clock> Answer<M, C> {
    /// The reply when the batch got no answer. A read that memory could answer is still answered.
    fn fail(self, error: &RemoteError, reply: &Reply) -> Reply {
        let unsent = matches!(error, RemoteError::Away { .. } | RemoteError::Busy | RemoteError::Refused(_));
        match self {
            Self::Known(reply) => reply,
            Self::Get { found, missing, many, .. } if missing.is_empty() => match many {
                true => many_reply(found.into_iter(), None),
                false => get_reply(found.into_iter().next().flatten(), None),
            },
            Self::Get { .. } => reply.clone(),
            Self::Run { writes, .. } => {
                writes.into_iter().filter(|_| unsent).for_each(|writes| writes.settle(&[]));
                reply.clone()
            }
            Self::Exec { parts, sent: false } => exec_reply(parts, Vec::new()),
            Self::Exec { parts, .. } => {
                parts.into_iter().filter(|_| unsent).for_each(Part::not_executed);
                reply.clone()
            }
        }
    }
}

impl<M: Memory, C: Clock> Part<M, C> {
    fn not_executed(self) {
        if let Self::Run { writes: Some(writes), .. } = self {
            writes.settle(&[]);
        }
    }
}

impl<M: Memory, C: Clock> Writes<M, C> {
    fn settle(mut self, copies: &[Copy]) {
        if let Some(ticket) = self.ticket.take() {
            self.copies.settle(ticket, copies);
        }
    }
}

impl<M: Memory, C: Clock> Drop for Writes<M, C> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.copies.abandon(ticket);
        }
    }
}

fn settle<M: Memory, C: Clock>(planned: Planned, writes: Option<Writes<M, C>>, answers: Vec<Reply>) -> Reply {
    let copies = planned.copies(&answers);
    if let Some(writes) = writes {
        writes.settle(&copies);
    }
    planned.reply(answers)
}

fn exec_reply<M: Memory, C: Clock>(parts: Vec<Part<M, C>>, answers: Vec<Reply>) -> Reply {
    let mut answers = answers.into_iter();
    let replies = parts.into_iter().map(|part| match part {
        Part::Known(reply) => reply,
        Part::Run { planned, writes, count } => {
            settle(planned, writes, answers.by_ref().take(count).collect())
        }
    });
    Reply::Array(replies.collect())
}

pub(super) fn get_reply(found: Option<Fetched>, failure: Option<&Reply>) -> Reply {
    match (found, failure) {
        (Some(Fetched::Value(value, _) | Fetched::Ending(value)), _) => Reply::Bulk(value),
        (Some(Fetched::Missing), _) => Reply::Nil,
        (Some(Fetched::Refused(reply)), _) => reply,
        (None, Some(failure)) => failure.clone(),
        (None, None) => no_answer(),
    }
}

/// MGET: a value of another type is no value, every other refusal refuses all.
pub(super) fn many_reply(found: impl Iterator<Item = Option<Fetched>>, failure: Option<&Reply>) -> Reply {
    let mut values = Vec::new();
    for found in found {
        match get_reply(found, failure) {
            Reply::Error(text) if text.starts_with(b"WRONGTYPE") => values.push(Reply::Nil),
            Reply::Error(text) => return Reply::Error(text),
            value => values.push(value),
        }
    }
    Reply::Array(values)
}

pub(super) fn no_answer() -> Reply {
    Reply::error("ERR Redis gave no answer to this command")
}
