//! Where each topic was found last, for when its Secret or the object itself is gone.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kube::runtime::reflector::{ObjectRef, Store};
use synapse_api::topic::SynapseTopic;
use synapse_desired::topic::Owner;

use super::Topics;
use crate::broker::pool::Address;
use crate::jitter;

/// How often objects that are gone are looked for.
const SWEEP: Duration = Duration::from_secs(5);
/// How often a claim is given back before it is left to whoever wants the stream next.
const ATTEMPTS: u32 = 5;

/// Addresses and streams by namespace and name.
#[derive(Default)]
pub(super) struct Known(Mutex<HashMap<(String, String), Place>>);

/// Where a topic was found.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) address: Address,
    pub(super) stream: String,
    /// Uid of the object that was there.
    uid: String,
    attempts: u32,
}

impl Known {
    /// Notes where a topic is now; answers with where it was, if that is somewhere else.
    pub(super) fn remember(
        &self,
        owner: &Owner,
        address: Address,
        stream: &str,
        uid: String,
    ) -> Option<Place> {
        let place = Place { address, stream: stream.to_owned(), uid, attempts: 0 };
        let (now, before) = self.map(|known| (place.clone(), known.insert(key(owner), place)));
        before.filter(|before| before.address.broker() != now.address.broker() || before.stream != now.stream)
    }

    pub(super) fn place(&self, owner: &Owner) -> Option<Place> {
        self.map(|known| known.get(&key(owner)).cloned())
    }

    pub(super) fn forget(&self, owner: &Owner) {
        self.map(|known| known.remove(&key(owner)));
    }

    fn map<T>(&self, work: impl FnOnce(&mut HashMap<(String, String), Place>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Gives back the claims of objects that are gone: under `Retain` nothing else would.
///
/// A claim that cannot be given back is void, and whoever wants the stream next takes it over.
pub(super) async fn release_orphans(topics: &Topics, store: Store<SynapseTopic>) {
    if store.wait_until_ready().await.is_err() {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(jitter::lengthen(SWEEP)).await;
        let lives =
            |namespace: &str, name: &str| store.get(&ObjectRef::new(name).within(namespace)).is_some();
        sweep(topics, lives).await;
    }
}

/// Gives back what belongs to objects that do not live any more.
pub(super) async fn sweep(topics: &Topics, lives: impl Fn(&str, &str) -> bool) {
    let places = topics.known.map(|known| known.clone());
    for ((namespace, name), place) in places {
        if lives(&namespace, &name) {
            continue;
        }
        let owner = Owner { cluster: topics.cluster.clone(), namespace, name };
        topics.state.forget_topic(&owner.namespace, &owner.name);
        let released = release(topics, owner.clone(), &place).await;
        if released || place.attempts + 1 >= ATTEMPTS {
            tracing::info!(topic = owner.name, namespace = owner.namespace, released, "claim given back");
            topics.known.forget(&owner);
        } else {
            topics.known.map(|known| {
                if let Some(place) = known.get_mut(&key(&owner)) {
                    place.attempts += 1;
                }
            });
        }
    }
}

/// Gives back what was claimed at `place`, and says whether there is nothing left to do about it.
pub(super) async fn release(topics: &Topics, owner: Owner, place: &Place) -> bool {
    let Ok(stream) = topics.stream(&place.address, &place.stream, owner, &place.uid) else { return true };
    let released = stream.release().await;
    topics.pool.told(&place.address, released.as_ref().err());
    released.is_ok()
}

fn key(owner: &Owner) -> (String, String) {
    (owner.namespace.clone(), owner.name.clone())
}
