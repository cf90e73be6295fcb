//! Connections leased to sessions that WATCH: few, reused when clean, closed when not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use redis::Value;
use redis::aio::MultiplexedConnection;
use synapse_core::remote::{Outcome, Pending, RemoteError, Step, Watching};
use synapse_core::reply::Reply;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Options;
use super::dial::Dialer;
use super::wire::{self, Packed};

/// Sessions that may watch at the same time.
const MAX_LEASES: usize = 16;
/// Clean connections that are kept for the next session.
const MAX_IDLE: usize = 4;

/// Who leases.
pub(crate) struct Leases {
    shared: Arc<Shared>,
}

struct Shared {
    dialer: Arc<Dialer>,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<MultiplexedConnection>>,
    prefix: Bytes,
    patience: Duration,
}

/// One leased connection.
struct Lease {
    shared: Arc<Shared>,
    connection: MultiplexedConnection,
    /// False once a transaction was answered, which ends the watch.
    watching: Arc<AtomicBool>,
    _place: OwnedSemaphorePermit,
}

// === impl Leases ===

impl Leases {
    pub(crate) fn new(dialer: Arc<Dialer>, options: &Options) -> Self {
        let places = Arc::new(Semaphore::new(MAX_LEASES));
        let (idle, prefix) = (Mutex::new(Vec::new()), options.prefix.clone());
        Self { shared: Arc::new(Shared { dialer, places, idle, prefix, patience: options.command_timeout }) }
    }

    pub(crate) fn watch(&self, keys: Vec<Bytes>) -> Pending<Box<dyn Watching>> {
        let shared = Arc::clone(&self.shared);
        let patience = shared.patience;
        let leasing = async move {
            let waiting = timeout(shared.patience / 2, Arc::clone(&shared.places).acquire_owned()).await;
            let Ok(Ok(place)) = waiting else { return Err(RemoteError::Busy) };
            let connection = shared.connection().await?;
            let watching = Arc::new(AtomicBool::new(true));
            let mut lease = Lease { shared, connection, watching, _place: place };
            match lease.watch(keys).await? {
                Reply::Simple(_) => Ok(Box::new(lease) as Box<dyn Watching>),
                refused => Err(RemoteError::Refused(refused)),
            }
        };
        Box::pin(async move {
            timeout(patience, leasing).await.unwrap_or(Err(RemoteError::Late { after: patience }))
        })
    }
}

// === impl Shared ===

impl Shared {
    /// A clean connection: an idle one that still answers, or a new one.
    async fn connection(&self) -> Result<MultiplexedConnection, RemoteError> {
        while let Some(idle) = self.take_idle() {
            if self
                .dialer
                .send(idle.clone(), Packed::raw(&[b"PING"]), None, self.dialer.deadline())
                .await
                .is_ok()
            {
                return Ok(idle);
            }
        }
        self.dialer.connect(|_| Ok(())).await.map_err(|reason| RemoteError::Away { reason })
    }

    fn take_idle(&self) -> Option<MultiplexedConnection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

// === impl Lease ===

impl Watching for Lease {
    fn watch(&mut self, keys: Vec<Bytes>) -> Pending<Reply> {
        self.watching.store(true, Ordering::SeqCst);
        let packed = Packed::keys(b"WATCH", &keys, &self.shared.prefix);
        let answers =
            self.shared.dialer.send(self.connection.clone(), packed, None, self.shared.dialer.deadline());
        Box::pin(async move { answers.await?.pop().map(wire::reply).ok_or(RemoteError::Broken) })
    }

    fn send(&mut self, steps: Vec<Step>) -> Pending<Vec<Outcome>> {
        let packed = Packed::steps(&steps, &self.shared.prefix);
        let answers =
            self.shared.dialer.send(self.connection.clone(), packed, None, self.shared.dialer.deadline());
        let watching = Arc::clone(&self.watching);
        Box::pin(async move {
            let answers: Vec<Value> = answers.await?;
            if steps.iter().any(|step| matches!(step, Step::Atomic(_))) {
                watching.store(false, Ordering::SeqCst);
            }
            Ok(wire::outcomes(&steps, answers))
        })
    }
}

impl Drop for Lease {
    /// A connection that still watches is closed; a clean one serves the next session.
    fn drop(&mut self) {
        if self.watching.load(Ordering::SeqCst) {
            return;
        }
        let mut idle = self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(self.connection.clone());
        }
    }
}
