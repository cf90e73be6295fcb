//! One client's side of a session: its name, its protocol version, its transaction; what each command asks for.

pub(crate) mod connection;
mod introspection;
pub(crate) mod registry;

use std::sync::Arc;

use bytes::Bytes;
use synapse_core::reply::Reply;
use synapse_engine::command::{Command, Op};
use synapse_protocol::resp::Version;

use self::connection::Server;
use self::registry::Registered;
use crate::metrics::{Metrics, Outcome};

/// Most bytes that a transaction may queue: arguments, and what each of them costs beside its bytes (64 MiB).
const MAX_QUEUED_BYTES: usize = 64 << 20;

/// What an argument costs beside its bytes: its handle, and what an allocation of its own takes.
const ARG_BYTES: usize = size_of::<Bytes>() + 32;

/// Most commands that a transaction may queue.
const MAX_QUEUED_COMMANDS: usize = 1 << 20;

/// The state of one client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) version: Version,
    identity: Registered,
    queue: Option<Queue>,
    metrics: Arc<Metrics>,
}

/// What a command asks of the session.
#[derive(Debug)]
pub(crate) enum Step {
    /// The answer is known.
    Reply(Reply),
    /// The keys have to be asked.
    Run(&'static Command),
    /// The queued commands are to be executed as one.
    Exec(Vec<Queued>),
    /// The keys, all arguments after the name, are to be watched, and the answer is OK.
    Watch,
    /// Nothing is watched any more, and this is the answer.
    Unwatch(Reply),
    /// The connection ends, after this answer if there is one.
    Close(Option<Reply>),
}

/// A command that waits for EXEC.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) command: &'static Command,
    pub(crate) args: Vec<Bytes>,
}

#[derive(Debug, Default)]
struct Queue {
    commands: Vec<Queued>,
    bytes: usize,
    aborted: bool,
}

const QUEUED: Reply = Reply::status("QUEUED");
const ABORTED: Reply = Reply::error("EXECABORT Transaction discarded because of previous errors.");

impl Client {
    /// A client that has just connected.
    pub(crate) fn new(identity: Registered, metrics: Arc<Metrics>) -> Self {
        metrics.opened();
        Self { version: Version::default(), identity, queue: None, metrics }
    }

    /// What the command asks for. Errors of its form are answered here.
    pub(crate) fn step(&mut self, args: &[Bytes], server: &Server) -> Step {
        let command = match connection::lookup(args) {
            Ok(command) => command,
            Err(refusal) => {
                self.metrics.count_unknown();
                return Step::Reply(self.refuse(refusal));
            }
        };
        let step = self.decide(command, args, server);
        match &step {
            // It is counted when it runs.
            Step::Reply(reply) if *reply == QUEUED => {}
            Step::Reply(reply) | Step::Unwatch(reply) => self.count(command.op, reply),
            Step::Exec(_) | Step::Watch | Step::Close(_) => self.count(command.op, &Reply::OK),
            Step::Run(_) => {}
        }
        step
    }

    /// Whether commands are queued instead of executed.
    pub(crate) fn is_queueing(&self) -> bool {
        self.queue.is_some()
    }

    /// Counts a request that was answered.
    pub(crate) fn count(&self, op: Op, reply: &Reply) {
        self.metrics.count(op, Outcome::of(op, reply));
    }

    /// What the session counts in.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn decide(&mut self, command: &'static Command, args: &[Bytes], server: &Server) -> Step {
        match command.op {
            Op::Post | Op::Host => Step::Close(None),
            Op::Exec if args.len() != 1 => {
                self.queue = None;
                Step::Unwatch(connection::exec_with_arguments())
            }
            _ if !command.accepts(args.len()) => {
                Step::Reply(self.refuse(connection::wrong_arity(command.name)))
            }
            Op::Quit => Step::Close(Some(Reply::OK)),
            Op::Reset => {
                self.reset();
                Step::Unwatch(Reply::status("RESET"))
            }
            Op::Exec => self.exec(),
            Op::Discard => match self.queue.take() {
                Some(_) => Step::Unwatch(Reply::OK),
                None => Step::Reply(Reply::error("ERR DISCARD without MULTI")),
            },
            Op::Multi if self.queue.is_some() => {
                Step::Reply(Reply::error("ERR MULTI calls can not be nested"))
            }
            Op::Multi => {
                self.queue = Some(Queue::default());
                Step::Reply(Reply::OK)
            }
            Op::Watch if self.queue.is_some() => {
                Step::Reply(Reply::error("ERR WATCH inside MULTI is not allowed"))
            }
            _ if self.queue.is_some() => Step::Reply(self.enqueue(command, args)),
            Op::Watch => Step::Watch,
            Op::Unwatch => Step::Unwatch(Reply::OK),
            _ => match connection::answer(self, command.op, args, server) {
                Some(reply) => Step::Reply(reply),
                None => Step::Run(command),
            },
        }
    }

    /// The answer to a command of a transaction that does not need the keys; `None` when it does.
    pub(crate) fn local(&mut self, queued: &Queued, server: &Server) -> Option<Reply> {
        let op = queued.command.op;
        let reply = match op {
            // The watch ends with EXEC, before the commands run.
            Op::Unwatch => Reply::OK,
            op => connection::answer(self, op, &queued.args, server)?,
        };
        self.count(op, &reply);
        Some(reply)
    }

    fn exec(&mut self) -> Step {
        match self.queue.take() {
            None => Step::Reply(Reply::error("ERR EXEC without MULTI")),
            Some(queue) if queue.aborted => Step::Unwatch(ABORTED),
            Some(queue) => Step::Exec(queue.commands),
        }
    }

    fn enqueue(&mut self, command: &'static Command, args: &[Bytes]) -> Reply {
        let Some(queue) = &mut self.queue else { return QUEUED };
        if queue.aborted {
            // It will never run: nothing of it is kept.
            return QUEUED;
        }
        queue.bytes += size_of::<Queued>() + args.iter().map(|arg| arg.len() + ARG_BYTES).sum::<usize>();
        if queue.bytes > MAX_QUEUED_BYTES || queue.commands.len() == MAX_QUEUED_COMMANDS {
            return self.refuse(Reply::error("ERR transaction exceeds 64 MiB or 1048576 commands"));
        }
        // Copies: a slice would keep the whole read buffer alive until EXEC.
        let args = args.iter().map(|arg| Bytes::copy_from_slice(arg)).collect();
        queue.commands.push(Queued { command, args });
        QUEUED
    }

    /// A command that cannot run spoils the transaction it stands in.
    fn refuse(&mut self, refusal: Reply) -> Reply {
        if let Some(queue) = &mut self.queue {
            *queue = Queue { aborted: true, ..Queue::default() };
        }
        refusal
    }

    fn reset(&mut self) {
        self.queue = None;
        self.version = Version::default();
        self.identity.rename(Bytes::new());
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.metrics.closed();
    }
}
