//! Connections leased to sessions that WATCH: few, reused unless they are in the middle of something.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    idle: Mutex<Vec<Idle>>,
    prefix: Bytes,
    patience: Duration,
}

/// A connection for the next session.
struct Idle {
    connection: MultiplexedConnection,
    /// The UNWATCH under way: it would not be sent if nobody waited for its answer.
    _unwatching: Option<Pending<Vec<Value>>>,
}

/// One leased connection.
struct Lease {
    shared: Arc<Shared>,
    connection: MultiplexedConnection,
    /// What became of the last thing that was sent.
    state: Arc<Mutex<State>>,
    _place: OwnedSemaphorePermit,
}

/// What a leased connection is left in.
#[derive(Clone, Copy)]
enum State {
    /// Something that was sent has no answer.
    Busy,
    /// Keys are watched.
    Watching,
    /// A transaction was answered, which ended the watch.
    Clean,
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
            let state = Arc::new(Mutex::new(State::Clean));
            let mut lease = Lease { shared, connection, state, _place: place };
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
            // Answered after whatever was sent before it.
            let ping = self.dialer.send_alone(idle.connection.clone(), Packed::raw(&[b"PING"]));
            if ping.await.is_ok() {
                return Ok(idle.connection);
            }
        }
        self.dialer.connect(|_| Ok(())).await.map_err(|reason| RemoteError::Away { reason })
    }

    fn take_idle(&self) -> Option<Idle> {
        lock(&self.idle).pop()
    }
}

// === impl Lease ===

impl Lease {
    /// Sends, and leaves the connection in `after` once there is an answer.
    fn ask(&mut self, packed: Packed, after: State) -> Pending<Vec<Value>> {
        *lock(&self.state) = State::Busy;
        let answers = self.shared.dialer.send_alone(self.connection.clone(), packed);
        let state = Arc::clone(&self.state);
        Box::pin(async move {
            let answers = answers.await?;
            *lock(&state) = after;
            Ok(answers)
        })
    }
}

impl Watching for Lease {
    fn watch(&mut self, keys: Vec<Bytes>) -> Pending<Reply> {
        let answers = self.ask(Packed::keys(b"WATCH", &keys, &self.shared.prefix), State::Watching);
        Box::pin(async move { answers.await?.pop().map(wire::reply).ok_or(RemoteError::Broken) })
    }

    fn send(&mut self, steps: Vec<Step>) -> Pending<Vec<Outcome>> {
        let has_ended = steps.iter().any(|step| matches!(step, Step::Atomic(_)));
        let after = if has_ended { State::Clean } else { State::Watching };
        let answers = self.ask(Packed::steps(&steps, &self.shared.prefix), after);
        Box::pin(async move { Ok(wire::outcomes(&steps, answers.await?)) })
    }
}

impl Drop for Lease {
    /// A connection that waits for nothing serves the next session; every other one is closed.
    fn drop(&mut self) {
        let state = *lock(&self.state);
        if let State::Busy = state {
            return;
        }
        let mut idle = lock(&self.shared.idle);
        if idle.len() < MAX_IDLE {
            let connection = self.connection.clone();
            let unwatch = || self.shared.dialer.send_alone(connection.clone(), Packed::raw(&[b"UNWATCH"]));
            let _unwatching = matches!(state, State::Watching).then(unwatch);
            idle.push(Idle { connection, _unwatching });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
