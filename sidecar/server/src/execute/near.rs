//! A batch against memory before a Redis: hits are answered at once, the rest goes there together and in order.

use bytes::Bytes;
use synapse_core::clock::Clock;
use synapse_core::memory::Memory;
use synapse_core::remote::{KeySpan, Order};
use synapse_core::reply::Reply;
use synapse_engine::command::{Command, Keys, Nature, Op};
use synapse_engine::near::{Item, Near, NearSession, Request};
use synapse_engine::store::{MAX_REPLY_BYTES, REPLY_TOO_LARGE};
use synapse_protocol::batch::Batch;
use synapse_protocol::resp::Version;

use super::{EXCESSIVE, KEYS_AT_ONCE, Progress, keys_of_gets, plain};
use crate::answers::Answers;
use crate::client::connection::Server;
use crate::client::{self, Client, Step};

/// Keys that go to Redis together at first, before the sizes of a session's values are known.
const FIRST_KEYS: usize = 64;

/// Most keys that go to Redis together, unless one command names more.
const MOST_KEYS: usize = 1024;

/// What one round trip should bring at most, in bytes (1 MiB): a session whose answers are larger asks for fewer keys
/// at a time.
const ROUND_TRIP_BYTES: usize = 1 << 20;

/// What is kept for a session between its batches.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) near: NearSession,
    /// How many keys go to Redis together.
    keys_at_once: usize,
}

/// Commands that wait for one round trip, and the answers between theirs.
#[derive(Default)]
struct Waiting {
    items: Vec<Item>,
    keys: usize,
    slots: Vec<(Version, Slot)>,
}

enum Slot {
    Known(Reply),
    Awaited(Op),
    /// A transaction, which was counted when it was handed over.
    Transaction(Vec<Part>),
}

/// One command of a transaction.
enum Part {
    /// That Redis executes.
    Sent(Op),
    /// That the session itself answers, when Redis has executed the others.
    Local(client::Queued),
}

impl Default for Side {
    fn default() -> Self {
        Self { near: NearSession::default(), keys_at_once: FIRST_KEYS }
    }
}

/// Executes the commands of `batch` from a position on.
pub(super) async fn execute<M: Memory, C: Clock>(
    near: &Near<M, C>,
    clock: &impl Clock,
    client: &mut Client,
    side: &mut Side,
    (batch, from): (&Batch, usize),
    answers: &mut impl Answers,
) -> Progress {
    let server = Server { memory: near.memory_stats() };
    let mut waiting = Waiting::default();
    let mut at = from;
    while at < batch.len() {
        if waiting.keys >= side.keys_at_once {
            waiting.finish(near, client, side, answers).await;
        }
        if answers.is_full() {
            waiting.finish(near, client, side, answers).await;
            return Progress::Full(at);
        }
        let args = batch.command(at);
        at += 1;
        match client.step(args, &server) {
            Step::Run(command) => {
                let is_first = waiting.slots.is_empty() && !side.near.is_watching();
                let hits = match command.op {
                    Op::Get if is_first => front(near, clock, client, batch, at - 1, answers),
                    _ => 0,
                };
                match hits {
                    0 => {
                        waiting.ask(client.version, command.op, request(command, args.to_vec(), batch.held()))
                    }
                    hits => at += hits - 1,
                }
            }
            Step::Reply(reply) => waiting.know(client.version, reply, answers),
            Step::Exec(queued) => {
                let (mut requests, mut parts, mut is_local) = (Vec::new(), Vec::new(), false);
                for queued in queued {
                    if queued.command.nature == Nature::Connection {
                        is_local = true;
                        parts.push(Part::Local(queued));
                    } else {
                        parts.push(Part::Sent(queued.command.op));
                        requests.push(request(queued.command, queued.args, 0));
                    }
                }
                waiting.transact(client.version, requests, parts);
                if is_local {
                    // They take effect when Redis has executed the rest, and what follows depends on them.
                    waiting.finish(near, client, side, answers).await;
                }
            }
            Step::Watch => {
                waiting.finish(near, client, side, answers).await;
                let reply = near.watch(&mut side.near, args[1..].to_vec()).await;
                answers.reply(client.version, &reply);
            }
            Step::Unwatch(reply) => {
                waiting.finish(near, client, side, answers).await;
                near.unwatch(&mut side.near);
                answers.reply(client.version, &reply);
            }
            Step::Close(reply) => {
                waiting.finish(near, client, side, answers).await;
                if let Some(reply) = reply {
                    answers.reply(client.version, &reply);
                }
                return Progress::Close;
            }
        }
    }
    waiting.finish(near, client, side, answers).await;
    Progress::Done
}

impl Waiting {
    fn ask(&mut self, version: Version, op: Op, request: Request) {
        self.keys += weight(&request);
        self.items.push(Item::Run(request));
        self.slots.push((version, Slot::Awaited(op)));
    }

    fn transact(&mut self, version: Version, requests: Vec<Request>, parts: Vec<Part>) {
        self.keys += requests.iter().map(weight).sum::<usize>();
        self.items.push(Item::Exec(requests));
        self.slots.push((version, Slot::Transaction(parts)));
    }

    /// An answer that is known at once waits only for those before it.
    fn know(&mut self, version: Version, reply: Reply, answers: &mut impl Answers) {
        if self.slots.is_empty() {
            answers.reply(version, &reply);
        } else {
            self.slots.push((version, Slot::Known(reply)));
        }
    }

    async fn finish<M: Memory, C: Clock>(
        &mut self,
        near: &Near<M, C>,
        client: &mut Client,
        side: &mut Side,
        answers: &mut impl Answers,
    ) {
        if self.slots.is_empty() {
            return;
        }
        let keys = std::mem::take(&mut self.keys);
        let replies = near.execute(&mut side.near, std::mem::take(&mut self.items)).await;
        side.learn(keys, replies.iter().map(Reply::payload_len).sum());
        let mut replies = replies.into_iter();
        let mut awaited = || replies.next().unwrap_or(Reply::error("ERR no answer"));
        for (version, slot) in self.slots.drain(..) {
            match slot {
                Slot::Known(reply) => answers.reply(version, &reply),
                Slot::Awaited(op) => {
                    let reply = match awaited() {
                        Reply::Array(values) if is_excessive(&values) => REPLY_TOO_LARGE,
                        reply => reply,
                    };
                    client.count(op, &reply);
                    answers.reply(version, &reply);
                }
                Slot::Transaction(parts) => match awaited() {
                    Reply::Array(executed) => transaction(client, version, executed, parts, near, answers),
                    refused => answers.reply(version, &refused),
                },
            }
        }
    }
}

impl Side {
    /// Asks for as many keys at a time as bring what one round trip should.
    fn learn(&mut self, keys: usize, bytes: usize) {
        if bytes > ROUND_TRIP_BYTES {
            self.keys_at_once = (keys * ROUND_TRIP_BYTES / bytes).clamp(1, MOST_KEYS);
        } else if keys >= self.keys_at_once {
            self.keys_at_once = (self.keys_at_once * 2).min(MOST_KEYS);
        }
    }
}

/// The answers of a transaction that was executed, those of the session itself among them, from the protocol version on
/// that was in force at EXEC: a command that came later may have changed the session's already.
fn transaction<M: Memory, C: Clock>(
    client: &mut Client,
    version: Version,
    executed: Vec<Reply>,
    parts: Vec<Part>,
    near: &Near<M, C>,
    answers: &mut impl Answers,
) {
    let (server, mut executed) = (Server { memory: near.memory_stats() }, executed.into_iter());
    let (start, mut current) = (answers.held(), version);
    answers.array(parts.len());
    let mut excessive = false;
    for part in parts {
        let reply = match part {
            Part::Local(queued) => {
                let reply = client.local(&queued, &server);
                current = client.version;
                reply
            }
            Part::Sent(op) => executed.next().inspect(|reply| client.count(op, reply)),
        };
        let reply = reply.unwrap_or(Reply::error("ERR no answer"));
        excessive |= answers.is_excessive(start);
        if !excessive {
            answers.reply(current, &reply);
        }
    }
    if excessive {
        answers.rewind(start);
        answers.reply(version, &EXCESSIVE);
    }
}

fn is_excessive(values: &[Reply]) -> bool {
    values.iter().map(Reply::payload_len).sum::<usize>() > MAX_REPLY_BYTES
}

/// What a command asks for, in keys.
fn weight(request: &Request) -> usize {
    request.order.keys.range.len().div_ceil(request.order.keys.step.max(1)).max(1)
}

/// Answers the GETs that follow each other from position `from` on for as long as memory holds their keys; returns
/// how many those were.
fn front<M: Memory, C: Clock>(
    near: &Near<M, C>,
    clock: &impl Clock,
    client: &Client,
    batch: &Batch,
    from: usize,
    answers: &mut impl Answers,
) -> usize {
    let mut keys = [b"".as_slice(); KEYS_AT_ONCE];
    let keys = keys_of_gets(batch, from, &mut keys);
    plain::copies(near, client, keys, clock.now(), answers)
}

fn request(command: &'static Command, args: Vec<Bytes>, held: usize) -> Request {
    let Keys { first, step, .. } = command.keys;
    let end = command.key_positions(args.len()).last().map_or(first, |last| last + 1);
    let keys = KeySpan { range: first..end, step };
    Request { name: command.name, writes: command.nature == Nature::Write, order: Order { args, keys }, held }
}
