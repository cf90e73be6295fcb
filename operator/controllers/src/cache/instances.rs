//! What the sidecars of a cache say of themselves in Redis: one MGET for all of them.

use std::time::Duration;

use synapse_api::cache::SynapseCacheSpec;
use synapse_api::conditions::Reason;
use synapse_desired::cache::instance::{Instance, key, parse};
use synapse_desired::cache::pods::Observed;
use synapse_desired::cache::status::Trouble;
use tokio::time::timeout;

use super::Caches;
use crate::broker::error::BrokerError;
use crate::references::{self, Unresolved};

/// The longest that Redis may take: the status of the pods does not wait for it.
const LIMIT: Duration = Duration::from_secs(3);

/// The pods of a cache with what they say, and why some of it is not known.
pub(super) struct Heard {
    pub(super) pods: Vec<(Observed, Option<Instance>)>,
    /// A reference of the cache leads nowhere.
    pub(super) unresolved: Option<Trouble>,
    /// Redis did not answer.
    pub(super) unheard: Option<Trouble>,
}

/// Asks the cache's Redis about `pods`.
pub(super) async fn hear(
    caches: &Caches,
    namespace: &str,
    cache: &str,
    spec: &SynapseCacheSpec,
    pods: Vec<Observed>,
) -> Heard {
    let mut heard = Heard { pods: Vec::new(), unresolved: None, unheard: None };
    let mut values = Vec::new();
    if let Some(redis) = &spec.redis {
        match references::address(&caches.client, namespace, &redis.connection, redis.tls.as_ref()).await {
            Err(Unresolved { reason, message }) => heard.unresolved = Some((reason, message)),
            Ok(address) => match caches.pool.connection(&address) {
                Err(error) => heard.unresolved = Some((Reason::InvalidUrl, error.to_string())),
                Ok(connection) => match values_of(connection, namespace, &pods).await {
                    Ok(found) => values = found,
                    Err(error) => {
                        caches.pool.failed(&address, &error);
                        heard.unheard = Some((error.reason(), error.to_string()));
                    }
                },
            },
        }
    }
    values.resize(pods.len(), None);
    let parsed = |pod: &Observed, value: Option<Vec<u8>>| parse(&value?, namespace, &pod.name, cache);
    heard.pods = pods
        .into_iter()
        .zip(values)
        .map(|(pod, value)| {
            let instance = parsed(&pod, value);
            (pod, instance)
        })
        .collect();
    heard
}

/// The instance keys' values, in the order of `pods`; a PING where there are none, so that an unreachable Redis is
/// known before the first pod needs it.
async fn values_of(
    mut connection: redis::aio::ConnectionManager,
    namespace: &str,
    pods: &[Observed],
) -> Result<Vec<Option<Vec<u8>>>, BrokerError> {
    let mut command = redis::cmd(if pods.is_empty() { "PING" } else { "MGET" });
    for pod in pods {
        command.arg(key(namespace, &pod.name));
    }
    let values = async {
        if pods.is_empty() {
            return command.query_async::<()>(&mut connection).await.map(|()| Vec::new());
        }
        command.query_async(&mut connection).await
    };
    match timeout(LIMIT, values).await {
        Ok(answer) => answer.map_err(BrokerError::from),
        Err(_) => Err(BrokerError::Unreachable(format!("no answer within {LIMIT:?}"))),
    }
}
