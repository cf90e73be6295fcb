//! A topic that is being deleted: whatever is gone with it, this ends.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use std::time::Duration;
use synapse_api::conditions::Reason;
use synapse_api::topic::SynapseTopic;
use synapse_desired::topic::deletion::{Next, next};
use synapse_desired::topic::status::{COUNTERS, Held, Outcome, status};
use synapse_desired::topic::{Seen, wanted};

use super::finalizer::{self, FINALIZER};
use super::{TopicError, Topics};
use crate::broker::error::BrokerError;
use crate::broker::pool::Address;
use crate::broker::{Deleted, Stream};
use crate::jitter;
use crate::references::{self, Unresolved};
use crate::report::reference;

/// Pause between two tries.
const RETRY: Duration = Duration::from_secs(5);

/// How a try to delete ended.
enum Tried {
    Gone,
    Foreign,
    Waiting(Held, Seen),
    Failed(Reason, String),
}

/// One step of a deletion at `now`.
pub(super) async fn reconcile(
    topic: &SynapseTopic,
    topics: &Topics,
    now: Timestamp,
) -> Result<Action, TopicError> {
    topics.state.forget_topic(&topic.namespace().unwrap_or_default(), &topic.name_any());
    if !topic.finalizers().iter().any(|name| name == FINALIZER) {
        return Ok(Action::await_change());
    }
    let deleted_at = topic.metadata.deletion_timestamp.as_ref().map_or(now, |time| time.0);
    match next(&topic.spec, deleted_at, now) {
        Next::Release => let_go(topic, topics).await,
        Next::GiveUp => {
            let note = "the deadline of the deletion passed: the stream is retained on its broker and belongs to nobody";
            say(topic, topics, true, Reason::DeadlinePassed.as_str(), note.to_owned()).await;
            let_go(topic, topics).await
        }
        Next::Delete { drained, until } => match attempt(topic, topics, drained).await {
            Tried::Gone => {
                say(topic, topics, false, "Deleted", "the stream is gone from its broker".to_owned()).await;
                finish(topic, topics).await
            }
            Tried::Foreign => {
                let note = "the stream belongs to someone else, or to nobody, and was left alone";
                say(topic, topics, true, "NotDeleted", note.to_owned()).await;
                finish(topic, topics).await
            }
            Tried::Waiting(held, seen) => {
                let outcome =
                    Outcome::Worked { seen, differences: Vec::new(), held: None, draining: Some(held) };
                wait(topic, topics, &outcome, now, until).await
            }
            Tried::Failed(reason, message) => {
                wait(topic, topics, &Outcome::Unavailable(reason, message), now, until).await
            }
        },
    }
}

async fn attempt(topic: &SynapseTopic, topics: &Topics, drained: bool) -> Tried {
    let (addresses, unresolved) = addresses(topic, topics).await;
    let mut failed = unresolved.map(|unresolved| (unresolved.reason, unresolved.message));
    for address in &addresses {
        match attempt_at(address, topic, topics, drained).await {
            Ok(tried) => return tried,
            Err(error) => failed = failed.or(Some((error.reason(), error.to_string()))),
        }
    }
    let (reason, message) = failed.unwrap_or((Reason::InvalidSpec, "there is no address".to_owned()));
    Tried::Failed(reason, message)
}

async fn attempt_at(
    address: &Address,
    topic: &SynapseTopic,
    topics: &Topics,
    drained: bool,
) -> Result<Tried, BrokerError> {
    let stream = stream(address, topic, topics)?;
    let tried = async {
        Ok(match stream.delete(drained).await? {
            Deleted::Gone => Tried::Gone,
            Deleted::Foreign => Tried::Foreign,
            Deleted::Waiting(held) => Tried::Waiting(held, stream.observe().await?),
        })
    };
    let tried = tried.await;
    topics.pool.told(address, tried.as_ref().err());
    tried
}

/// Where the stream may be: by what the object says now, and where it was found last, should that lead nowhere.
async fn addresses(topic: &SynapseTopic, topics: &Topics) -> (Vec<Address>, Option<Unresolved>) {
    let redis = &topic.spec.broker.redis;
    let owner = topics.owner(topic);
    let resolved =
        references::address(&topics.client, &owner.namespace, &redis.connection, redis.tls.as_ref()).await;
    let (mut addresses, unresolved) = match resolved {
        Ok(address) => (vec![address], None),
        Err(unresolved) => (Vec::new(), Some(unresolved)),
    };
    addresses.extend(topics.known.place(&owner).map(|place| place.address));
    addresses.dedup();
    (addresses, unresolved)
}

fn stream(address: &Address, topic: &SynapseTopic, topics: &Topics) -> Result<Stream, BrokerError> {
    let name = topic.spec.name.clone().unwrap_or_else(|| topic.name_any());
    topics.stream(address, &name, topics.owner(topic), &topic.uid().unwrap_or_default())
}

async fn wait(
    topic: &SynapseTopic,
    topics: &Topics,
    outcome: &Outcome,
    now: Timestamp,
    until: Timestamp,
) -> Result<Action, TopicError> {
    let before = topic.status.clone().unwrap_or_default();
    let wanted = wanted(&topic.name_any(), &topic.spec).ok();
    let after = status(wanted.as_ref(), outcome, &before, topic.metadata.generation, Time(now));
    topics.reports.status(topic, topic.status.as_ref(), &after, &COUNTERS).await?;
    let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
    Ok(Action::requeue(jitter::lengthen(RETRY).min(left.max(Duration::from_millis(100)))))
}

/// Gives the claim back if that can be done now, and lets the object go either way.
async fn let_go(topic: &SynapseTopic, topics: &Topics) -> Result<Action, TopicError> {
    for address in addresses(topic, topics).await.0 {
        let Ok(stream) = stream(&address, topic, topics) else { continue };
        match stream.release().await {
            Ok(_) => break,
            Err(error) => {
                tracing::info!(%error, topic = topic.name_any(), "the claim could not be given back; it is void all the same");
            }
        }
    }
    finish(topic, topics).await
}

async fn finish(topic: &SynapseTopic, topics: &Topics) -> Result<Action, TopicError> {
    finalizer::keep(&topics.client, topic, false).await?;
    topics.known.forget(&topics.owner(topic));
    Ok(Action::await_change())
}

async fn say(topic: &SynapseTopic, topics: &Topics, warning: bool, reason: &str, note: String) {
    topics.reports.event(&reference(topic), warning, reason, "Delete", note).await;
}
