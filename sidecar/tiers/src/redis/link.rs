//! One connection that is kept: opened, listened to by beats, given up when it is silent, opened again.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, Value, cmd};
use synapse_core::feed::FeedSink;
use synapse_core::remote::{Pending, RemoteError};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{info, warn};

use super::Options;
use super::dial::{self, Dialer};
use super::room::{Room, Share};
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
    state: watch::Receiver<State>,
    room: Room,
}

/// Leave to send, until a deadline.
pub(crate) struct Turn {
    handle: Handle,
    share: Share,
    until: Instant,
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
        let (state, seen) = watch::channel(State::Starting);
        let handle = Handle { dialer: Arc::clone(&dialer), state: seen, room: Room::new(options.room) };
        let keeper = Keeper { dialer, state, role: Arc::new(role), beat: options.beat };
        Self { handle, keeper: tokio::spawn(Arc::new(keeper).run()) }
    }

    /// The way to send on this link.
    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    pub(crate) fn send(&self, packed: Packed) -> Pending<Vec<Value>> {
        self.handle.send(packed)
    }

    pub(crate) fn health(&self) -> Result<(), String> {
        match self.handle.connection() {
            Ok(_) => Ok(()),
            Err(reason) => Err(reason),
        }
    }

    /// Whether the first attempt to connect has ended.
    pub(crate) fn is_settled(&self) -> bool {
        !self.handle.is_starting()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

// === impl Handle ===

impl Handle {
    /// Sends at once if there is a connection with room, and otherwise in turn: for what is not ordered against
    /// anything else.
    pub(crate) fn send(&self, packed: Packed) -> Pending<Vec<Value>> {
        let until = self.dialer.deadline();
        if self.is_starting() {
            return self.send_later(packed, until);
        }
        match self.room.try_take(packed.bytes) {
            Ok(share) => Turn { handle: self.clone(), share, until }.send(packed),
            Err(_) => self.send_later(packed, until),
        }
    }

    fn send_later(&self, packed: Packed, until: Instant) -> Pending<Vec<Value>> {
        let handle = self.clone();
        Box::pin(async move { handle.turn_until(packed.bytes, until).await?.send(packed).await })
    }

    /// Leave to send so many bytes of arguments. Waits for the first attempt to connect and for room; where there is
    /// no connection it says so at once.
    pub(crate) fn turn(&self, bytes: usize) -> impl Future<Output = Result<Turn, RemoteError>> + use<> {
        let (handle, until) = (self.clone(), self.dialer.deadline());
        async move { handle.turn_until(bytes, until).await }
    }

    async fn turn_until(mut self, bytes: usize, until: Instant) -> Result<Turn, RemoteError> {
        if self.is_starting() {
            let begun = self.state.wait_for(|state| !matches!(state, State::Starting));
            // Whether it ended or not is seen below.
            let _ = timeout_at(until, begun).await.is_ok();
        }
        self.connection().map_err(|reason| RemoteError::Away { reason })?;
        let share = self.room.take(bytes, until).await?;
        Ok(Turn { handle: self, share, until })
    }

    fn is_starting(&self) -> bool {
        matches!(*self.state.borrow(), State::Starting)
    }

    /// The connection, or why there is none.
    fn connection(&self) -> Result<MultiplexedConnection, String> {
        if self.state.has_changed().is_err() {
            return Err("nobody keeps the connection any more".to_owned());
        }
        match &*self.state.borrow() {
            State::Starting => Err(STARTING.to_owned()),
            State::Up(connection) => Ok(connection.clone()),
            State::Down(reason) => Err(reason.clone()),
        }
    }
}

// === impl Turn ===

impl Turn {
    /// Sends at once: what is sent by one call after the other is executed in that order.
    pub(crate) fn send(self, packed: Packed) -> Pending<Vec<Value>> {
        let Self { handle, share, until } = self;
        match handle.connection() {
            Ok(connection) => handle.dialer.send(connection, packed, Some(share), until),
            Err(reason) => Box::pin(std::future::ready(Err(RemoteError::Away { reason }))),
        }
    }
}

// === the task that keeps a connection ===

struct Keeper {
    dialer: Arc<Dialer>,
    state: watch::Sender<State>,
    role: Arc<Role>,
    beat: Duration,
}

impl Keeper {
    async fn run(self: Arc<Self>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let (began, keeper) = (Instant::now(), Arc::clone(&self));
            // A task of its own: a panic ends the connection and not the keeping.
            let mut life = JoinSet::new();
            life.spawn(async move { keeper.one_life().await });
            let ended = life.join_next().await.unwrap_or_else(|| Ok(String::new()));
            let was_heard = ended.is_err() || matches!(*self.state.borrow(), State::Up(_));
            let reason = ended.unwrap_or_else(|_| "the sidecar failed to keep the connection".to_owned());
            self.note_failure(&reason);
            self.state.send_replace(State::Down(reason));
            if let (Role::Ordered { sink, .. }, true) = (&*self.role, was_heard) {
                sink.lost();
            }
            if began.elapsed() > STEADY + self.beat * MISSED_BEATS {
                pause = FIRST_PAUSE;
            }
            sleep(jittered(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// From the attempt to connect to the loss of the connection; answers the reason of the end.
    async fn one_life(&self) -> String {
        let closed = Arc::new(Notify::new());
        let opened = async {
            let mut connection = self.dialer.connect(listener(&self.role, &closed)).await?;
            self.arm(&mut connection).await?;
            Ok::<_, String>(connection)
        };
        let connection = match opened.await {
            Ok(connection) => connection,
            Err(reason) => return reason,
        };
        if matches!(*self.role, Role::Ordered { .. }) {
            info!("connected to Redis");
        }
        self.state.send_replace(State::Up(connection.clone()));
        self.listen(connection, &closed).await
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
        let news = match &*self.state.borrow() {
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
