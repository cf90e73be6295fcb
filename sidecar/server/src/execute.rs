//! Where the languages meet: decoded commands on one side, the cache on the other, answers in between.

mod memory;
mod near;

use std::sync::{Arc, Weak};

use synapse_engine::store::Watch;
use synapse_protocol::batch::Batch;

use crate::answers::Answers;
use crate::backend::{Backend, Kind, lock};
use crate::client::Client;

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
