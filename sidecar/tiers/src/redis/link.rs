//! One connection that is kept: opened, listened to by beats, given up when it is silent, opened again.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, Value, cmd};
use synapse_core::feed::FeedSink;
use synapse_core::remote::{Pending, RemoteError};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::Options;
use super::dial::{self, Dialer, ROOM_KIB};
use super::wire::Packed;

/// What a link is for.
pub(crate) enum Role {
    /// Reads: nothing is announced here.
    Reads,
    /// Everything that changes something, and the announcements of what others change under the prefix.
    Ordered { sink: Arc<dyn FeedSink>, tracking: Option<Bytes> },
}

/// A connection that is kept open by a task of its own, which ends with this value.
pub(crate) struct Link {
    handle: Handle,
    keeper: JoinHandle<()>,
}

/// The way to send on a link.
#[derive(Clone)]
pub(crate) struct Handle {
    dialer: Arc<Dialer>,
    state: Arc<Mutex<State>>,
    room: Arc<Semaphore>,
}

enum State {
    /// The first attempt has not ended.
    Starting,
    Up(MultiplexedConnection),
    Down(String),
}

const STARTING: &str = "not connected yet";

/// Limits of the pause between two attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A connection that lived for less does not end the growth of the pause.
const STEADY: Duration = Duration::from_secs(2);
/// Beats without an answer that are a loss.
const MISSED_BEATS: u32 = 2;

// === impl Link ===

impl Link {
    pub(crate) fn start(dialer: Arc<Dialer>, role: Role, options: &Options) -> Self {
        let state = Arc::new(Mutex::new(State::Starting));
        let handle = Handle { dialer, state, room: Arc::new(Semaphore::new(ROOM_KIB as usize)) };
        let keeper = Keeper { handle: handle.clone(), role: Arc::new(role), beat: options.beat };
        Self { handle, keeper: tokio::spawn(keeper.run()) }
    }

    /// The way to send on this link.
    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    pub(crate) fn send(&self, packed: Packed) -> Pending<Vec<Value>> {
        self.handle.send(packed)
    }

    pub(crate) fn send_in_turn(&self, packed: Packed) -> Pending<Vec<Value>> {
        self.handle.send_in_turn(packed)
    }

    pub(crate) fn health(&self) -> Result<(), String> {
        match &*self.handle.state() {
            State::Starting => Err(STARTING.to_owned()),
            State::Up(_) => Ok(()),
            State::Down(reason) => Err(reason.clone()),
        }
    }

    /// Whether the first attempt to connect has ended.
    pub(crate) fn is_settled(&self) -> bool {
        !matches!(*self.handle.state(), State::Starting)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

// === impl Handle ===

impl Handle {
    /// Sends at once, if there is a connection with room.
    pub(crate) fn send(&self, packed: Packed) -> Pending<Vec<Value>> {
        let sent = self.connection().and_then(|connection| {
            let permit = dial::permit(&self.room, &packed)?;
            Ok((connection, permit))
        });
        match sent {
            Ok((connection, permit)) => {
                self.dialer.send(connection, packed, Some(permit), self.dialer.deadline())
            }
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    /// Sends when there is room: for what is not ordered against anything else.
    pub(crate) fn send_in_turn(&self, packed: Packed) -> Pending<Vec<Value>> {
        let (handle, until) = (self.clone(), self.dialer.deadline());
        match (self.connection(), dial::permit(&self.room, &packed)) {
            (Err(error), _) => Box::pin(std::future::ready(Err(error))),
            (Ok(connection), Ok(permit)) => self.dialer.send(connection, packed, Some(permit), until),
            (Ok(connection), Err(_)) => Box::pin(async move {
                let permit = dial::permit_in_turn(Arc::clone(&handle.room), &packed, until).await?;
                handle.dialer.send(connection, packed, Some(permit), until).await
            }),
        }
    }

    fn connection(&self) -> Result<MultiplexedConnection, RemoteError> {
        match &*self.state() {
            State::Starting => Err(RemoteError::Away { reason: STARTING.to_owned() }),
            State::Up(connection) => Ok(connection.clone()),
            State::Down(reason) => Err(RemoteError::Away { reason: reason.clone() }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === the task that keeps a connection ===

struct Keeper {
    handle: Handle,
    role: Arc<Role>,
    beat: Duration,
}

impl Keeper {
    async fn run(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            let reason = self.one_life().await;
            if began.elapsed() > STEADY + self.beat * MISSED_BEATS {
                pause = FIRST_PAUSE;
            }
            *self.handle.state() = State::Down(reason);
            sleep(jittered(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// From the attempt to connect to the loss of the connection; answers the reason of the end.
    async fn one_life(&self) -> String {
        let closed = Arc::new(Notify::new());
        let opened = async {
            let mut connection = self.handle.dialer.connect(listener(&self.role, &closed)).await?;
            self.arm(&mut connection).await?;
            Ok::<_, String>(connection)
        };
        let connection = match opened.await {
            Ok(connection) => connection,
            Err(reason) => {
                self.note_failure(&reason);
                return reason;
            }
        };
        if matches!(*self.role, Role::Ordered { .. }) {
            info!("connected to Redis");
        }
        *self.handle.state() = State::Up(connection.clone());
        let reason = self.listen(connection, &closed).await;
        self.note_failure(&reason);
        *self.handle.state() = State::Down(reason.clone());
        if let Role::Ordered { sink, .. } = &*self.role {
            sink.lost();
        }
        reason
    }

    /// Asks for announcements. What was kept before is dropped before the first answer of this connection.
    async fn arm(&self, connection: &mut MultiplexedConnection) -> Result<(), String> {
        let Role::Ordered { sink, tracking } = &*self.role else { return Ok(()) };
        if let Some(prefix) = tracking {
            let mut tracking = cmd("CLIENT");
            tracking.arg("TRACKING").arg("ON").arg("BCAST").arg("PREFIX").arg(prefix.as_ref()).arg("NOLOOP");
            let asked = timeout(self.beat * MISSED_BEATS, tracking.query_async::<()>(connection)).await;
            match asked {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    return Err(format!("CLIENT TRACKING: {}", dial::describe(&error.to_string())));
                }
                Err(_) => return Err("CLIENT TRACKING was not answered in time".to_owned()),
            }
        }
        sink.armed();
        Ok(())
    }

    /// Beats until two in a row are missed or the connection is closed.
    async fn listen(&self, mut connection: MultiplexedConnection, closed: &Notify) -> String {
        let mut missed = 0;
        loop {
            let mark = match &*self.role {
                Role::Ordered { sink, .. } => Some((sink, sink.mark())),
                Role::Reads => None,
            };
            let sent = Instant::now();
            let ping = cmd("PING");
            let answer = tokio::select! {
                () = closed.notified() => return "the connection was closed".to_owned(),
                answer = timeout(self.beat, ping.query_async::<Value>(&mut connection)) => answer,
            };
            match answer {
                Ok(Ok(_)) => {
                    missed = 0;
                    if let Some((sink, mark)) = mark {
                        sink.heard(mark);
                    }
                }
                Ok(Err(error)) => return dial::describe(&error.to_string()),
                Err(_) => missed += 1,
            }
            if missed == MISSED_BEATS {
                return format!("{MISSED_BEATS} beats were not answered");
            }
            tokio::select! {
                () = closed.notified() => return "the connection was closed".to_owned(),
                () = tokio::time::sleep_until(sent + self.beat) => {}
            }
        }
    }

    /// Says a loss once, not at every attempt.
    fn note_failure(&self, reason: &str) {
        let news = match &*self.handle.state() {
            State::Starting | State::Up(_) => true,
            State::Down(known) => known != reason,
        };
        if news && matches!(*self.role, Role::Ordered { .. }) {
            warn!(reason, "no connection to Redis");
        }
    }
}

/// Takes what a connection announces, between two of its answers.
fn listener(
    role: &Arc<Role>,
    closed: &Arc<Notify>,
) -> impl Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static {
    let (role, closed) = (Arc::clone(role), Arc::clone(closed));
    move |push: PushInfo| {
        match (push.kind, &*role) {
            (PushKind::Disconnection, _) => closed.notify_one(),
            (PushKind::Invalidate, Role::Ordered { sink, tracking }) => {
                let prefix = tracking.as_deref().unwrap_or_default();
                push.data.iter().for_each(|keys| announce(keys, prefix, &**sink));
            }
            _ => {}
        }
        Ok(())
    }
}

fn announce(keys: &Value, prefix: &[u8], sink: &dyn FeedSink) {
    let Value::Array(keys) = keys else { return sink.invalidate_all() };
    for key in keys {
        match key {
            Value::BulkString(key) => {
                if let Some(key) = key.strip_prefix(prefix) {
                    sink.invalidate(key);
                }
            }
            _ => sink.invalidate_all(),
        }
    }
}

/// Between half of `pause` and all of it: sidecars that lost the same server do not come back together.
fn jittered(pause: Duration) -> Duration {
    let share = RandomState::new().hash_one(0u8) % 512;
    pause.mul_f64((512 + share) as f64 / 1024.0)
}
