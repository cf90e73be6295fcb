//! A batch against memory alone: one lock, no wait.

use synapse_core::clock::{Clock, Now};
use synapse_core::memory::Memory;
use synapse_core::reply::Reply;
use synapse_engine::command::Op;
use synapse_engine::store::{Store, Watch};
use synapse_protocol::batch::Batch;

use super::{EXCESSIVE, KEYS_AT_ONCE, Progress, keys_of_gets, plain};
use crate::answers::Answers;
use crate::client::connection::Server;
use crate::client::{Client, Queued, Step};

/// Executes the commands of `batch` from a position on.
pub(super) fn execute<M: Memory>(
    clock: &impl Clock,
    store: &mut Store<M>,
    client: &mut Client,
    watch: &mut Watch,
    (batch, from): (&Batch, usize),
    answers: &mut impl Answers,
) -> Progress {
    let (now, server) = (clock.now(), Server { memory: store.stats() });
    let mut at = from;
    while at < batch.len() {
        if answers.is_full() {
            return Progress::Full(at);
        }
        let args = batch.command(at);
        at += 1;
        match client.step(args, &server) {
            Step::Run(command) if command.op == Op::Get => {
                at += get_run(store, client, batch, at - 1, now, answers) - 1;
            }
            Step::Run(command) => {
                let reply = store.run_alone(command, args, batch.held(), now);
                client.count(command.op, &reply);
                answers.reply(client.version, &reply);
            }
            Step::Reply(reply) => answers.reply(client.version, &reply),
            Step::Exec(queued) => {
                let dirty = store.is_dirty(watch, now);
                store.unwatch(watch);
                if dirty {
                    answers.reply(client.version, &Reply::NilArray);
                } else {
                    transaction(store, client, &queued, &server, now, answers);
                }
            }
            Step::Watch => {
                let reply = store.watch(watch, &args[1..], now);
                answers.reply(client.version, &reply);
            }
            Step::Unwatch(reply) => {
                store.unwatch(watch);
                answers.reply(client.version, &reply);
            }
            Step::Close(reply) => {
                if let Some(reply) = reply {
                    answers.reply(client.version, &reply);
                }
                return Progress::Close;
            }
        }
    }
    Progress::Done
}

/// Answers the GETs that follow each other from position `from` on with one look-up; returns how many they were.
fn get_run<M: Memory>(
    store: &mut Store<M>,
    client: &Client,
    batch: &Batch,
    from: usize,
    now: Now,
    answers: &mut impl Answers,
) -> usize {
    let mut keys = [b"".as_slice(); KEYS_AT_ONCE];
    let keys = keys_of_gets(batch, from, &mut keys);
    plain::read(store, client, keys, now, answers)
}

/// Executes the commands of a transaction, one after the other with nothing in between.
fn transaction<M: Memory>(
    store: &mut Store<M>,
    client: &mut Client,
    queued: &[Queued],
    server: &Server,
    now: Now,
    answers: &mut impl Answers,
) {
    let (start, version) = (answers.held(), client.version);
    answers.array(queued.len());
    let mut excessive = false;
    for queued in queued {
        let reply = match client.local(queued, server) {
            Some(reply) => reply,
            None => {
                let reply = store.run(queued.command, &queued.args, now);
                client.count(queued.command.op, &reply);
                reply
            }
        };
        excessive |= answers.is_excessive(start);
        if !excessive {
            answers.reply(client.version, &reply);
        }
    }
    if excessive {
        answers.rewind(start);
        answers.reply(version, &EXCESSIVE);
    }
}
