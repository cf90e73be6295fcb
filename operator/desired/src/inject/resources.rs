//! What the sidecar requests and may not exceed, so that the pod stays what it was: admissible, and Guaranteed.

use serde_json::{Map, Value, json};
use synapse_api::cache::SynapseCacheSpec;
use synapse_api::names;
use synapse_api::reasons::Problem;
use synapse_api::sidecar::Amounts;
use synapse_config::footprint::memory_for;
use synapse_config::quantity::parse_bytes;
use synapse_config::resolved::{DEFAULT_CAPACITY, resolve};
use synapse_config::written::{Config, Memory};

use super::bounds::Bounds;
use super::findings::Findings;
use super::overrides::{Overrides, is_cpu, is_memory};
use super::pod::Pod;
use super::quantity::millis;

/// Enough for some thousands of requests a second; bursts may take the limit.
const CPU_REQUEST: &str = "50m";
/// Ten times the request, see [`RATIO`].
const CPU_LIMIT: &str = "500m";
/// The most that a limit is of its request where only one of the two is said: a LimitRange may bound the ratio,
/// and refuses the pod when the sidecar exceeds it.
const RATIO: u128 = 10;
/// The resource of logs and files.
const STORAGE: &str = "ephemeral-storage";
/// Ephemeral storage is only spoken of where the pod's own containers do, since a quota may demand it.
const STORAGE_REQUEST: &str = "16Mi";
/// Room for the logs that a kubelet keeps of a container.
const STORAGE_LIMIT: &str = "256Mi";

/// Requests and limits of the sidecar, all of them explicit: a quota refuses a container that leaves one out.
pub(super) fn resources(
    pod: &Pod<'_>,
    spec: Option<&SynapseCacheSpec>,
    overrides: &Overrides<'_>,
    bounds: Option<&Bounds>,
    findings: &mut Findings,
) -> Value {
    let guaranteed = is_guaranteed(pod);
    let own = spec.and_then(|spec| spec.sidecar.as_ref()).and_then(|sidecar| sidecar.resources.as_ref());
    let requests = own.and_then(|own| own.requests.as_ref());
    let limits = own.and_then(|own| own.limits.as_ref());
    let mut usable = |amount: Option<&String>, is_usable: fn(&str) -> bool| {
        let amount = amount?;
        if !is_usable(amount) {
            findings.add(
                Problem::InvalidCacheSpec,
                format!(
                    "sidecar.resources: {amount:?} is no amount that a pod could have; the default holds"
                ),
            );
        }
        is_usable(amount).then(|| amount.clone())
    };
    let mut cpu_of =
        |amounts: Option<&Amounts>| usable(amounts.and_then(|amounts| amounts.cpu.as_ref()), is_cpu);
    let (cpu_request, cpu_limit) = (cpu_of(requests), cpu_of(limits));
    let mut memory_of =
        |amounts: Option<&Amounts>| usable(amounts.and_then(|amounts| amounts.memory.as_ref()), is_memory);
    let (memory_request, memory_limit) = (memory_of(requests), memory_of(limits));
    let capacity = capacity(spec, findings);
    let needed = needed_for(capacity);

    // The cache completes the defaults, and the pod's annotations complete what the cache says.
    let in_cpu = |millis: u128| format!("{millis}m");
    let cpu = Said { request: cpu_request, limit: cpu_limit }.completed(CPU_REQUEST, CPU_LIMIT, in_cpu);
    let cpu = Said::by(overrides.cpu_request, overrides.cpu_limit)
        .completed(&cpu.request, &cpu.limit, in_cpu)
        .settled(guaranteed, (names::CPU_REQUEST, overrides.cpu_request), findings)
        .fitted("cpu", bounds, in_cpu);
    let in_memory = |millis: u128| mebibytes(millis / 1000);
    let memory = Said { request: memory_request, limit: memory_limit }.completed(&needed, &needed, in_memory);
    let memory = Said::by(overrides.memory_request, overrides.memory_limit)
        .completed(&memory.request, &memory.limit, in_memory)
        .settled(guaranteed, (names::MEMORY_REQUEST, overrides.memory_request), findings)
        .fitted("memory", bounds, in_bytes);
    for (key, said, holds) in [
        (names::CPU_LIMIT, overrides.cpu_limit, &cpu.limit),
        (names::MEMORY_LIMIT, overrides.memory_limit, &memory.limit),
    ] {
        if let Some(said) = said.filter(|said| millis(said) != millis(holds)) {
            findings.add(
                Problem::InvalidOverride,
                format!("{key}: {said} is not what the namespace's LimitRange allows: {holds} holds"),
            );
        }
    }
    let (needed, limit) = (millis(&needed).unwrap_or_default(), millis(&memory.limit).unwrap_or_default());
    if limit < needed && !has_budget(pod, "limits", "memory") {
        findings.add(
            Problem::LimitBelowCapacity,
            format!(
                "the sidecar's memory limit {} holds less than the cache's capacity {capacity}: it keeps what fits",
                memory.limit
            ),
        );
    }

    let (mut requests, mut limits) = (Map::new(), Map::new());
    for (resource, amounts) in [("cpu", cpu), ("memory", memory)] {
        // A budget of the whole pod must hold the sum of what its containers request: ours then draws on it, unnamed.
        if has_budget(pod, "limits", resource) {
            continue;
        }
        // A limit alone would become the request, too.
        let budgeted = has_budget(pod, "requests", resource);
        requests.insert(resource.to_owned(), if budgeted { "0".into() } else { amounts.request.into() });
        limits.insert(resource.to_owned(), amounts.limit.into());
    }
    let storage = Both { request: STORAGE_REQUEST.to_owned(), limit: STORAGE_LIMIT.to_owned() };
    let storage = storage.fitted(STORAGE, bounds, in_bytes);
    for (kind, amounts, amount) in
        [("requests", &mut requests, storage.request), ("limits", &mut limits, storage.limit)]
    {
        let pointer = format!("/resources/{kind}/{STORAGE}");
        if pod.containers().iter().any(|container| container.pointer(&pointer).is_some()) {
            amounts.insert(STORAGE.to_owned(), amount.into());
        }
    }
    json!({"requests": requests, "limits": limits})
}

/// The capacity that the cache says, unless no sidecar could have it: the pod would wait for a node for ever.
fn capacity<'a>(spec: Option<&'a SynapseCacheSpec>, findings: &mut Findings) -> &'a str {
    let said = spec.map_or(SynapseCacheSpec::DEFAULT_CAPACITY, SynapseCacheSpec::capacity);
    let memory = Memory { capacity: Some(said.to_owned()), ..Memory::default() };
    match resolve(&Config { memory: Some(memory), ..Config::default() }) {
        Ok(_) => said,
        Err(problems) => {
            let default = SynapseCacheSpec::DEFAULT_CAPACITY;
            for problem in problems.0 {
                let (path, message) = (problem.path, problem.message);
                findings.add(
                    Problem::InvalidCacheSpec,
                    format!("{path} {said:?}: {message}; the sidecar is sized for {default}"),
                );
            }
            default
        }
    }
}

/// What is said of one resource.
struct Said {
    request: Option<String>,
    limit: Option<String>,
}

/// Both amounts of one resource.
struct Both {
    request: String,
    limit: String,
}

impl Said {
    fn by(request: Option<&str>, limit: Option<&str>) -> Self {
        Self { request: request.map(str::to_owned), limit: limit.map(str::to_owned) }
    }

    /// Completes what is said by the defaults, drawn along where they would exceed [`RATIO`].
    fn completed(self, request: &str, limit: &str, write: impl Fn(u128) -> String) -> Both {
        let amount = |text: &str| millis(text).unwrap_or_default();
        let (request, limit) = match (self.request, self.limit) {
            (Some(request), Some(limit)) => (request, limit),
            (None, None) => (request.to_owned(), limit.to_owned()),
            (Some(request), None) => {
                let most = amount(&request) * RATIO;
                let limit = if amount(limit) > most { write(most) } else { limit.to_owned() };
                let limit = if amount(&request) > amount(&limit) { request.clone() } else { limit };
                (request, limit)
            }
            (None, Some(limit)) => {
                let least = amount(&limit).div_ceil(RATIO);
                let request = if amount(request) < least { write(least) } else { request.to_owned() };
                let request = if amount(&request) > amount(&limit) { limit.clone() } else { request };
                (request, limit)
            }
        };
        Both { request, limit }
    }
}

impl Both {
    /// A request never exceeds its limit, and is its limit in a Guaranteed pod; an annotation that says
    /// otherwise is a finding.
    fn settled(
        self,
        guaranteed: bool,
        (key, overridden): (&str, Option<&str>),
        findings: &mut Findings,
    ) -> Self {
        let Self { request, limit } = self;
        let exceeds = millis(&request) > millis(&limit);
        if !exceeds && !guaranteed {
            return Self { request, limit };
        }
        if overridden.is_some() && millis(&request) != millis(&limit) {
            let why = if guaranteed { "the pod is Guaranteed" } else { "it exceeds the limit" };
            findings.add(
                Problem::InvalidOverride,
                format!("{key}: {request} cannot hold, since {why}: the request follows the limit {limit}"),
            );
        }
        Self { request: limit.clone(), limit }
    }

    /// The nearest amounts that the namespace allows; what it allows already stays as it is written.
    fn fitted(self, resource: &str, bounds: Option<&Bounds>, write: impl Fn(u128) -> String) -> Self {
        let (Some(bounds), Some(request), Some(limit)) = (bounds, millis(&self.request), millis(&self.limit))
        else {
            return self;
        };
        let fitted = bounds.fit(resource, request, limit);
        let written = |text: String, was: u128, is: u128| if was == is { text } else { write(is) };
        Self {
            request: written(self.request, request, fitted.0),
            limit: written(self.limit, limit, fitted.1),
        }
    }
}

/// Memory for a cache of `capacity`, in whole mebibytes.
fn needed_for(capacity: &str) -> String {
    mebibytes(memory_for(bytes_of(capacity)).into())
}

/// Bytes of a capacity that was resolved before.
fn bytes_of(capacity: &str) -> u64 {
    parse_bytes(capacity).unwrap_or(DEFAULT_CAPACITY)
}

/// Bytes as they are most readable; never more than `millis`, which may be the most that there is.
fn in_bytes(millis: u128) -> String {
    let bytes = millis / 1000;
    if bytes.is_multiple_of(1 << 20) { mebibytes(bytes) } else { bytes.to_string() }
}

fn mebibytes(bytes: u128) -> String {
    format!("{}Mi", bytes.div_ceil(1 << 20))
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
    has_budget(pod, "requests", resource) || has_budget(pod, "limits", resource)
}

/// Whether the pod as a whole says its `kind` of a resource.
fn has_budget(pod: &Pod<'_>, kind: &str, resource: &str) -> bool {
    let said = pod.spec().get("resources").and_then(|budget| budget.get(kind)?.get(resource));
    said.is_some_and(|amount| !amount.is_null())
}

#[cfg(test)]
mod tests {
    use super::{CPU_LIMIT, CPU_REQUEST, Said, needed_for};

    #[test]
    fn what_is_said_draws_along_what_is_not() {
        for (said, expected) in [
            ((None, None), ("50m", "500m")),
            ((Some("10m"), None), ("10m", "100m")),
            ((Some("2"), None), ("2", "2")),
            ((Some("100m"), None), ("100m", "500m")),
            ((None, Some("2")), ("200m", "2")),
            ((None, Some("20m")), ("20m", "20m")),
            ((None, Some("250m")), ("50m", "250m")),
            ((Some("1m"), Some("4")), ("1m", "4")),
        ] {
            let (request, limit): (Option<&str>, Option<&str>) = said;
            let both =
                Said::by(request, limit).completed(CPU_REQUEST, CPU_LIMIT, |millis| format!("{millis}m"));
            assert_eq!((both.request.as_str(), both.limit.as_str()), expected);
        }
    }

    #[test]
    fn the_memory_limit_follows_the_capacity() {
        assert_eq!(needed_for("64Mi"), "128Mi");
        assert_eq!(needed_for("1Gi"), "1328Mi");
        assert_eq!(needed_for("1"), "49Mi");
        assert_eq!(needed_for("nonsense"), "128Mi");
    }
}
