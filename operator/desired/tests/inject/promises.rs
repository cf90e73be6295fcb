//! What holds for every pod that is injected, checked without the injector's own words.

use std::collections::HashSet;

use json_patch::PatchOperation;
use serde_json::Value;
use synapse_api::reasons::SkipReason;
use synapse_desired::inject::{Injected, Outcome, SIDECAR};

use crate::world::{Namespace, patched};

/// Panics when what was made of `before` breaks one of the promises.
pub(crate) fn hold(namespace: &Namespace, before: &Value, injected: &Injected) {
    let after = patched(before, injected);
    only_adds(before, injected, &after);
    foreign_containers_are_untouched(before, &after);
    sidecar_is_first_and_native(before, &after);
    nothing_is_doubled_or_dangling(before, &after);
    assert!(!restricted(before) || restricted(&after), "a restricted pod is restricted no more\n{after:#}");
    assert!(!guaranteed(before) || guaranteed(&after), "a Guaranteed pod is Guaranteed no more\n{after:#}");
    assert_eq!(
        namespace.inject(&after),
        Outcome::Skipped(SkipReason::AlreadyInjected),
        "a second pass changes something\n{after:#}"
    );
    assert_eq!(namespace.inject(before), Outcome::Injected(injected.clone()), "twice is not the same");
}

fn only_adds(before: &Value, injected: &Injected, after: &Value) {
    for operation in injected.patch.iter() {
        assert!(matches!(operation, PatchOperation::Add(_)), "{operation} is no addition");
    }
    let (mut old, mut new) = (before.clone(), after.clone());
    // The one thing that is ever replaced: our own annotation, by which nobody selects.
    for pod in [&mut old, &mut new] {
        if let Some(annotations) = pod["metadata"].get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.shift_remove("synapse.dev/status");
        }
    }
    assert!(contains(&new, &old), "something was lost between\n{old:#}\nand\n{new:#}");
}

/// Whether `new` has all of `old`, in its order.
fn contains(new: &Value, old: &Value) -> bool {
    match (new, old) {
        (Value::Object(new), Value::Object(old)) => {
            old.iter().all(|(key, old)| new.get(key).is_some_and(|new| old.is_null() || contains(new, old)))
        }
        (Value::Array(new), Value::Array(old)) => {
            let mut rest = new.iter();
            old.iter().all(|old| rest.any(|new| new["name"] == old["name"] && contains(new, old)))
        }
        (new, old) => new == old,
    }
}

/// The containers that got nothing are the same to the byte, and those that got something gained only a mount
/// and variables.
fn foreign_containers_are_untouched(before: &Value, after: &Value) {
    for field in ["containers", "initContainers"] {
        for old in list(before, &format!("/spec/{field}")) {
            let new =
                list(after, &format!("/spec/{field}")).iter().find(|new| new["name"] == old["name"]).unwrap();
            let strip = |container: &Value| {
                let mut container = container.as_object().unwrap().clone();
                container.shift_remove("env");
                container.shift_remove("volumeMounts");
                Value::Object(container).to_string()
            };
            assert_eq!(strip(new), strip(old));
            let asked = before["metadata"]["annotations"]["synapse.dev/containers"].as_str();
            if field == "initContainers" && asked.is_none() {
                assert_eq!(
                    new.to_string(),
                    old.to_string(),
                    "an init container that nobody named was changed"
                );
            }
        }
    }
}

/// Where it was there before, others may have been put before it since.
fn sidecar_is_first_and_native(before: &Value, after: &Value) {
    let is_ours = |container: &&Value| container["name"] == SIDECAR;
    let inits = list(after, "/spec/initContainers");
    let sidecar = inits.iter().find(is_ours).unwrap();
    assert_eq!(sidecar["restartPolicy"], "Always");
    assert!(list(before, "/spec/initContainers").iter().any(|c| is_ours(&c)) || inits[0] == *sidecar);
}

fn nothing_is_doubled_or_dangling(before: &Value, after: &Value) {
    let unique = |items: &[Value], field: &str| {
        let mut seen = HashSet::new();
        items.iter().filter_map(|item| item[field].as_str()).all(|value| seen.insert(value.to_owned()))
    };
    let volumes = list(after, "/spec/volumes");
    assert!(unique(volumes, "name") || !unique(list(before, "/spec/volumes"), "name"), "{after:#}");
    for field in ["/spec/containers", "/spec/initContainers"] {
        for new in list(after, field) {
            let none = Value::Null;
            let old = list(before, field).iter().find(|old| old["name"] == new["name"]).unwrap_or(&none);
            for (items, key) in [("/env", "name"), ("/volumeMounts", "mountPath")] {
                let was = unique(list(old, items), key);
                assert!(!was || unique(list(new, items), key), "{items} doubled in\n{new:#}");
            }
            for mount in list(new, "/volumeMounts") {
                let known = volumes.iter().any(|volume| volume["name"] == mount["name"]);
                let old_mount = list(old, "/volumeMounts").contains(mount);
                assert!(known || old_mount, "{mount} is a mount of no volume");
            }
        }
    }
}

/// The rules of the Pod Security Standard "restricted" that a container can break.
fn restricted(pod: &Value) -> bool {
    let spec = &pod["spec"];
    let pod_security = &spec["securityContext"];
    let host = ["hostNetwork", "hostPID", "hostIPC"].iter().any(|field| spec[*field] == true);
    let volumes = list(pod, "/spec/volumes").iter().all(|volume| {
        let allowed = [
            "configMap",
            "csi",
            "downwardAPI",
            "emptyDir",
            "ephemeral",
            "persistentVolumeClaim",
            "projected",
            "secret",
        ];
        volume.as_object().unwrap().keys().all(|key| key == "name" || allowed.contains(&key.as_str()))
    });
    let containers = ["/spec/containers", "/spec/initContainers"].iter().flat_map(|field| list(pod, field));
    let all = containers.into_iter().all(|container| {
        let own = &container["securityContext"];
        let non_root = own["runAsNonRoot"] == true
            || (own["runAsNonRoot"].is_null() && pod_security["runAsNonRoot"] == true);
        let user = if own["runAsUser"].is_null() { &pod_security["runAsUser"] } else { &own["runAsUser"] };
        let seccomp = if own["seccompProfile"].is_null() {
            &pod_security["seccompProfile"]
        } else {
            &own["seccompProfile"]
        };
        let added = list(own, "/capabilities/add");
        own["allowPrivilegeEscalation"] == false
            && own["privileged"] != true
            && list(own, "/capabilities/drop").contains(&Value::from("ALL"))
            && added.iter().all(|capability| capability == "NET_BIND_SERVICE")
            && non_root
            && *user != 0
            && ["RuntimeDefault", "Localhost"].iter().any(|kind| seccomp["type"] == *kind)
            && list(container, "/ports").iter().all(|port| port["hostPort"].as_i64().unwrap_or(0) == 0)
    });
    !host && volumes && all
}

fn guaranteed(pod: &Value) -> bool {
    // A budget of the whole pod decides alone, and no injector touches it.
    let budget = !pod["spec"]["resources"].is_null();
    !budget
        && ["/spec/containers", "/spec/initContainers"].iter().flat_map(|field| list(pod, field)).all(
            |container| {
                ["cpu", "memory"].iter().all(|resource| {
                    let limit = &container["resources"]["limits"][*resource];
                    let request = &container["resources"]["requests"][*resource];
                    !limit.is_null() && (request.is_null() || amount(request) == amount(limit))
                })
            },
        )
}

/// Enough of Kubernetes' amounts for what the tests write.
fn amount(value: &Value) -> f64 {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (number, factor) = match text.as_str() {
        t if t.ends_with('m') => (&t[..t.len() - 1], 0.001),
        t if t.ends_with("Mi") => (&t[..t.len() - 2], 1_048_576.0),
        t if t.ends_with("Gi") => (&t[..t.len() - 2], 1_073_741_824.0),
        t => (t, 1.0),
    };
    number.parse::<f64>().unwrap() * factor
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
