//! Plain requests, answered straight from the read buffer into the write buffer.

use arrayvec::ArrayVec;
use synapse_core::clock::{Clock, Now};
use synapse_core::memory::Memory;
use synapse_engine::command::Op;
use synapse_engine::near::Near;
use synapse_engine::store::Store;
use synapse_protocol::limits::LARGE_BYTES;
use synapse_protocol::plain::{Look, Plain};

use super::{KEYS_AT_ONCE, Next};
use crate::answers::Answers;
use crate::client::Client;
use crate::metrics::Outcome;

/// The requests at the front of an input, one after the other.
pub(super) struct Requests<'a, L> {
    look: L,
    input: &'a [u8],
    /// Bytes of the requests that are answered.
    pub(super) taken: usize,
}

/// A run of requests of one kind, gathered to be looked up together. Room for it is taken, not cleared.
struct Run<'a> {
    kind: Kind,
    keys: ArrayVec<&'a [u8], KEYS_AT_ONCE>,
    /// Of writes.
    values: ArrayVec<&'a [u8], KEYS_AT_ONCE>,
    /// Where each request ends.
    ends: ArrayVec<usize, KEYS_AT_ONCE>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Reads,
    Writes,
}

/// What comes after a run.
enum After {
    /// Plain requests, perhaps.
    More,
    /// At least so many bytes have not come yet.
    Part(usize),
    /// Something else.
    Other,
}

impl<'a, L: Fn(&'a [u8]) -> Look<'a>> Requests<'a, L> {
    pub(super) fn new(look: L, input: &'a [u8]) -> Self {
        Self { look, input, taken: 0 }
    }

    /// Gathers the requests of one kind that come next.
    fn run(&mut self, run: &mut Run<'a>) -> After {
        run.clear();
        let mut seen = self.taken;
        while run.keys.len() < KEYS_AT_ONCE {
            let (plain, length) = match (self.look)(&self.input[seen..]) {
                // Large values have a buffer of their own, which is kept: the decoder cuts it out.
                Look::Whole(Plain::Set(_, value), _) if value.len() >= LARGE_BYTES => return After::Other,
                Look::Whole(plain, length) => (plain, length),
                Look::Part(missing) => return After::Part(missing),
                Look::Other => return After::Other,
            };
            let kind = if let Plain::Get(_) = plain { Kind::Reads } else { Kind::Writes };
            if run.keys.is_empty() {
                run.kind = kind;
            } else if run.kind != kind {
                break;
            }
            let key = match plain {
                Plain::Get(key) => key,
                Plain::Set(key, value) => {
                    run.values.push(value);
                    key
                }
            };
            run.keys.push(key);
            seen += length;
            run.ends.push(seen);
        }
        After::More
    }
}

impl Run<'_> {
    fn new() -> Self {
        Self { kind: Kind::Reads, keys: ArrayVec::new(), values: ArrayVec::new(), ends: ArrayVec::new() }
    }

    fn clear(&mut self) {
        self.keys.clear();
        self.values.clear();
        self.ends.clear();
    }
}

/// Answers from a memory that is all there is.
pub(super) fn memory<'a, M: Memory>(
    now: Now,
    store: &mut Store<M>,
    client: &Client,
    requests: &mut Requests<'a, impl Fn(&'a [u8]) -> Look<'a>>,
    answers: &mut impl Answers,
) -> Next {
    let mut run = Run::new();
    loop {
        let after = requests.run(&mut run);
        if !run.keys.is_empty() {
            let answered = match run.kind {
                Kind::Reads => read(store, client, &run.keys, now, answers),
                Kind::Writes => write(store, client, &run, now, answers),
            };
            requests.taken = run.ends[answered - 1];
            if answers.is_full() {
                return Next::Full;
            }
        }
        match after {
            After::More => {}
            After::Part(missing) => return Next::Part(missing),
            After::Other => return Next::Other,
        }
    }
}

/// Answers the reads of `keys`, looked up together, as far as there is room for the answers; returns how many those were,
/// at least one.
pub(super) fn read<M: Memory>(
    store: &mut Store<M>,
    client: &Client,
    keys: &[&[u8]],
    now: Now,
    answers: &mut impl Answers,
) -> usize {
    let (mut answered, mut hits) = (0, 0);
    store.read(keys, now, |_, found| {
        // Once the outbox is full, the rest of the run is left for the next turn.
        if answered == 0 || !answers.is_full() {
            answers.value(client.version, found);
            answered += 1;
            hits += usize::from(found.is_some());
        }
    });
    client.metrics().count_many(Op::Get, Outcome::Hit, hits as u64);
    client.metrics().count_many(Op::Get, Outcome::Miss, (answered - hits) as u64);
    answered
}

/// Stores the entries of a run, and answers all: refusals are short, too.
fn write<M: Memory>(
    store: &mut Store<M>,
    client: &Client,
    run: &Run<'_>,
    now: Now,
    answers: &mut impl Answers,
) -> usize {
    let mut kept = 0;
    store.write((&run.keys, &run.values), now, |stored| match stored {
        Ok(()) => {
            kept += 1;
            answers.done(client.version);
        }
        Err(refusal) => {
            client.count(Op::Set, &refusal);
            answers.reply(client.version, &refusal);
        }
    });
    client.metrics().count_many(Op::Set, Outcome::Ok, kept);
    run.keys.len()
}

/// Answers from copies of what a Redis holds, up to the first request that only Redis can answer.
pub(super) fn near<'a, M: Memory, C: Clock>(
    now: Now,
    near: &Near<M, C>,
    client: &Client,
    requests: &mut Requests<'a, impl Fn(&'a [u8]) -> Look<'a>>,
    answers: &mut impl Answers,
) -> Next {
    let mut run = Run::new();
    loop {
        let after = requests.run(&mut run);
        if !run.keys.is_empty() && run.kind == Kind::Writes {
            return Next::Other;
        }
        if !run.keys.is_empty() {
            let hits = copies(near, client, &run.keys, now, answers);
            requests.taken = hits.checked_sub(1).map_or(requests.taken, |last| run.ends[last]);
            if answers.is_full() {
                return Next::Full;
            }
            if hits < run.keys.len() {
                return Next::Other;
            }
        }
        match after {
            After::More => {}
            After::Part(missing) => return Next::Part(missing),
            After::Other => return Next::Other,
        }
    }
}

/// Answers the reads of `keys` for as long as memory holds them and there is room for the answers; returns how many those
/// were.
pub(super) fn copies<M: Memory, C: Clock>(
    near: &Near<M, C>,
    client: &Client,
    keys: &[&[u8]],
    now: Now,
    answers: &mut impl Answers,
) -> usize {
    let mut is_first = true;
    let hits = near.read_front(keys, now, |found| {
        // Once the outbox is full, the rest of the run is left for the next turn.
        let has_room = std::mem::replace(&mut is_first, false) || !answers.is_full();
        if has_room {
            answers.value(client.version, Some(found));
        }
        has_room
    });
    client.metrics().count_many(Op::Get, Outcome::Hit, hits as u64);
    hits
}
