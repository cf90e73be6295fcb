//! What the sidecar requests and may not exceed, so that the pod stays what it was: admissible, and Guaranteed.

use serde_json::{Map, Value, json};
use synapse_api::cache::SynapseCacheSpec;
use synapse_api::names;
use synapse_api::reasons::Problem;
use synapse_api::sidecar::Amounts;

use super::findings::Findings;
use super::overrides::Overrides;
use super::pod::Pod;
use super::quantity::millis;

/// Enough for some thousands of requests a second; bursts may take the limit.
const CPU_REQUEST: &str = "50m";
/// Ten times the request: a common bound of a LimitRange's ratio.
const CPU_LIMIT: &str = "500m";
/// What the process needs beside its entries.
const MEMORY_BASE: u128 = 48 << 20;
/// Ephemeral storage is only spoken of where the pod's own containers do, since a quota may demand it.
const STORAGE_REQUEST: &str = "16Mi";
/// Room for the logs that a kubelet keeps of a container.
const STORAGE_LIMIT: &str = "256Mi";

/// Requests and limits of the sidecar, all of them explicit: a quota refuses a container that leaves one out.
pub(super) fn resources(
    pod: &Pod<'_>,
    spec: Option<&SynapseCacheSpec>,
    overrides: &Overrides<'_>,
    findings: &mut Findings,
) -> Value {
    let guaranteed = is_guaranteed(pod);
    let own = spec.and_then(|spec| spec.sidecar.as_ref()).and_then(|sidecar| sidecar.resources.as_ref());
    let requests = own.and_then(|own| own.requests.as_ref());
    let limits = own.and_then(|own| own.limits.as_ref());
    let cpu_of = |amounts: Option<&Amounts>| amounts.and_then(|amounts| amounts.cpu.clone());
    let memory_of = |amounts: Option<&Amounts>| amounts.and_then(|amounts| amounts.memory.clone());
    let capacity = spec.map_or(SynapseCacheSpec::DEFAULT_CAPACITY, SynapseCacheSpec::capacity);
    let needed = needed_for(capacity);

    let cpu = Pair {
        request: overrides.cpu_request.map(str::to_owned).or_else(|| cpu_of(requests)),
        limit: overrides.cpu_limit.map(str::to_owned).or_else(|| cpu_of(limits)),
    }
    .settle(CPU_REQUEST, CPU_LIMIT, guaranteed, (names::CPU_REQUEST, overrides.cpu_request), findings);
    let memory = Pair {
        request: overrides.memory_request.map(str::to_owned).or_else(|| memory_of(requests)),
        limit: overrides.memory_limit.map(str::to_owned).or_else(|| memory_of(limits)),
    }
    .settle(&needed, &needed, guaranteed, (names::MEMORY_REQUEST, overrides.memory_request), findings);
    if millis(&memory.1) < millis(capacity) {
        findings.add(
            Problem::LimitBelowCapacity,
            format!("the sidecar's memory limit {} cannot hold the cache's capacity {capacity}", memory.1),
        );
    }

    let (mut requests, mut limits) = (Map::new(), Map::new());
    for (resource, (request, limit)) in [("cpu", cpu), ("memory", memory)] {
        // A budget of the whole pod must hold the sum of its containers: ours then draws on it, unnamed.
        if !has_pod_budget(pod, resource) {
            requests.insert(resource.to_owned(), request.into());
            limits.insert(resource.to_owned(), limit.into());
        }
    }
    for (kind, amounts, amount) in
        [("requests", &mut requests, STORAGE_REQUEST), ("limits", &mut limits, STORAGE_LIMIT)]
    {
        let pointer = format!("/resources/{kind}/ephemeral-storage");
        if pod.containers().iter().any(|container| container.pointer(&pointer).is_some()) {
            amounts.insert("ephemeral-storage".to_owned(), amount.into());
        }
    }
    json!({"requests": requests, "limits": limits})
}

/// What is wanted of one resource: from the pod's annotations or else from the cache.
struct Pair {
    request: Option<String>,
    limit: Option<String>,
}

impl Pair {
    /// Request and limit, where what is said draws along what is not, and a request never exceeds its limit.
    fn settle(
        self,
        default_request: &str,
        default_limit: &str,
        guaranteed: bool,
        (key, overridden): (&str, Option<&str>),
        findings: &mut Findings,
    ) -> (String, String) {
        let limit = match (&self.limit, &self.request) {
            (Some(limit), _) => limit.clone(),
            (None, Some(request)) if millis(request) > millis(default_limit) => request.clone(),
            (None, _) => default_limit.to_owned(),
        };
        if guaranteed && overridden.is_some_and(|request| millis(request) != millis(&limit)) {
            findings.add(
                Problem::InvalidOverride,
                format!("{key}: the pod is Guaranteed, so that the request follows the limit {limit}"),
            );
        }
        let request = self.request.unwrap_or_else(|| default_request.to_owned());
        if guaranteed {
            return (limit.clone(), limit);
        }
        if millis(&request) > millis(&limit) {
            if overridden.is_some() {
                findings.add(
                    Problem::InvalidOverride,
                    format!("{key}: {request} exceeds the limit {limit}; the request follows the limit"),
                );
            }
            return (limit.clone(), limit);
        }
        (request, limit)
    }
}

/// Memory for a cache of `capacity`: a quarter more than its entries, and what the process itself needs, in
/// whole mebibytes.
fn needed_for(capacity: &str) -> String {
    let default = millis(SynapseCacheSpec::DEFAULT_CAPACITY).unwrap_or_default();
    let bytes = millis(capacity).unwrap_or(default) / 1000;
    format!("{}Mi", (bytes + bytes / 4 + MEMORY_BASE).div_ceil(1 << 20))
}

/// Whether Kubernetes classes the pod as Guaranteed: every container limits cpu and memory, and requests
/// exactly that, or says nothing of requests. Where the pod as a whole has a budget, that alone decides.
fn is_guaranteed(pod: &Pod<'_>) -> bool {
    let has_budget = ["cpu", "memory"].iter().any(|resource| has_pod_budget(pod, resource));
    !has_budget
        && pod.all_containers().all(|container| {
            ["cpu", "memory"].iter().all(|resource| {
                let amount = |kind: &str| container.pointer(&format!("/resources/{kind}/{resource}"));
                let limit = amount("limits").and_then(amount_of);
                let request = amount("requests").map_or(limit, amount_of);
                limit.is_some_and(|limit| limit > 0) && request == limit
            })
        })
}

fn amount_of(value: &Value) -> Option<u128> {
    match value {
        Value::String(text) => millis(text),
        other => millis(&other.to_string()),
    }
}

fn has_pod_budget(pod: &Pod<'_>, resource: &str) -> bool {
    let budget = pod.spec().get("resources");
    ["requests", "limits"]
        .iter()
        .any(|kind| budget.and_then(|budget| budget.get(kind)?.get(resource)).is_some())
}

#[cfg(test)]
mod tests {
    use super::needed_for;

    #[test]
    fn the_memory_limit_follows_the_capacity() {
        assert_eq!(needed_for("64Mi"), "128Mi");
        assert_eq!(needed_for("1Gi"), "1328Mi");
        assert_eq!(needed_for("1"), "49Mi");
        assert_eq!(needed_for("nonsense"), "128Mi");
    }
}
