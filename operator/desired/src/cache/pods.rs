//! What a pod shows of its sidecar: injected or not, answering or not, with which Secrets.

use k8s_openapi::api::core::v1::{
    Container, ContainerStatus, Pod, PodSpec, PodStatus, ResourceRequirements, Volume,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use synapse_api::cache::SynapseCacheSpec;
use synapse_api::{names, paths};
use synapse_config::footprint::capacity_within;
use synapse_config::quantity::parse_bytes;

use crate::inject::{InjectedStatus, Noted, SIDECAR, injected_status};

/// The resource whose limit is kept.
const MEMORY: &str = "memory";
/// What a sidecar's environment says to the registry.
const KEPT_VARIABLES: [&str; 3] = [names::ENV_SERVICE, names::ENV_PUBLISHES, names::ENV_CONSUMES];

/// What is kept of an injected pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Its name.
    pub name: String,
    /// The node that it runs on.
    pub node: Option<String>,
    /// The service that it belongs to.
    pub service: Option<String>,
    /// Topics that the service publishes to.
    pub publishes: Vec<String>,
    /// Topics that the service consumes.
    pub consumes: Vec<String>,
    /// Version of the operator that injected.
    pub version: String,
    /// Whether its sidecar answers.
    pub ready: bool,
    /// The Secrets that its sidecar finds: name, key, and path below the directory of credentials.
    pub credentials: Vec<Credential>,
    /// Its sidecar's memory limit, as written.
    pub memory_limit: Option<String>,
    /// What the webhook noted.
    pub problems: Vec<Noted>,
}

/// One key of a Secret, mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Name of the Secret.
    pub secret: String,
    /// The key in it.
    pub key: String,
    /// The file's path below the directory of credentials.
    pub path: String,
}

/// What `pod` shows, or nothing when it has no sidecar, has ended, or is going.
#[must_use]
pub fn observe(pod: &Pod) -> Option<Observed> {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if matches!(phase, Some("Succeeded" | "Failed")) || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let status = noted(&pod.metadata)?;
    // An annotation alone is not a sidecar: it may have been copied from a running pod.
    let spec = pod.spec.as_ref();
    let sidecar = spec.and_then(sidecar)?;
    let states = pod.status.as_ref().and_then(|status| status.init_container_statuses.as_ref());
    Some(Observed {
        name: pod.metadata.name.clone()?,
        node: spec.and_then(|spec| spec.node_name.clone()),
        service: spec.and_then(|spec| variable(spec, names::ENV_SERVICE)).map(str::to_owned),
        publishes: spec.map(|spec| topics(spec, names::ENV_PUBLISHES)).unwrap_or_default(),
        consumes: spec.map(|spec| topics(spec, names::ENV_CONSUMES)).unwrap_or_default(),
        version: status.version,
        ready: states.into_iter().flatten().any(|state| state.name == SIDECAR && state.ready),
        credentials: spec.map(credentials).unwrap_or_default(),
        memory_limit: memory_limit(sidecar).map(|limit| limit.0.clone()),
        problems: status.problems,
    })
}

/// The cache whose sidecar the pod got. The label may say something else, and then it was there first.
#[must_use]
pub fn cache(metadata: &ObjectMeta) -> Option<String> {
    Some(noted(metadata)?.cache)
}

fn noted(metadata: &ObjectMeta) -> Option<InjectedStatus> {
    injected_status(annotation(metadata, names::STATUS)?)
}

/// Leaves in `pod` only what [`observe`] and the events about it need: thousands of them are kept in memory.
pub fn prune(pod: &mut Pod) {
    let kept_annotation = |key: &String| [names::INJECT, names::STATUS].contains(&key.as_str());
    pod.metadata = ObjectMeta {
        name: pod.metadata.name.take(),
        namespace: pod.metadata.namespace.take(),
        uid: pod.metadata.uid.take(),
        resource_version: pod.metadata.resource_version.take(),
        deletion_timestamp: pod.metadata.deletion_timestamp.take(),
        labels: pod.metadata.labels.take().map(|mut labels| {
            labels.retain(|key, _| key == names::CACHE);
            labels
        }),
        annotations: pod.metadata.annotations.take().map(|mut annotations| {
            annotations.retain(|key, _| kept_annotation(key));
            annotations
        }),
        ..ObjectMeta::default()
    };
    if let Some(spec) = pod.spec.take() {
        let mounted = credentials_volume(&spec).cloned();
        let mut sidecars = spec.init_containers.unwrap_or_default();
        sidecars.retain(|container| container.name == SIDECAR);
        for sidecar in &mut sidecars {
            *sidecar = Container {
                name: SIDECAR.to_owned(),
                volume_mounts: sidecar.volume_mounts.take(),
                resources: memory_limit(sidecar).map(|limit| ResourceRequirements {
                    limits: Some([(MEMORY.to_owned(), limit.clone())].into()),
                    ..ResourceRequirements::default()
                }),
                env: sidecar.env.take().map(|mut variables| {
                    variables.retain(|variable| KEPT_VARIABLES.contains(&variable.name.as_str()));
                    variables
                }),
                ..Default::default()
            };
        }
        pod.spec = Some(PodSpec {
            init_containers: Some(sidecars),
            volumes: mounted.map(|volume| vec![volume]),
            node_name: spec.node_name,
            ..PodSpec::default()
        });
    }
    if let Some(status) = pod.status.take() {
        let mut states = status.init_container_statuses.unwrap_or_default();
        states.retain(|state| state.name == SIDECAR);
        for state in &mut states {
            *state = ContainerStatus { name: SIDECAR.to_owned(), ready: state.ready, ..Default::default() };
        }
        pod.status = Some(PodStatus {
            phase: status.phase,
            init_container_statuses: Some(states),
            ..Default::default()
        });
    }
}

/// Whether a pod that mounts `credentials` finds what `spec` names.
#[must_use]
pub fn mounts_what_is_named(credentials: &[Credential], spec: &SynapseCacheSpec) -> bool {
    let redis = spec.redis.as_ref();
    let url = redis.and_then(|redis| redis.connection.url_from.as_ref()).map(|from| &from.secret_key_ref);
    let ca = redis.and_then(|redis| redis.tls.as_ref()).map(|tls| &tls.ca_secret_ref);
    let named = [(url, paths::url_item as fn(&str) -> String), (ca, paths::ca_item)];
    named.into_iter().filter_map(|(reference, path)| Some((reference?, path))).all(|(reference, path)| {
        credentials.contains(&Credential {
            secret: reference.name.clone(),
            key: reference.key.clone(),
            path: path(&reference.key),
        })
    })
}

/// The value of the annotation `key`.
#[must_use]
pub fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// Whether a sidecar with `limit` holds less than `capacity` bytes; it keeps to what fits.
#[must_use]
pub fn holds_less(limit: Option<&str>, capacity: u64) -> bool {
    limit.and_then(|limit| parse_bytes(limit).ok()).is_some_and(|limit| capacity_within(limit) < capacity)
}

fn sidecar(spec: &PodSpec) -> Option<&Container> {
    spec.init_containers.iter().flatten().find(|container| container.name == SIDECAR)
}

fn memory_limit(container: &Container) -> Option<&Quantity> {
    container.resources.as_ref()?.limits.as_ref()?.get(MEMORY)
}

/// What the sidecar's environment says under `name`.
fn variable<'a>(spec: &'a PodSpec, name: &str) -> Option<&'a str> {
    let sidecar = sidecar(spec)?;
    sidecar.env.iter().flatten().find(|variable| variable.name == name)?.value.as_deref()
}

fn topics(spec: &PodSpec, name: &str) -> Vec<String> {
    variable(spec, name).into_iter().flat_map(|list| list.split(',')).map(str::to_owned).collect()
}

fn credentials(spec: &PodSpec) -> Vec<Credential> {
    let projected = credentials_volume(spec).and_then(|volume| volume.projected.as_ref());
    let sources = projected.and_then(|projected| projected.sources.as_deref()).unwrap_or_default();
    let secrets = sources.iter().filter_map(|source| source.secret.as_ref());
    secrets
        .flat_map(|secret| {
            secret.items.iter().flatten().map(|item| Credential {
                secret: secret.name.clone(),
                key: item.key.clone(),
                path: item.path.clone(),
            })
        })
        .collect()
}

/// The volume that the sidecar mounts as its credentials, whatever it is called.
fn credentials_volume(spec: &PodSpec) -> Option<&Volume> {
    let sidecar = sidecar(spec)?;
    let mounts = sidecar.volume_mounts.iter().flatten();
    let mount = mounts.into_iter().find(|mount| mount.mount_path == paths::CREDENTIALS_DIR)?;
    spec.volumes.iter().flatten().find(|volume| volume.name == mount.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::{Installed, Outcome, World, inject};
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    fn spec(secret: &str) -> SynapseCacheSpec {
        let connection = json!({"urlFrom": {"secretKeyRef": {"name": secret, "key": "dsn"}}});
        serde_json::from_value(json!({"redis": {"connection": connection}})).unwrap()
    }

    fn injected_pod() -> Value {
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "web-1", "uid": "u", "annotations": {
                names::INJECT: "catalog", names::SERVICE: "shop", names::PUBLISHES: "orders, news", "x": "y"
            }},
            "spec": {"nodeName": "n1", "containers": [{"name": "app", "image": "a"}], "volumes": [{"name": "data", "emptyDir": {}}]},
            "status": {"phase": "Running", "initContainerStatuses": [
                {"name": SIDECAR, "ready": true, "restartCount": 0, "image": "i", "imageID": ""}
            ]}
        });
        let installed = Installed { image: "s".into(), pull_policy: None, version: "1".into() };
        let caches = BTreeMap::from([("catalog".to_owned(), spec("auth"))]);
        let world = World {
            namespace: "shop",
            namespace_label: None,
            caches: Some(&caches),
            bounds: None,
            installed: &installed,
        };
        let Outcome::Injected(injected) = inject(&pod, &world) else { panic!("not injected") };
        json_patch::patch(&mut pod, &injected.patch).unwrap();
        pod
    }

    #[test]
    fn what_was_injected_is_observed_and_survives_pruning() {
        let whole: Pod = serde_json::from_value(injected_pod()).unwrap();
        let mut pruned = whole.clone();
        prune(&mut pruned);
        assert_eq!(observe(&pruned), observe(&whole));
        let observed = observe(&whole).unwrap();
        assert_eq!(observed.memory_limit.as_deref(), Some("128Mi"));
        assert!(!holds_less(Some("128Mi"), 64 << 20) && holds_less(Some("128Mi"), 65 << 20));
        assert!(!holds_less(None, u64::MAX));
        assert!(observed.ready && observed.problems.is_empty());
        assert_eq!((observed.node.as_deref(), observed.service.as_deref()), (Some("n1"), Some("shop")));
        assert_eq!((observed.publishes, observed.consumes.len()), (vec!["orders".into(), "news".into()], 0));
        assert!(mounts_what_is_named(&observed.credentials, &spec("auth")));
        assert!(!mounts_what_is_named(&observed.credentials, &spec("other")));
        assert!(mounts_what_is_named(&observed.credentials, &SynapseCacheSpec::default()));
        assert!(serde_json::to_string(&pruned).unwrap().len() < 1200);
    }

    #[test]
    fn pods_that_end_or_were_never_injected_are_not_counted() {
        let mut pod: Pod = serde_json::from_value(injected_pod()).unwrap();
        pod.status.as_mut().unwrap().phase = Some("Succeeded".into());
        assert_eq!(observe(&pod), None);
        let mut pod: Pod = serde_json::from_value(injected_pod()).unwrap();
        pod.metadata.annotations.as_mut().unwrap().remove(names::STATUS);
        assert_eq!(observe(&pod), None);
    }
}
