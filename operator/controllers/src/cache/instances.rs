//! What the sidecars of a cache say of themselves in Redis: one round trip for many of them.

use std::time::Duration;

use synapse_api::cache::SynapseCacheSpec;
use synapse_api::conditions::Reason;
use synapse_desired::cache::instance::{Instance, MAX_VALUE, key, parse};
use synapse_desired::cache::pods::Observed;
use synapse_desired::cache::status::Trouble;
use tokio::time::timeout;

use super::Caches;
use crate::broker::error::BrokerError;
use crate::references::{self, Unresolved};

/// The longest that Redis may take: the status of the pods does not wait for it.
const LIMIT: Duration = Duration::from_secs(3);
/// How many pods are asked about in one round trip: together with the limit of one value, a bound on the answer.
const AT_ONCE: usize = 100;

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
                Err(error @ BrokerError::Url(_)) => {
                    heard.unresolved = Some((Reason::InvalidUrl, error.to_string()));
                }
                Err(error) => heard.unheard = Some((error.reason(), error.to_string())),
                Ok(connection) => {
                    let found = values_of(connection, namespace, &pods).await;
                    caches.pool.told(&address, found.as_ref().err());
                    match found {
                        Ok(found) => values = found,
                        Err(error) => heard.unheard = Some((error.reason(), error.to_string())),
                    }
                }
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
/// known before the first pod needs it. Of a value too long to be a sidecar's, no more than that is read.
async fn values_of(
    mut connection: redis::aio::ConnectionManager,
    namespace: &str,
    pods: &[Observed],
) -> Result<Vec<Option<Vec<u8>>>, BrokerError> {
    let values = async {
        if pods.is_empty() {
            return redis::cmd("PING").query_async::<()>(&mut connection).await.map(|()| Vec::new());
        }
        let mut values = Vec::with_capacity(pods.len());
        for some in pods.chunks(AT_ONCE) {
            let mut pipeline = redis::pipe();
            for pod in some {
                pipeline.getrange(key(namespace, &pod.name), 0, MAX_VALUE as isize);
            }
            values.extend(pipeline.query_async::<Vec<Vec<u8>>>(&mut connection).await?);
        }
        Ok(values.into_iter().map(|value| (!value.is_empty()).then_some(value)).collect())
    };
    match timeout(LIMIT, values).await {
        Ok(answer) => answer.map_err(BrokerError::from),
        Err(_) => Err(BrokerError::Unreachable(format!("no answer within {LIMIT:?}"))),
    }
}
