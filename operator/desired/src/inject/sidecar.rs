//! The injected container: native, first, restricted.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use synapse_api::cache::SynapseCacheSpec;
use synapse_api::reasons::Problem;
use synapse_api::{names, paths};

use super::findings::Findings;
use super::overrides::Overrides;
use super::pod::Pod;
use super::resources::resources;
use super::volumes::Volumes;
use super::{SIDECAR, World, containers};

/// The user of the sidecar's image; named, since a pod may say another user for all its containers.
const USER: i32 = 65532;
/// The program in every image of the sidecar. By its path, since an image without a shell has no PATH either.
const PROGRAM: &str = "/synapse-sidecar";
/// Name of the admin port, by which monitors find it.
const ADMIN_PORT: &str = "synapse-metrics";

/// Settings that are found in a cache, where it is known, are passed over by those of the pod.
#[expect(clippy::too_many_arguments, reason = "each is one of the things that a container is made from")]
pub(super) fn container(
    pod: &Pod<'_>,
    cache: &str,
    spec: Option<&SynapseCacheSpec>,
    overrides: &Overrides<'_>,
    volumes: &Volumes,
    service: Option<&str>,
    world: &World<'_>,
    findings: &mut Findings,
) -> Value {
    let own = spec.and_then(|spec| spec.sidecar.as_ref());
    let image = overrides
        .image
        .or_else(|| own.and_then(|own| own.image.as_deref()))
        .unwrap_or(&world.installed.image);
    let mut container = Map::new();
    let mut set = |key: &str, value: Value| container.insert(key.to_owned(), value);
    set("name", SIDECAR.into());
    set("image", image.into());
    if let Some(policy) = &world.installed.pull_policy {
        set("imagePullPolicy", policy.as_str().into());
    }
    set("restartPolicy", "Always".into());
    set("args", json!(["--config", paths::CONFIG_FILE, "--socket", paths::SOCKET]));
    set("env", variables(pod, cache, overrides, service).into());
    if let Some(port) = own.and_then(|own| own.port).and_then(|port| admin_port(pod, port, findings)) {
        set("ports", json!([{"name": ADMIN_PORT, "containerPort": port, "protocol": "TCP"}]));
    }
    set("resources", resources(pod, spec, overrides, world.bounds, findings));
    // exec: no port of ours can collide with one of the app's. Ready means that the socket answers.
    set("startupProbe", probe("ready", 1, 1, 120));
    set("readinessProbe", probe("ready", 5, 2, 2));
    set("livenessProbe", probe("live", 10, 5, 3));
    set("terminationMessagePolicy", "FallbackToLogsOnError".into());
    set(
        "securityContext",
        json!({
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "privileged": false,
            "readOnlyRootFilesystem": true,
            "runAsGroup": USER,
            "runAsNonRoot": true,
            "runAsUser": USER,
            "seccompProfile": {"type": "RuntimeDefault"}
        }),
    );
    set(
        "volumeMounts",
        json!([
            {"name": volumes.socket, "mountPath": paths::SOCKET_DIR},
            {"name": volumes.config, "mountPath": paths::CONFIG_DIR, "readOnly": true},
            {"name": volumes.credentials, "mountPath": paths::CREDENTIALS_DIR, "readOnly": true}
        ]),
    );
    Value::Object(container)
}

fn variables(pod: &Pod<'_>, cache: &str, overrides: &Overrides<'_>, service: Option<&str>) -> Vec<Value> {
    let mut variables = containers::variables(service);
    let taken = ports_taken(pod);
    let more = [
        (names::ENV_CACHE, Some(cache)),
        (names::ENV_PUBLISHES, overrides.publishes.as_deref()),
        (names::ENV_CONSUMES, overrides.consumes.as_deref()),
        (names::ENV_PORTS_TAKEN, taken.as_deref()),
        (names::ENV_LOG_LEVEL, overrides.log_level.map(|level| level.as_str())),
    ];
    let said = more.into_iter().filter_map(|(name, value)| Some(json!({"name": name, "value": value?})));
    variables.extend(said);
    variables
}

fn probe(question: &str, period: i32, timeout: i32, failures: i32) -> Value {
    json!({
        "exec": {"command": [PROGRAM, "probe", question]},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures
    })
}

/// The ports on which this pod's sidecar opens no admin door: it starts first, and the cache's port, which is shared by
/// all of its pods and may change later, would be taken from the container that needs it.
fn ports_taken(pod: &Pod<'_>) -> Option<String> {
    if pod.on_host_network() {
        return Some(names::EVERY_PORT.to_owned());
    }
    let ports: BTreeSet<i64> = declared_ports(pod).collect();
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    (!ports.is_empty()).then(|| ports.join(","))
}

/// The TCP ports that the pod's containers declare.
fn declared_ports<'a>(pod: &Pod<'a>) -> impl Iterator<Item = i64> + use<'a> {
    let containers = pod.init_containers().iter().chain(pod.containers());
    let entries = containers.filter_map(|container| container.get("ports")?.as_array()).flatten();
    let tcp =
        entries.filter(|entry| matches!(entry.get("protocol").and_then(Value::as_str), None | Some("TCP")));
    tcp.filter_map(|entry| entry.get("containerPort")?.as_i64())
}

/// The admin port to declare, unless it stays closed.
fn admin_port(pod: &Pod<'_>, port: i32, findings: &mut Findings) -> Option<i32> {
    if pod.on_host_network() {
        findings.add(
            Problem::AdminPortOnNode,
            format!("the pod uses its node's network: the sidecar's admin port {port} would be one of the node and stays closed"),
        );
        return None;
    }
    if declared_ports(pod).any(|declared| declared == i64::from(port)) {
        findings.add(
            Problem::AdminPortTaken,
            format!(
                "a container of the pod declares the sidecar's admin port {port}: it stays closed in this pod"
            ),
        );
        return None;
    }
    Some(port)
}
