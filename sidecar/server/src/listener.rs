//! Accepts connections and owns their sessions until the last of them has ended.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, info, warn};

use crate::backend::Backend;
use crate::client::Client;
use crate::client::registry::Registry;
use crate::drain::Drain;
use crate::execute::Executor;
use crate::metrics::Metrics;
use crate::session::Session;
use crate::socket::{self, BindError};
use crate::stream::Connection;

/// How often the room of expired entries is looked for.
const TEND_EVERY: Duration = Duration::from_millis(100);

/// How long to wait when no connection can be accepted, for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a listener allows.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most connections at a time; one more is told so and closed.
    pub connections: usize,
    /// How long sessions may take to finish what they accepted, once the end was asked for.
    pub grace: Duration,
}

/// A bound socket and the cache behind it.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    backend: Arc<Backend>,
    limits: Limits,
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
}

impl Listener {
    /// Listens on a Unix socket at `path`; see [`socket::bind`].
    ///
    /// # Errors
    /// When the socket cannot be had.
    pub fn bind(path: &Path, backend: Arc<Backend>, limits: Limits) -> Result<Self, BindError> {
        let socket = socket::bind(path)?;
        Ok(Self { socket, backend, limits, registry: Arc::default(), metrics: Arc::default() })
    }

    /// What is counted here, for [`crate::admin::Admin`].
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Serves until `drain` asks for the end, then lets the sessions finish within the grace period.
    pub async fn run(self, drain: Drain) {
        let mut sessions = JoinSet::new();
        let mut tend = interval(TEND_EVERY);
        tend.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_failing = false;
        loop {
            tokio::select! {
                () = drain.draining() => break,
                _ = tend.tick() => self.backend.tend(),
                Some(ended) = sessions.join_next() => note_end(ended),
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, _)) => {
                        is_failing = false;
                        self.admit(stream, &drain, &mut sessions);
                    }
                    Err(error) => {
                        // Said once, however long it lasts.
                        if !std::mem::replace(&mut is_failing, true) {
                            warn!(%error, "cannot accept a connection");
                        }
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        let Self { socket, limits, .. } = self;
        drop(socket);
        info!(sessions = sessions.len(), "no longer accepting, letting sessions finish");
        let all = async { while sessions.join_next().await.map(note_end).is_some() {} };
        if timeout(limits.grace, all).await.is_err() {
            warn!(sessions = sessions.len(), "sessions did not finish within the grace period and are cut");
            sessions.shutdown().await;
        }
    }

    fn admit(&self, stream: UnixStream, drain: &Drain, sessions: &mut JoinSet<io::Result<()>>) {
        if self.registry.len() >= self.limits.connections {
            self.metrics.refused();
            sessions.spawn(refuse(stream));
            return;
        }
        let connection = match Connection::new(stream) {
            Ok(connection) => connection,
            Err(error) => return debug!(%error, "a connection broke"),
        };
        let client = Client::new(Registry::enter(&self.registry), Arc::clone(&self.metrics));
        let executor = Executor::new(Arc::clone(&self.backend), client);
        let share = self.backend.unfinished.share();
        sessions.spawn(Session::new(connection, executor, share, drain).run());
    }
}

async fn refuse(mut stream: UnixStream) -> io::Result<()> {
    stream.write_all(b"-ERR max number of clients reached\r\n").await
}

fn note_end(ended: Result<io::Result<()>, tokio::task::JoinError>) {
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a connection broke"),
        Err(error) => warn!(%error, "a session ended badly"),
    }
}
