//! A batch against memory before a Redis: hits are answered at once, the rest goes there together and in order.

use bytes::Bytes;
use synapse_core::clock::Clock;
use synapse_core::memory::Memory;
use synapse_core::remote::{KeySpan, Order};
use synapse_core::reply::Reply;
use synapse_engine::command::{Command, Keys, Nature, Op};
use synapse_engine::near::{Item, Near, NearSession, Queued, Request};
use synapse_protocol::batch::Batch;
use synapse_protocol::resp::Version;

use super::Progress;
use crate::answers::Answers;
use crate::client::connection::Server;
use crate::client::{self, Client, Step};
use crate::metrics::Outcome;

/// Most keys that are looked up together.
const KEYS_AT_ONCE: usize = 64;

/// Most commands that go to Redis together.
const ITEMS_AT_ONCE: usize = 1024;

/// Commands that wait for one round trip, and the answers between theirs.
#[derive(Default)]
struct Waiting {
    items: Vec<Item>,
    slots: Vec<(Version, Slot)>,
}

enum Slot {
    Known(Reply),
    Awaited(Op),
    /// A transaction, which was counted when it was handed over, with the protocol version of each of its replies: a
    /// HELLO inside changes it.
    Transaction(Vec<Version>),
}

/// Executes the commands of `batch` from a position on.
pub(super) async fn execute<M: Memory, C: Clock>(
    near: &Near<M, C>,
    clock: &impl Clock,
    client: &mut Client,
    session: &mut NearSession,
    (batch, from): (&Batch, usize),
    answers: &mut impl Answers,
) -> Progress {
    let server = Server { memory: near.memory_stats() };
    let mut waiting = Waiting::default();
    let mut at = from;
    while at < batch.len() {
        if waiting.items.len() >= ITEMS_AT_ONCE {
            waiting.finish(near, client, session, answers).await;
        }
        if answers.is_full() {
            waiting.finish(near, client, session, answers).await;
            return Progress::Full(at);
        }
        let args = batch.command(at);
        at += 1;
        match client.step(args, &server) {
            Step::Run(command) => {
                let is_first = waiting.slots.is_empty() && !session.is_watching();
                let hits = match command.op {
                    Op::Get if is_first => front(near, clock, client, batch, at - 1, answers),
                    _ => 0,
                };
                match hits {
                    0 => waiting.ask(client.version, command.op, Item::Run(request(command, args.to_vec()))),
                    hits => at += hits - 1,
                }
            }
            Step::Reply(reply) => waiting.know(client.version, reply, answers),
            Step::Exec(queued) => {
                let version = client.version;
                let parts = queued.into_iter().map(|queued| {
                    let part = exec_part(client, queued, &server);
                    (part, client.version)
                });
                let (parts, versions) = parts.unzip();
                waiting.items.push(Item::Exec(parts));
                waiting.slots.push((version, Slot::Transaction(versions)));
            }
            Step::Watch => {
                waiting.finish(near, client, session, answers).await;
                let reply = near.watch(session, args[1..].to_vec()).await;
                answers.reply(client.version, &reply);
            }
            Step::Unwatch(reply) => {
                waiting.finish(near, client, session, answers).await;
                near.unwatch(session);
                answers.reply(client.version, &reply);
            }
            Step::Close(reply) => {
                waiting.finish(near, client, session, answers).await;
                if let Some(reply) = reply {
                    answers.reply(client.version, &reply);
                }
                return Progress::Close;
            }
        }
    }
    waiting.finish(near, client, session, answers).await;
    Progress::Done
}

impl Waiting {
    fn ask(&mut self, version: Version, op: Op, item: Item) {
        self.items.push(item);
        self.slots.push((version, Slot::Awaited(op)));
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
        client: &Client,
        session: &mut NearSession,
        answers: &mut impl Answers,
    ) {
        if self.slots.is_empty() {
            return;
        }
        let mut replies = near.execute(session, std::mem::take(&mut self.items)).await.into_iter();
        let mut awaited = || replies.next().unwrap_or(Reply::error("ERR no answer"));
        for (version, slot) in self.slots.drain(..) {
            match slot {
                Slot::Known(reply) => answers.reply(version, &reply),
                Slot::Awaited(op) => {
                    let reply = awaited();
                    client.count(op, &reply);
                    answers.reply(version, &reply);
                }
                Slot::Transaction(versions) => match awaited() {
                    Reply::Array(parts) => {
                        answers.array(parts.len());
                        parts.iter().zip(versions).for_each(|(part, version)| answers.reply(version, part));
                    }
                    refused => answers.reply(version, &refused),
                },
            }
        }
    }
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
    let mut keys: [&[u8]; KEYS_AT_ONCE] = [b""; KEYS_AT_ONCE];
    let mut count = 0;
    while count < KEYS_AT_ONCE
        && let [name, key] = batch.command(from + count)
        && name.eq_ignore_ascii_case(b"get")
    {
        keys[count] = key;
        count += 1;
    }
    let hits = near.read_front(&keys[..count], clock.now(), |found| {
        answers.value(client.version, Some(found.value));
    });
    client.metrics().count_many(Op::Get, Outcome::Hit, hits as u64);
    hits
}

fn exec_part(client: &mut Client, queued: client::Queued, server: &Server) -> Queued {
    match client.local(&queued, server) {
        Some(reply) => Queued::Local(reply),
        None => Queued::Run(request(queued.command, queued.args)),
    }
}

fn request(command: &'static Command, args: Vec<Bytes>) -> Request {
    let Keys { first, step, .. } = command.keys;
    let end = command.key_positions(args.len()).last().map_or(first, |last| last + 1);
    let keys = KeySpan { range: first..end, step };
    Request { name: command.name, writes: command.nature == Nature::Write, order: Order { args, keys } }
}
