//! SynapseTopic: observe, desire, apply.

mod deletion;
pub mod finalizer;
mod known;

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream as Updates, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::controller::{Action, Config, Controller, Error};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use synapse_api::conditions::Reason;
use synapse_api::topic::SynapseTopic;
use synapse_desired::topic::deletion::needs_finalizer;
use synapse_desired::topic::status::{COUNTERS, Outcome, status};
use synapse_desired::topic::{Difference, Owner, Wanted, wanted};
use tracing::Instrument;

use crate::backoff::Backoff;
use crate::broker::Stream;
use crate::broker::error::BrokerError;
use crate::broker::pool::{Address, Pool};
use crate::broker::provision::{Provisioned, provision};
use crate::call::{CallError, limited};
use crate::jitter;
use crate::references;
use crate::report::{Reports, reference};
use crate::state::State;

/// How soon a stream that is another's is looked at again.
const CONTESTED: Duration = Duration::from_secs(15);

/// What every reconciliation of a topic works with.
pub struct Topics {
    /// The API server.
    pub client: Client,
    /// Status and events.
    pub reports: Reports,
    /// Connections to brokers.
    pub pool: Arc<Pool>,
    /// Uid of the namespace `kube-system`: who we are among all clusters.
    pub cluster: String,
    /// How often a topic is looked at when nothing happens to it.
    pub resync: Duration,
    /// Where exact figures go.
    pub state: Arc<State>,
    /// Where each topic was found last.
    known: known::Known,
    /// How often each topic that waits for its broker or Secret was looked at in vain.
    backoff: Backoff,
}

/// Why a reconciliation has to be repeated.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// The API server.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Topics {
    /// Work for one cluster.
    pub fn new(
        client: Client,
        reports: Reports,
        pool: Arc<Pool>,
        cluster: String,
        resync: Duration,
        state: Arc<State>,
    ) -> Self {
        let (known, backoff) = Default::default();
        Self { client, reports, pool, cluster, resync, state, known, backoff }
    }

    fn owner(&self, topic: &SynapseTopic) -> Owner {
        Owner {
            cluster: self.cluster.clone(),
            namespace: topic.namespace().unwrap_or_default(),
            name: topic.name_any(),
        }
    }

    fn stream(
        &self,
        address: &Address,
        stream: &str,
        owner: Owner,
        uid: &str,
    ) -> Result<Stream, BrokerError> {
        Ok(Stream::new(self.pool.connection(address)?, stream, owner, uid))
    }
}

/// Runs until `shutdown`; at most `workers` topics at a time.
pub async fn run(
    topics: Arc<Topics>,
    workers: u16,
    shutdown: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let api: Api<SynapseTopic> = Api::all(topics.client.clone());
    let controller = Controller::new(api, watcher::Config::default().page_size(500))
        .with_config(Config::default().concurrency(workers).debounce(Duration::from_millis(200)))
        .graceful_shutdown_on(shutdown);
    let store = controller.store();
    topics.state.follow(store.clone());
    let updates = controller.run(reconcile, retry, Arc::clone(&topics));
    let work = drain(updates, &topics);
    tokio::select! {
        () = work => {}
        () = known::release_orphans(&topics, store) => {}
    }
}

async fn drain<T, E, W>(updates: impl Updates<Item = Result<T, Error<E, W>>>, topics: &Topics)
where
    E: std::error::Error + 'static,
    W: std::error::Error + 'static,
{
    let mut updates = std::pin::pin!(updates);
    while let Some(update) = updates.next().await {
        match update {
            Err(Error::ObjectNotFound(gone)) => {
                let namespace = gone.namespace.as_deref().unwrap_or_default();
                topics.state.forget_topic(namespace, &gone.name);
                topics.state.gone::<SynapseTopic>(namespace, &gone.name);
                topics.backoff.reset(namespace, &gone.name);
            }
            Err(error) => tracing::debug!(%error, "topic controller"),
            Ok(_) => {}
        }
    }
}

/// One visit: what is there, what should be, what was done, what is said.
async fn reconcile(topic: Arc<SynapseTopic>, topics: Arc<Topics>) -> Result<Action, TopicError> {
    let visit_of = topics.state.visit(&*topic);
    let span =
        tracing::info_span!("reconcile SynapseTopic", namespace = topic.namespace(), name = topic.name_any());
    let work = async {
        if topic.metadata.deletion_timestamp.is_some() {
            deletion::reconcile(&topic, &topics, Timestamp::now()).await
        } else {
            visit(&topic, &topics).await
        }
    };
    let action = work.instrument(span).await;
    visit_of.done(action.is_ok());
    action
}

async fn visit(topic: &SynapseTopic, topics: &Topics) -> Result<Action, TopicError> {
    finalizer::keep(&topics.client, topic, needs_finalizer(&topic.spec)).await?;
    let wanted = wanted(&topic.name_any(), &topic.spec);
    let (wanted, provisioned) = match wanted {
        Ok(wanted) => {
            let provisioned = bring(topic, topics, &wanted).await;
            (Some(wanted), provisioned)
        }
        Err(error) => (None, said(Outcome::Unusable(Reason::InvalidSpec, error.to_string()))),
    };
    tell(topic, topics, wanted.as_ref(), &provisioned).await?;
    Ok(Action::requeue(again(topic, topics, &provisioned)))
}

/// How long until the next look, if nothing happens to the object.
fn again(topic: &SynapseTopic, topics: &Topics, provisioned: &Provisioned) -> Duration {
    let (namespace, name) = (topic.namespace().unwrap_or_default(), topic.name_any());
    if let Outcome::Unavailable(..) | Outcome::Unusable(..) = provisioned.outcome {
        return topics.backoff.failed(&namespace, &name);
    }
    topics.backoff.reset(&namespace, &name);
    match provisioned.outcome {
        Outcome::Worked { .. } if provisioned.more => Duration::from_secs(1),
        Outcome::Worked { .. } => jitter::lengthen(topics.resync),
        _ => jitter::lengthen(CONTESTED.min(topics.resync)),
    }
}

async fn bring(topic: &SynapseTopic, topics: &Topics, wanted: &Wanted) -> Provisioned {
    let redis = &topic.spec.broker.redis;
    let owner = topics.owner(topic);
    let address =
        references::address(&topics.client, &owner.namespace, &redis.connection, redis.tls.as_ref()).await;
    let address = match address {
        Ok(address) => address,
        Err(unresolved) => return said(Outcome::Unusable(unresolved.reason, unresolved.message)),
    };
    let uid = topic.uid().unwrap_or_default();
    let stream = match topics.stream(&address, &wanted.stream, owner.clone(), &uid) {
        Ok(stream) => stream,
        Err(error @ BrokerError::Url(_)) => {
            return said(Outcome::Unusable(error.reason(), error.to_string()));
        }
        Err(error) => return said(Outcome::Unavailable(error.reason(), error.to_string())),
    };
    let provisioned = provision(&stream, wanted, |claimed| is_void(topics, claimed, &wanted.stream)).await;
    topics.pool.told(&address, provisioned.as_ref().err());
    match provisioned {
        Ok(provisioned) => {
            if matches!(provisioned.outcome, Outcome::Worked { .. })
                && let Some(left) = topics.known.remember(&owner, address, &wanted.stream, uid)
            {
                known::release(topics, owner, &left).await;
            }
            provisioned
        }
        Err(error) => said(Outcome::Unavailable(error.reason(), error.to_string())),
    }
}

fn said(outcome: Outcome) -> Provisioned {
    Provisioned { outcome, more: false, created: false }
}

/// Whether the object that made a claim on `stream` in this cluster is gone, or was made anew for another stream. What
/// other clusters claim cannot be judged from here.
async fn is_void(topics: &Topics, claimed: Owner, stream: &str) -> bool {
    if claimed.cluster != topics.cluster {
        return false;
    }
    let api: Api<SynapseTopic> = Api::namespaced(topics.client.clone(), &claimed.namespace);
    match limited("look for the owner of a claim", api.get_opt(&claimed.name)).await {
        Ok(None) => true,
        Ok(Some(owner)) => owner.spec.name.as_ref().unwrap_or(&claimed.name) != stream,
        Err(_) => false,
    }
}

async fn tell(
    topic: &SynapseTopic,
    topics: &Topics,
    wanted: Option<&Wanted>,
    provisioned: &Provisioned,
) -> Result<(), CallError> {
    let before = topic.status.clone().unwrap_or_default();
    let now = Time(Timestamp::now());
    let after = status(wanted, &provisioned.outcome, &before, topic.metadata.generation, now);
    topics.state.saw_topic(topic, &provisioned.outcome, &after);
    topics.reports.status(topic, topic.status.as_ref(), &after, &COUNTERS).await?;
    let object = reference(topic);
    topics.reports.transition(&object, &before.conditions, &after.conditions).await;
    if let Outcome::Worked { differences, .. } = &provisioned.outcome
        && provisioned.created
    {
        // One event for all: of several with one reason, the API server would be told the first.
        let repaired: Vec<_> = differences.iter().map(repaired).collect();
        if !repaired.is_empty() {
            topics.reports.event(&object, true, "DriftRepaired", "Repair", repaired.join("; ")).await;
        }
    }
    Ok(())
}

fn repaired(difference: &Difference) -> String {
    match difference {
        Difference::StreamMissing => "the stream was gone from the broker and was made anew".to_owned(),
        Difference::GroupMissing(name) => {
            format!("group {name} was gone from the broker and was made anew where it had been")
        }
    }
}

fn retry(topic: Arc<SynapseTopic>, error: &TopicError, _: Arc<Topics>) -> Action {
    tracing::warn!(%error, topic = topic.name_any(), namespace = topic.namespace(), "unable to reconcile; trying again");
    Action::requeue(jitter::lengthen(Duration::from_secs(5)))
}

#[cfg(test)]
mod tests;
