//! SynapseCache: observe, desire, apply.

mod figures;
mod instances;
mod naked;
mod pods;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{PartialObjectMeta, Patch, PatchParams};
use kube::runtime::controller::{Action, Config, Controller, Error};
use kube::runtime::reflector::Store;
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use synapse_api::cache::{SynapseCache, SynapseCacheStatus};
use synapse_api::conditions::Reason;
use synapse_api::names;
use synapse_desired::cache::config_map::{config_map, holds};
use synapse_desired::cache::status::{COUNTERS, Found, status};
use synapse_desired::inject::Installed;
use synapse_desired::sidecar_config::{Rendered, render};
use tracing::Instrument;

use crate::backoff::Backoff;
use crate::broker::pool::Pool;
use crate::call::{CallError, limited};
use crate::gather::gather;
use crate::jitter;
use crate::report::{FIELD_MANAGER, Reports, reference};
use crate::state::State;

pub use figures::Figures;

/// How soon what failed is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// The shortest time between two statuses of which only numbers differ.
const CALM: Duration = Duration::from_secs(5);
/// How long news are gathered: pods come and go in crowds.
const GATHER: Duration = Duration::from_millis(300);

/// What every reconciliation of a cache works with.
pub struct Caches {
    /// The API server.
    pub client: Client,
    /// Status and events.
    pub reports: Reports,
    /// Connections to the caches' Redis.
    pub pool: Arc<Pool>,
    /// How often a cache is looked at when nothing happens to it.
    pub resync: Duration,
    /// What the operator was installed with.
    pub installed: Installed,
    /// Name of the MutatingWebhookConfiguration, whose selectors say which namespaces are left out.
    pub webhook: String,
    /// The namespaces that carry the label `synapse.dev/inject`.
    pub namespaces: Store<PartialObjectMeta<Namespace>>,
    /// Where what is seen is shown, and how reconciling goes.
    pub state: Arc<State>,
    /// Where exact figures go.
    pub figures: Figures,
}

/// A cache's work, with the pods that are watched for it.
struct Work {
    caches: Caches,
    injected: Store<Pod>,
    naked: naked::Naked,
    backoff: Backoff,
}

/// Runs until `shutdown`; at most `workers` caches at a time.
pub async fn run(caches: Caches, workers: u16, shutdown: impl Future<Output = ()> + Send + Sync + 'static) {
    let api = Api::<SynapseCache>::all(caches.client.clone());
    let config_maps = Api::<ConfigMap>::all(caches.client.clone());
    let (injected, injected_news) = pods::injected(&caches.client, caches.reports.clone());
    let (naked, naked_news) = naked::watch(&caches);
    let requested = naked.requests();
    let injected_news = injected_news.filter_map(async |pod| pods::cache_of(&watched(pod)?));
    let naked_news = naked_news.filter_map(move |pod| std::future::ready(watched(pod).and_then(&requested)));
    let news = gather(futures::stream::select(injected_news.boxed(), naked_news.boxed()), GATHER);
    let work = Arc::new(Work { caches, injected, naked, backoff: Backoff::default() });
    let controller = Controller::new(api, watcher::Config::default().page_size(500));
    work.caches.state.follow(controller.store());
    let updates = controller
        .owns(config_maps, watcher::Config::default().labels(names::CACHE).page_size(500))
        .reconcile_on(news)
        .with_config(Config::default().concurrency(workers))
        .graceful_shutdown_on(shutdown)
        .run(reconcile, retry, Arc::clone(&work));
    let mut updates = std::pin::pin!(updates);
    while let Some(update) = updates.next().await {
        match update {
            Err(Error::ObjectNotFound(gone)) => {
                let namespace = gone.namespace.as_deref().unwrap_or_default();
                work.caches.figures.forget(namespace, &gone.name);
                work.caches.state.forget_cache(namespace, &gone.name);
                work.caches.state.gone::<SynapseCache>(namespace, &gone.name);
                work.backoff.reset(namespace, &gone.name);
            }
            Err(error) => tracing::debug!(%error, "cache controller"),
            Ok(_) => {}
        }
    }
}

/// What a watch brought, if it is no error.
fn watched<T>(news: watcher::Result<T>) -> Option<T> {
    news.inspect_err(|error| tracing::warn!(%error, "unable to watch pods; trying again")).ok()
}

async fn reconcile(cache: Arc<SynapseCache>, work: Arc<Work>) -> Result<Action, CallError> {
    let visit_of = work.caches.state.visit(&*cache);
    let visited = if cache.metadata.deletion_timestamp.is_some() {
        Ok(Action::await_change())
    } else {
        let span = tracing::info_span!(
            "reconcile SynapseCache",
            namespace = cache.namespace(),
            name = cache.name_any()
        );
        visit(&cache, &work).instrument(span).await
    };
    visit_of.done(visited.is_ok());
    visited
}

/// One visit: what should be mounted, which pods there are, what is said.
async fn visit(cache: &SynapseCache, work: &Work) -> Result<Action, CallError> {
    let caches = &work.caches;
    let (namespace, name) = (cache.namespace().unwrap_or_default(), cache.name_any());
    let rendered = render(&namespace, &name, &cache.spec);
    let mounted = match &rendered {
        Ok(rendered) => mount(caches, cache, &namespace, &name, rendered).await,
        Err(_) => Ok(()),
    };
    let observed = pods::of(&work.injected, &namespace, &name);
    let heard = instances::hear(caches, &namespace, &name, &cache.spec, observed).await;
    let again = if heard.unresolved.is_some() || heard.unheard.is_some() {
        work.backoff.failed(&namespace, &name).min(caches.resync)
    } else {
        work.backoff.reset(&namespace, &name);
        jitter::lengthen(caches.resync)
    };
    let found = Found {
        spec: &cache.spec,
        image: &caches.installed.image,
        rendered: rendered.as_ref().map_err(ToString::to_string),
        unmounted: mounted.as_ref().err().map(|error| (Reason::ConfigMapRefused, error.to_string())),
        unresolved: heard.unresolved,
        pods: &heard.pods,
        naked: work.naked.count(&namespace, &name),
        unheard: heard.unheard,
    };
    let before = cache.status.clone().unwrap_or_default();
    let after = status(&found, &before, cache.metadata.generation, &Time(Timestamp::now()));
    caches.figures.saw(&namespace, &name, after.pods.as_ref(), &heard.pods);
    caches.state.saw_cache(cache, &after, &heard.pods);
    let calm = summary(&before) == summary(&after) && caches.reports.was_just_written(cache, CALM);
    let again = if calm { again.min(CALM) } else { again };
    if !calm {
        caches.reports.status(cache, cache.status.as_ref(), &after, &COUNTERS).await?;
    }
    caches.reports.transition(&reference(cache), &before.conditions, &after.conditions).await;
    mounted.map(|()| Action::requeue(again))
}

/// What must be said at once when it changes; numbers of pods can wait for a moment.
fn summary(status: &SynapseCacheStatus) -> Vec<(&str, &str, &str)> {
    let said = status.conditions.iter();
    said.map(|condition| (&*condition.type_, &*condition.status, &*condition.reason)).collect()
}

/// Applies the ConfigMap, unless it is as it should be.
async fn mount(
    caches: &Caches,
    cache: &SynapseCache,
    namespace: &str,
    name: &str,
    rendered: &Rendered,
) -> Result<(), CallError> {
    let Some(owner) = cache.controller_owner_ref(&()) else { return Ok(()) };
    let wanted = config_map(namespace, name, owner, rendered);
    let api = Api::<ConfigMap>::namespaced(caches.client.clone(), namespace);
    let map = names::config_map(name);
    let there = limited("get a ConfigMap", api.get_opt(&map)).await?;
    if !there.is_some_and(|there| holds(&there, &wanted)) {
        let params = PatchParams::apply(FIELD_MANAGER).force();
        limited("apply a ConfigMap", api.patch(&map, &params, &Patch::Apply(&wanted))).await?;
    }
    Ok(())
}

fn retry(cache: Arc<SynapseCache>, error: &CallError, _: Arc<Work>) -> Action {
    tracing::warn!(%error, cache = cache.name_any(), namespace = cache.namespace(), "unable to reconcile; trying again");
    Action::requeue(jitter::lengthen(RETRY))
}

#[cfg(test)]
mod tests;
