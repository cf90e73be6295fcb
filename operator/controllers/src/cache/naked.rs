//! Pods that ask for a sidecar and have none: watched by their metadata, explained by events, counted.
//!
//! Why a pod was not injected is asked of the function that injects: what it would inject now, the webhook never saw.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, StreamExt};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::PartialObjectMeta;
use kube::core::{ObjectMeta, Selector, SelectorExt};
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client, ResourceExt};
use synapse_api::cache::SynapseCache;
use synapse_api::names;
use synapse_api::reasons::SkipReason;
use synapse_desired::cache::pods::annotation;
use synapse_desired::inject::{Installed, Outcome, World, inject};

use super::pods::ALIVE;
use super::{Caches, Figures};
use crate::call::{CallError, limited};
use crate::report::{Reports, reference};

/// How many pods are explained at a time.
const AT_ONCE: usize = 8;

type Meta = PartialObjectMeta<Pod>;
type Namespaces = Store<PartialObjectMeta<Namespace>>;

/// The pods without sidecar, as far as they ask for one.
#[derive(Clone)]
pub(super) struct Naked {
    pods: Store<Meta>,
    namespaces: Namespaces,
    verdicts: Arc<Mutex<HashMap<String, SkipReason>>>,
    figures: Figures,
}

/// What explaining works with.
#[derive(Clone)]
struct Judge {
    client: Client,
    reports: Reports,
    installed: Installed,
    webhook: String,
    naked: Naked,
}

/// Watches the metadata of all pods that carry no label of ours.
pub(super) fn watch(
    caches: &Caches,
) -> (Naked, impl Stream<Item = Result<Meta, watcher::Error>> + Send + use<>) {
    let (pods, writer) = store();
    let (namespaces, figures) = (caches.namespaces.clone(), caches.figures.clone());
    let naked = Naked { pods, namespaces, verdicts: Arc::default(), figures };
    let judge = Judge {
        client: caches.client.clone(),
        reports: caches.reports.clone(),
        installed: caches.installed.clone(),
        webhook: caches.webhook.clone(),
        naked: naked.clone(),
    };
    let api = Api::<Meta>::all(caches.client.clone());
    let config =
        watcher::Config::default().labels(&format!("!{}", names::CACHE)).fields(ALIVE).page_size(500);
    // Which namespaces carry the label must be known before the first pod is judged by it.
    let known = caches.namespaces.clone();
    let known = futures::stream::once(async move { known.wait_until_ready().await.is_ok() });
    let events = known.flat_map(move |_| watcher(api.clone(), config.clone()).boxed());
    let namespaces = caches.namespaces.clone();
    let events = events.default_backoff().modify(prune);
    let events = events.filter_map(move |event| std::future::ready(only_requesting(event, &namespaces)));
    let news = reflector(writer, events)
        .touched_objects()
        .map(move |touched| {
            let judge = judge.clone();
            async move {
                if let Ok(pod) = &touched {
                    judge.consider(pod).await;
                }
                touched
            }
        })
        .buffer_unordered(AT_ONCE);
    (naked, news)
}

/// Keeps out of memory what does not ask: that is most pods of a cluster. One that ceases to ask is as good as gone.
fn only_requesting(
    event: watcher::Result<Event<Meta>>,
    namespaces: &Namespaces,
) -> Option<watcher::Result<Event<Meta>>> {
    let asks = |pod: &Meta| request(&pod.metadata, namespaces).is_some();
    match event {
        Ok(Event::InitApply(pod)) if !asks(&pod) => None,
        Ok(Event::Apply(pod)) if !asks(&pod) => Some(Ok(Event::Delete(pod))),
        event => Some(event),
    }
}

// === impl Naked ===

impl Naked {
    /// From a pod to the cache that it asks for.
    pub(super) fn requests(&self) -> impl Fn(Meta) -> Option<ObjectRef<SynapseCache>> + Send + use<> {
        let namespaces = self.namespaces.clone();
        move |pod| Some(ObjectRef::new(&request(&pod.metadata, &namespaces)?).within(&pod.namespace()?))
    }

    /// How many pods ask for this cache and did not reach the webhook.
    pub(super) fn count(&self, namespace: &str, cache: &str) -> usize {
        let verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = |pod: &Meta| {
            let verdict = pod.metadata.uid.as_ref().and_then(|uid| verdicts.get(uid));
            matches!(verdict, Some(SkipReason::WebhookNotReached))
                && pod.metadata.namespace.as_deref() == Some(namespace)
                && request(&pod.metadata, &self.namespaces).is_some_and(|name| name == cache)
        };
        self.pods.state_filter(counts).len()
    }

    /// Notes `verdict`, and says whether it is news.
    fn note(&self, uid: String, verdict: SkipReason) -> bool {
        let before = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner).insert(uid, verdict);
        self.figures.judged(before, Some(verdict));
        before != Some(verdict)
    }

    fn forget(&self, uid: &str) {
        let before = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
        self.figures.judged(before, None);
    }
}

// === impl Judge ===

impl Judge {
    /// Explains `pod`, unless that was done, or forgets it if it is gone.
    async fn consider(&self, pod: &Meta) {
        let uid = pod.uid().unwrap_or_default();
        if self
            .naked
            .pods
            .get(&ObjectRef::from_obj(pod))
            .is_none_or(|known| known.uid().as_ref() != Some(&uid))
        {
            return self.naked.forget(&uid);
        }
        if pod.metadata.deletion_timestamp.is_some()
            || request(&pod.metadata, &self.naked.namespaces).is_none()
        {
            return self.naked.forget(&uid);
        }
        let verdict = match self.verdict(pod).await {
            Ok(Some(verdict)) => verdict,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, pod = pod.name_any(), namespace = pod.namespace(), "unable to tell why a pod has no sidecar");
                return;
            }
        };
        if self.naked.note(uid, verdict) {
            let note = verdict.explanation().to_owned();
            let mut object = reference(pod);
            (object.kind, object.api_version) = (Some("Pod".to_owned()), Some("v1".to_owned()));
            self.reports.event(&object, true, verdict.as_str(), "Inject", note).await;
        }
    }

    async fn verdict(&self, meta: &Meta) -> Result<Option<SkipReason>, CallError> {
        let namespace = meta.namespace().unwrap_or_default();
        let pods = Api::<Pod>::namespaced(self.client.clone(), &namespace);
        let Some(pod) = limited("get a pod", pods.get_opt(&meta.name_any())).await? else { return Ok(None) };
        let pod = serde_json::to_value(pod).unwrap_or_default();
        let label = label(&namespace, &self.naked.namespaces);
        let world = World {
            namespace: &namespace,
            namespace_label: label.as_deref(),
            caches: None,
            bounds: None,
            installed: &self.installed,
        };
        match inject(&pod, &world) {
            Outcome::Injected(_) if self.is_excluded(&namespace).await? => {
                Ok(Some(SkipReason::ExcludedNamespace))
            }
            Outcome::Injected(_) => Ok(Some(SkipReason::WebhookNotReached)),
            Outcome::Skipped(
                SkipReason::OptedOut | SkipReason::NotRequested | SkipReason::AlreadyInjected,
            ) => Ok(None),
            Outcome::Skipped(reason) => Ok(Some(reason)),
        }
    }

    /// Whether no entry of the webhook configuration lets pods of this namespace through.
    async fn is_excluded(&self, namespace: &str) -> Result<bool, CallError> {
        let configurations = Api::<MutatingWebhookConfiguration>::all(self.client.clone());
        let namespaces = Api::<Namespace>::all(self.client.clone());
        let configuration =
            limited("get the webhook configuration", configurations.get_opt(&self.webhook)).await?;
        let found = limited("get a namespace", namespaces.get_metadata_opt(namespace)).await?;
        let (Some(configuration), Some(found)) = (configuration, found) else { return Ok(false) };
        let labels = found.metadata.labels.unwrap_or_default();
        let lets_through = |selector: &k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector| {
            Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(&labels))
        };
        let mut entries = configuration.webhooks.iter().flatten();
        Ok(!entries.any(|entry| entry.namespace_selector.as_ref().is_none_or(lets_through)))
    }
}

/// The cache that a pod asks for; nothing where it does not ask, or opts out.
fn request(pod: &ObjectMeta, namespaces: &Namespaces) -> Option<String> {
    let said = annotation(pod, names::INJECT).map(ToOwned::to_owned);
    said.or_else(|| label(pod.namespace.as_deref()?, namespaces)).filter(|name| name != names::OPT_OUT)
}

fn label(namespace: &str, namespaces: &Namespaces) -> Option<String> {
    namespaces.get(&ObjectRef::new(namespace))?.metadata.labels.as_ref()?.get(names::INJECT).cloned()
}

/// Leaves what is needed to know whether a pod asks: most pods of a cluster pass through here.
fn prune(pod: &mut Meta) {
    let whole = std::mem::take(&mut pod.metadata);
    pod.metadata = ObjectMeta {
        name: whole.name,
        namespace: whole.namespace,
        uid: whole.uid,
        resource_version: whole.resource_version,
        deletion_timestamp: whole.deletion_timestamp,
        annotations: whole.annotations.and_then(|mut annotations| {
            annotations.retain(|key, _| key == names::INJECT);
            (!annotations.is_empty()).then_some(annotations)
        }),
        ..ObjectMeta::default()
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(annotations: serde_json::Value) -> Meta {
        let pod =
            json!({"metadata": {"name": "web", "namespace": "shop", "uid": "u", "annotations": annotations}});
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn only_pods_that_ask_are_kept_and_one_that_ceases_to_ask_is_let_go() {
        let (namespaces, mut labels) = store();
        let asking = || pod(json!({names::INJECT: "catalog"}));
        let kept = |event| only_requesting(Ok(event), &namespaces).map(Result::unwrap);
        assert!(matches!(kept(Event::InitApply(asking())), Some(Event::InitApply(_))));
        assert!(matches!(kept(Event::Apply(asking())), Some(Event::Apply(_))));
        assert!(kept(Event::InitApply(pod(json!({})))).is_none());
        assert!(matches!(kept(Event::Apply(pod(json!({})))), Some(Event::Delete(_))));
        let opted_out = pod(json!({names::INJECT: names::OPT_OUT}));
        assert!(matches!(kept(Event::Apply(opted_out.clone())), Some(Event::Delete(_))));
        // In a namespace that asks for all of its pods, who says nothing asks too.
        let labelled = json!({"metadata": {"name": "shop", "labels": {names::INJECT: "catalog"}}});
        labels.apply_watcher_event(&Event::Apply(serde_json::from_value(labelled).unwrap()));
        assert!(matches!(kept(Event::Apply(pod(json!({})))), Some(Event::Apply(_))));
        assert!(matches!(kept(Event::Apply(opted_out)), Some(Event::Delete(_))));
    }
}
