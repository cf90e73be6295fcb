//! Which containers of a pod get the socket, and what each gets.

use serde_json::{Map, Value, json};
use synapse_api::reasons::Problem;
use synapse_api::{names, paths};

use super::SIDECAR;
use super::findings::Findings;
use super::patch::Additions;
use super::pod::{Pod, list, name};
use super::volumes::Volumes;

/// Kinds of volumes that are mounted read-only whatever the mount says: nothing can be made inside them.
const READ_ONLY_VOLUMES: [&str; 5] = ["configMap", "secret", "projected", "downwardAPI", "image"];

/// Adds mount and variables to every chosen container that lacks them.
pub(super) fn give_socket(
    pod: &Pod<'_>,
    volumes: &Volumes,
    service: Option<&str>,
    additions: &mut Additions,
    findings: &mut Findings,
) {
    let choice = Choice::read(pod, findings);
    let mut chosen = 0;
    let sidecar_at = pod.init_containers().iter().position(|container| name(container) == Some(SIDECAR));
    for (field, containers) in [("initContainers", pod.init_containers()), ("containers", pod.containers())] {
        for (at, container) in containers.iter().enumerate() {
            let (Some(object), Some(container)) = (container.as_object(), name(container)) else { continue };
            if !choice.includes(field, container) {
                continue;
            }
            chosen += 1;
            if field == "initContainers" && sidecar_at.is_some_and(|sidecar| at < sidecar) {
                findings.add(
                    Problem::StartsBeforeSidecar,
                    format!(
                        "init container {container} stands before the sidecar and runs before it answers"
                    ),
                );
            }
            give(pod, &["spec", field, &at.to_string()], object, volumes, service, additions, findings);
        }
    }
    if chosen == 0 {
        findings.add(
            Problem::NoContainerChosen,
            format!("{} chooses no container of this pod: nobody gets the socket", names::CONTAINERS),
        );
    }
}

fn give(
    pod: &Pod<'_>,
    path: &[&str],
    container: &Map<String, Value>,
    volumes: &Volumes,
    service: Option<&str>,
    additions: &mut Additions,
    findings: &mut Findings,
) {
    let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
    match place(pod, container, &volumes.socket) {
        Place::Ours => {}
        Place::Free => {
            let mount = json!({"name": volumes.socket, "mountPath": paths::SOCKET_DIR, "readOnly": true});
            additions.extend(container, path, "volumeMounts", vec![mount]);
        }
        Place::Taken(by) => {
            // A variable that names a path where nothing answers would be worse than none.
            findings.add(
                Problem::MountPathTaken,
                format!(
                    "container {name} mounts {by} where {} would be: it gets no socket",
                    paths::SOCKET_DIR
                ),
            );
            return;
        }
    }
    let own = list(container, "env").unwrap_or_default();
    let mut missing = Vec::new();
    for variable in variables(service) {
        let key = self::name_of(&variable);
        match own.iter().find(|own| super::pod::name(own) == Some(key)) {
            None => missing.push(variable),
            Some(own) if !same(own, &variable) => findings.add(
                Problem::VariableTaken,
                format!("container {name} sets {key} itself: its own value holds"),
            ),
            Some(_) => {}
        }
    }
    // First in the list, so that the container's own variables can refer to them: unix://$(SYNAPSE_SOCKET).
    additions.insert_first(container, path, "env", missing);
}

/// What every chosen container, and the sidecar itself, is told.
pub(super) fn variables(service: Option<&str>) -> Vec<Value> {
    let field = |path: &str| json!({"fieldRef": {"apiVersion": "v1", "fieldPath": path}});
    let mut variables = vec![
        json!({"name": names::ENV_SOCKET, "value": paths::SOCKET}),
        json!({"name": names::ENV_POD, "valueFrom": field("metadata.name")}),
        json!({"name": names::ENV_NAMESPACE, "valueFrom": field("metadata.namespace")}),
    ];
    variables.extend(service.map(|service| json!({"name": names::ENV_SERVICE, "value": service})));
    variables
}

fn name_of(variable: &Value) -> &str {
    name(variable).unwrap_or_default()
}

/// Whether a variable that is there already says what ours would.
fn same(own: &Value, ours: &Value) -> bool {
    let path = |variable: &Value| variable.pointer("/valueFrom/fieldRef/fieldPath").cloned();
    match ours.get("value") {
        Some(value) => own.get("value") == Some(value),
        None => path(own).is_some() && path(own) == path(ours),
    }
}

/// What a container has where the socket's directory would be mounted.
enum Place<'a> {
    Free,
    Ours,
    Taken(&'a str),
}

fn place<'a>(pod: &Pod<'_>, container: &'a Map<String, Value>, volume: &str) -> Place<'a> {
    for mount in list(container, "volumeMounts").unwrap_or_default() {
        let Some(path) = mount.get("mountPath").and_then(Value::as_str) else { continue };
        let place = normal(path);
        let inside = place
            .strip_prefix(paths::SOCKET_DIR)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let around = paths::SOCKET_DIR.strip_prefix(&place).is_some_and(|rest| rest.starts_with('/'));
        if place == paths::SOCKET_DIR && name(mount) == Some(volume) {
            return Place::Ours;
        }
        if inside || (around && cannot_hold_a_directory(pod, mount)) {
            return Place::Taken(path);
        }
    }
    Place::Free
}

/// A path as the kernel goes it: without empty parts, `.` and `..`, and without the link that images have from /var/run
/// to /run.
fn normal(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    if parts.starts_with(&["var", "run"]) {
        parts.remove(0);
    }
    parts.iter().flat_map(|part| ["/", part]).collect()
}

/// Whether the runtime could not make our directory inside what is mounted there.
fn cannot_hold_a_directory(pod: &Pod<'_>, mount: &Value) -> bool {
    let volume = pod.volumes().iter().find(|volume| name(volume).is_some() && name(volume) == name(mount));
    mount.get("readOnly").and_then(Value::as_bool) == Some(true)
        || volume.is_some_and(|volume| READ_ONLY_VOLUMES.iter().any(|kind| volume.get(kind).is_some()))
}

/// The containers that the annotation chooses.
enum Choice<'a> {
    EveryApp,
    Listed(Vec<&'a str>),
}

impl<'a> Choice<'a> {
    fn read(pod: &Pod<'a>, findings: &mut Findings) -> Self {
        let Some(text) = pod.annotation(names::CONTAINERS) else { return Self::EveryApp };
        let listed: Vec<&str> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        let known = |wanted: &str| pod.all_containers().any(|container| name(container) == Some(wanted));
        for wanted in listed.iter().filter(|wanted| **wanted != names::ALL_CONTAINERS && !known(wanted)) {
            findings.add(
                Problem::UnknownContainer,
                format!("{} lists {wanted:?}, which is no container of this pod", names::CONTAINERS),
            );
        }
        Self::Listed(listed)
    }

    fn includes(&self, field: &str, container: &str) -> bool {
        if container == SIDECAR {
            return false;
        }
        match self {
            Self::EveryApp => field == "containers",
            Self::Listed(listed) => listed.iter().any(|wanted| {
                *wanted == container || (*wanted == names::ALL_CONTAINERS && field == "containers")
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::normal;

    #[test]
    fn paths_are_compared_as_the_kernel_goes_them() {
        for path in
            ["/run/synapse", "/run//synapse/", "/run/./synapse", "/var/run/../run/synapse", "run/synapse"]
        {
            assert_eq!(normal(path), "/run/synapse", "{path}");
        }
        assert_eq!((normal("/"), normal("/../a")), (String::new(), "/a".to_owned()));
    }
}
