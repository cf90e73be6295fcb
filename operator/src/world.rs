//! What the webhook must know without asking: watches caches, labelled namespaces and LimitRanges, and publishes them.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{LimitRange, LimitRangeSpec, Namespace};
use kube::api::PartialObjectMeta;
use kube::core::ObjectMeta;
use kube::runtime::reflector::{Store, store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use synapse_api::cache::{SynapseCache, SynapseCacheSpec};
use synapse_api::names;
use synapse_desired::inject::Bounds;
use synapse_webhook::world::{Known, Worlds};
use tokio::sync::watch;

/// The namespaces that carry the label `synapse.dev/inject`.
pub(crate) type Namespaces = Store<PartialObjectMeta<Namespace>>;

/// So many events that come together are published once.
const TOGETHER: usize = 1024;

/// The labelled namespaces, and the watch that fills them and `worlds` until it is dropped.
///
/// `known` becomes true once both kinds were listed. A kind that the API server does not know counts as listed: the
/// annotation alone injects, whether the definitions are installed or not.
pub(crate) fn watch(
    client: &Client,
    worlds: Arc<Worlds>,
    known: watch::Sender<bool>,
) -> (Namespaces, impl Future<Output = ()> + use<>) {
    let (caches, caches_writer) = store::<SynapseCache>();
    let (namespaces, namespaces_writer) = store::<PartialObjectMeta<Namespace>>();
    let page = || watcher::Config::default().page_size(500);
    let cache_news = watcher(Api::<SynapseCache>::all(client.clone()), page())
        .default_backoff()
        .modify(|cache| {
            cache.metadata = identity(&mut cache.metadata);
            cache.status = None;
        })
        .reflect(caches_writer)
        .map(|event| Listed::Caches.after(event));
    let namespace_news =
        watcher(Api::<PartialObjectMeta<Namespace>>::all(client.clone()), page().labels(names::INJECT))
            .default_backoff()
            .modify(|namespace| {
                let labels = namespace.metadata.labels.take();
                namespace.metadata = identity(&mut namespace.metadata);
                namespace.metadata.labels = labels;
            })
            .reflect(namespaces_writer)
            .map(|event| Listed::Namespaces.after(event));
    // Nobody waits for these: without them a sidecar is what it is in a namespace that bounds nothing.
    let (limits, limits_writer) = store::<LimitRange>();
    let limit_news = watcher(Api::<LimitRange>::all(client.clone()), page())
        .default_backoff()
        .modify(|range| range.metadata = identity(&mut range.metadata))
        .reflect(limits_writer)
        .map(|_| None);
    let published = namespaces.clone();
    let publishing = async move {
        let news = futures::stream::select(cache_news, namespace_news);
        let mut news = futures::stream::select(news, limit_news).ready_chunks(TOGETHER).boxed();
        let (mut all_caches, mut all_namespaces) = (false, false);
        while let Some(chunk) = news.next().await {
            all_caches |= chunk.contains(&Some(Listed::Caches));
            all_namespaces |= chunk.contains(&Some(Listed::Namespaces));
            let (caches, namespace_labels) = (by_name(&caches), labels(&published));
            worlds.publish(Known { caches, namespace_labels, bounds: bounds(&limits) });
            known.send_if_modified(|known| !std::mem::replace(known, all_caches && all_namespaces) && *known);
        }
    };
    (namespaces, publishing)
}

/// What has been listed completely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listed {
    Caches,
    Namespaces,
}

impl Listed {
    /// This kind, if `event` says that all of it is known; an error is logged.
    fn after<K>(self, event: watcher::Result<watcher::Event<K>>) -> Option<Self> {
        match event {
            Ok(watcher::Event::InitDone) => Some(self),
            Ok(_) => None,
            Err(error) if is_unknown_kind(&error) => {
                tracing::warn!(
                    "the kind {self:?} is not known to the API server: install the definitions of synapse.dev; looking again"
                );
                Some(self)
            }
            Err(error) => {
                tracing::warn!(%error, kind = ?self, "unable to watch; trying again");
                None
            }
        }
    }
}

fn is_unknown_kind(error: &watcher::Error) -> bool {
    let source = match error {
        watcher::Error::InitialListFailed(source) | watcher::Error::WatchStartFailed(source) => source,
        _ => return false,
    };
    matches!(source, kube::Error::Api(status) if status.code == 404)
}

fn by_name(store: &Store<SynapseCache>) -> BTreeMap<String, BTreeMap<String, SynapseCacheSpec>> {
    let mut caches = BTreeMap::<_, BTreeMap<_, _>>::new();
    for cache in store.state() {
        let namespace = cache.namespace().unwrap_or_default();
        caches.entry(namespace).or_default().insert(cache.name_any(), cache.spec.clone());
    }
    caches
}

fn labels(store: &Namespaces) -> BTreeMap<String, String> {
    let value = |namespace: &PartialObjectMeta<Namespace>| namespace.labels().get(names::INJECT).cloned();
    store.state().iter().filter_map(|namespace| Some((namespace.name_any(), value(namespace)?))).collect()
}

fn bounds(store: &Store<LimitRange>) -> BTreeMap<String, Bounds> {
    let ranges = store.state();
    let mut by_namespace = BTreeMap::<String, Vec<&LimitRangeSpec>>::new();
    for range in &ranges {
        by_namespace.entry(range.namespace().unwrap_or_default()).or_default().extend(range.spec.as_ref());
    }
    by_namespace.into_iter().map(|(namespace, ranges)| (namespace, Bounds::of(ranges))).collect()
}

/// What a watch needs of an object, without what only costs memory.
fn identity(whole: &mut ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: whole.name.take(),
        namespace: whole.namespace.take(),
        uid: whole.uid.take(),
        resource_version: whole.resource_version.take(),
        ..ObjectMeta::default()
    }
}
