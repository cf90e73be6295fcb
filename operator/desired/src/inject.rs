//! What is added to a pod that asks for a cache: one pure function from a pod to a patch that only adds.

mod bounds;
mod containers;
mod findings;
mod overrides;
mod patch;
mod pod;
mod quantity;
mod request;
mod resources;
mod service;
mod sidecar;
mod status;
mod volumes;

use std::collections::BTreeMap;

use json_patch::Patch;
use serde_json::Value;
use synapse_api::cache::SynapseCacheSpec;
use synapse_api::reasons::{Problem, SkipReason};

pub use bounds::Bounds;
pub use findings::{Finding, Noted};
pub use status::{InjectedStatus, injected_status};

use findings::Findings;
use overrides::Overrides;
use patch::Additions;
use pod::Pod;
use volumes::Volumes;

/// Name of the injected container.
pub const SIDECAR: &str = "synapse-sidecar";

/// What is known outside of the pod, as far as its namespace goes.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// The pod's namespace; a pod's own metadata may not name it yet.
    pub namespace: &'a str,
    /// What the namespace's label `synapse.dev/inject` says.
    pub namespace_label: Option<&'a str>,
    /// The caches of the namespace.
    pub caches: Option<&'a BTreeMap<String, SynapseCacheSpec>>,
    /// What the namespace allows a container.
    pub bounds: Option<&'a Bounds>,
    /// What the operator was installed with.
    pub installed: &'a Installed,
}

/// What the operator was installed with.
#[derive(Clone, Debug)]
pub struct Installed {
    /// Image of the sidecar where nothing else is said.
    pub image: String,
    /// Pull policy of the sidecar's image; the cluster's rule when absent.
    pub pull_policy: Option<String>,
    /// Version that is written into the status annotation.
    pub version: String,
}

/// What became of a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It gets these parts.
    Injected(Injected),
    /// It stays as it is.
    Skipped(SkipReason),
}

/// What is added to a pod, and what was wrong with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Injected {
    /// Operations that only add.
    pub patch: Patch,
    /// What could not be followed; the pod works all the same.
    pub problems: Vec<Finding>,
}

/// What is added to `pod`, given what is known of its `world`.
///
/// Calling it again on the result adds nothing, unless someone else added containers in between: then they
/// get the socket too.
#[must_use]
pub fn inject(pod: &Value, world: &World<'_>) -> Outcome {
    match attempt(pod, world) {
        Ok(injected) => Outcome::Injected(injected),
        Err(reason) => Outcome::Skipped(reason),
    }
}

fn attempt(pod: &Value, world: &World<'_>) -> Result<Injected, SkipReason> {
    let pod = Pod::read(pod).ok_or(SkipReason::NotAPod)?;
    let cache = request::cache(&pod, world)?;
    request::refuse_what_cannot_work(&pod)?;
    let before = request::injected_before(&pod)?;

    let mut findings = Findings::default();
    let mut additions = Additions::default();
    let spec = world.caches.and_then(|caches| caches.get(cache));
    let volumes = before.as_ref().map_or_else(|| Volumes::named_for(&pod), Volumes::named_before);
    let service = service::name(&pod, &mut findings);

    containers::give_socket(&pod, &volumes, service.as_deref(), &mut additions, &mut findings);
    let Some(before) = before else {
        if spec.is_none() {
            findings.add(
                Problem::CacheNotFound,
                format!("no SynapseCache {cache} in this namespace yet: memory alone until it exists"),
            );
        }
        let overrides = Overrides::read(&pod, &mut findings);
        let container = sidecar::container(
            &pod,
            cache,
            spec,
            &overrides,
            &volumes,
            service.as_deref(),
            world,
            &mut findings,
        );
        let own_volumes = volumes.definitions(cache, spec);
        status::label(&pod, cache, &mut additions, &mut findings);
        let status =
            InjectedStatus::new(cache, world.installed, &volumes, &container, &own_volumes, &findings);
        additions.extend(pod.spec(), &["spec"], "volumes", own_volumes);
        additions.insert_first(pod.spec(), &["spec"], "initContainers", vec![container]);
        status.write(&pod, &mut additions);
        return Ok(Injected { patch: additions.into_patch(), problems: findings.list().to_vec() });
    };
    // A later pass notes what it found, and tells only that.
    let problems = findings.beside(&before.problems);
    let status = before.clone().with(&problems);
    if status != before {
        status.write(&pod, &mut additions);
    }
    if additions.is_empty() {
        return Err(SkipReason::AlreadyInjected);
    }
    Ok(Injected { patch: additions.into_patch(), problems })
}
