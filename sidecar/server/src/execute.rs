//! Where the languages meet: decoded commands on one side, the cache on the other, answers in between.

mod memory;
mod near;
mod plain;

use std::sync::{Arc, Weak};

use synapse_core::clock::Clock;
use synapse_core::reply::Reply;
use synapse_engine::store::Watch;
use synapse_protocol::batch::Batch;
use synapse_protocol::plain::Look;

use crate::answers::Answers;
use crate::backend::{Backend, Kind, lock};
use crate::client::Client;
use crate::execute::plain::Requests;

/// Most keys that are looked up together.
const KEYS_AT_ONCE: usize = 64;

const EXCESSIVE: Reply =
    Reply::error("ERR replies of the transaction exceed 128 MiB; all of it was executed");

/// Executes the commands of one session.
#[derive(Debug)]
pub(crate) struct Executor {
    backend: Arc<Backend>,
    client: Client,
    /// What stood behind the socket at the last batch. Not kept alive: an idle session holds no connection to Redis.
    last: Weak<Kind>,
    watch: Watch,
    side: near::Side,
}

/// How far [`Executor::front`] got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Front {
    /// Bytes of the input that are answered.
    pub(crate) taken: usize,
    /// What comes after them.
    pub(crate) next: Next,
}

/// What stands in the way of more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// At least so many bytes have not come yet.
    Part(usize),
    /// The answers are to be written first.
    Full,
    /// A request that is not plain, or that memory cannot answer.
    Other,
}

/// How far a batch got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// All of it was executed.
    Done,
    /// The answers are to be written before the command at this position.
    Full(usize),
    /// The connection ends after the answers are written.
    Close,
}

impl Executor {
    /// An executor for a client that has just connected.
    pub(crate) fn new(backend: Arc<Backend>, client: Client) -> Self {
        let last = Arc::downgrade(&backend.current());
        Self { backend, client, last, watch: Watch::default(), side: near::Side::default() }
    }

    /// Executes the commands from position `from` on, until the batch ends or enough answers wait to be written.
    /// With memory alone nothing is awaited.
    pub(crate) async fn execute(
        &mut self,
        batch: &Batch,
        from: usize,
        answers: &mut impl Answers,
    ) -> Progress {
        let kind = self.backend.current();
        if !std::ptr::eq(self.last.as_ptr(), Arc::as_ptr(&kind)) {
            if self.watch.is_watching() || self.side.near.is_watching() {
                return Progress::Close;
            }
            self.last = Arc::downgrade(&kind);
        }
        match &*kind {
            Kind::Memory(store) => memory::execute(
                &self.backend.clock,
                &mut lock(store),
                &mut self.client,
                &mut self.watch,
                (batch, from),
                answers,
            ),
            Kind::Near(near) => {
                let (clock, client) = (&self.backend.clock, &mut self.client);
                near::execute(near, clock, client, &mut self.side, (batch, from), answers).await
            }
        }
    }

    /// Answers the plain requests at the front of `input`, as far as memory alone can. Nothing is awaited, and nothing
    /// is cut out of the input: the lock is held for the length of this call.
    pub(crate) fn front(
        &mut self,
        look: impl Fn(&[u8]) -> Look<'_>,
        input: &[u8],
        answers: &mut impl Answers,
    ) -> Front {
        let (backend, kind) = (&*self.backend, self.backend.hold());
        let as_before = std::ptr::eq(self.last.as_ptr(), Arc::as_ptr(&kind));
        if !as_before || self.client.is_queueing() || self.side.near.is_watching() {
            return Front { taken: 0, next: Next::Other };
        }
        let (client, mut requests) = (&self.client, Requests::new(look, input));
        let (mut now, begun) = backend.clock.read();
        let next = match &**kind {
            Kind::Memory(store) => {
                let mut store = store.try_lock().unwrap_or_else(|_| {
                    // Time goes by while another core has it.
                    let store = lock(store);
                    now = backend.clock.now();
                    store
                });
                plain::memory(now, &mut store, client, &mut requests, answers)
            }
            Kind::Near(near) => plain::near(now, near, client, &mut requests, answers),
        };
        if requests.taken > 0 {
            client.metrics().took(backend.clock.read().1.saturating_sub(begun));
        }
        Front { taken: requests.taken, next }
    }

    /// What stands behind the session.
    pub(crate) fn backend(&self) -> &Backend {
        &self.backend
    }

    /// The client's side of the session.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        if let Some(kind) = self.last.upgrade()
            && let Kind::Memory(store) = &*kind
        {
            lock(store).unwatch(&mut self.watch);
        }
    }
}

/// The keys of the GETs that follow each other from position `from` on, as many as there is room for.
fn keys_of_gets<'k, 'b>(
    batch: &'b Batch,
    from: usize,
    keys: &'k mut [&'b [u8]; KEYS_AT_ONCE],
) -> &'k [&'b [u8]] {
    let mut count = 0;
    while count < KEYS_AT_ONCE
        && let [name, key] = batch.command(from + count)
        && name.eq_ignore_ascii_case(b"get")
    {
        keys[count] = key;
        count += 1;
    }
    &keys[..count]
}
