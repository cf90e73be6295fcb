//! Opening one connection, and sending on it: every step has its limit.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, RedisResult, Value, cmd};
use synapse_core::remote::{Pending, RemoteError};
use tokio::time::{Instant, timeout};

use super::Options;
use super::endpoint::Endpoint;
use super::room::{Room, Share};
use super::wire::Packed;

/// Opens connections.
pub(crate) struct Dialer {
    endpoint: Endpoint,
    connect_timeout: Duration,
    command_timeout: Duration,
    /// Operations that may be under way on one connection.
    operations: usize,
}

/// The oldest major version of Redis that is accepted.
const MIN_MAJOR: u32 = 7;

// === impl Dialer ===

impl Dialer {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            endpoint: options.endpoint.clone(),
            connect_timeout: options.connect_timeout,
            command_timeout: options.command_timeout,
            operations: Room::operations(options.room),
        }
    }

    /// An open connection to a server that is new enough; `push` hears what it announces, before any later answer.
    pub(crate) async fn connect(
        &self,
        push: impl Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static,
    ) -> Result<MultiplexedConnection, String> {
        let open = async {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(None)
                .set_response_timeout(None)
                .set_pipeline_buffer_size(self.operations)
                .set_push_sender(push);
            let client = self.endpoint.client()?;
            let connection = client.get_multiplexed_async_connection_with_config(&config).await;
            let mut connection = connection.map_err(|error| describe(&error.to_string()))?;
            check_version(&mut connection).await?;
            Ok(connection)
        };
        let limit = self.connect_timeout;
        timeout(limit, open)
            .await
            .unwrap_or_else(|_| Err(format!("no connection within {}ms", limit.as_millis())))
    }

    /// When an operation that begins now must have ended.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.command_timeout
    }

    /// As [`Dialer::send`], on a connection where nothing else is under way.
    pub(crate) fn send_alone(
        &self,
        connection: MultiplexedConnection,
        packed: Packed,
    ) -> Pending<Vec<Value>> {
        self.send(connection, packed, None, self.deadline())
    }

    /// Sends at once and returns the answers under way. `share` is held until they are there or given up.
    pub(crate) fn send(
        &self,
        mut connection: MultiplexedConnection,
        packed: Packed,
        share: Option<Share>,
        until: Instant,
    ) -> Pending<Vec<Value>> {
        let after = self.command_timeout;
        let mut answers =
            launch(async move { connection.send_packed_commands(&packed.pipeline, 0, packed.answers).await });
        Box::pin(async move {
            let _share = share;
            match tokio::time::timeout_at(until, &mut answers).await {
                Ok(Ok(values)) => Ok(values),
                Ok(Err(_)) => Err(RemoteError::Broken),
                Err(_) => Err(RemoteError::Late { after }),
            }
        })
    }
}

type Answers = Pin<Box<dyn Future<Output = RedisResult<Vec<Value>>> + Send>>;

/// Polls the future once, which puts the commands into the queue of the connection: calls of this function are sent
/// in their order. Without tokio's budget, by which a busy task would be made to wait before it has sent.
fn launch(sending: impl Future<Output = RedisResult<Vec<Value>>> + Send + 'static) -> Answers {
    let mut answers: Answers = Box::pin(tokio::task::unconstrained(sending));
    match answers.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Box::pin(std::future::ready(result)),
        Poll::Pending => answers,
    }
}

/// HELLO answers the version to every user that may connect, INFO does not.
async fn check_version(connection: &mut MultiplexedConnection) -> Result<(), String> {
    let hello: Value = cmd("HELLO").query_async(connection).await.map_err(|e| describe(&e.to_string()))?;
    let Value::Map(fields) = hello else { return Err("HELLO was not answered with a map".to_owned()) };
    let version = fields.into_iter().find_map(|(name, value)| match (name, value) {
        (Value::BulkString(name), Value::BulkString(value)) if name == b"version" => {
            String::from_utf8(value).ok()
        }
        _ => None,
    });
    let version = version.unwrap_or_default();
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(MIN_MAJOR..) => Ok(()),
        _ => Err(format!("Redis {version} is too old: {MIN_MAJOR}.0 or newer is needed")),
    }
}

/// An error of the client, in one bounded line.
pub(crate) fn describe(error: &str) -> String {
    const LONGEST: usize = 200;
    error.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}
