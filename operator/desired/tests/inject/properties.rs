//! Pods that nobody wrote: whatever they are, the promises hold and nothing panics.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::sample::select;
use serde_json::{Map, Value, json};
use synapse_desired::inject::{Outcome, injected_status};

use crate::promises;
use crate::world::Namespace;

proptest! {
    #[test]
    fn whatever_the_pod_the_promises_hold(pod in pods()) {
        let namespace = Namespace::usual();
        if let Outcome::Injected(injected) = namespace.inject(&pod) {
            promises::hold(&namespace, &pod, &injected);
        }
    }

    #[test]
    fn restricted_guaranteed_pods_are_always_injected(
        mut pod in pods(),
        cache in select(vec!["sessions", "catalog", "features", "unknown"]),
    ) {
        let namespace = Namespace::usual();
        pod["metadata"]["annotations"] = json!({"synapse.dev/inject": cache});
        pod["spec"]["os"] = json!({"name": "linux"});
        pod["spec"]["securityContext"] = json!({"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}});
        for field in ["containers", "initContainers"] {
            for container in pod["spec"].get_mut(field).and_then(Value::as_array_mut).into_iter().flatten() {
                container["securityContext"] = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
                container["resources"] = json!({"limits": {"cpu": "250m", "memory": "128Mi"}, "requests": {"cpu": "0.25"}});
            }
        }
        match namespace.inject(&pod) {
            Outcome::Injected(injected) => promises::hold(&namespace, &pod, &injected),
            Outcome::Skipped(reason) => panic!("{reason:?}\n{pod:#}"),
        }
    }

    #[test]
    fn what_is_no_pod_never_panics(value in json_values()) {
        let namespace = Namespace::usual();
        let _ = namespace.inject(&value);
        let _ = namespace.inject(&json!({"metadata": {"annotations": {"synapse.dev/inject": "sessions"}}, "spec": value}));
        let _ = namespace.inject(&json!({
            "metadata": {"annotations": {"synapse.dev/inject": "sessions"}},
            "spec": {"containers": [{"name": "a", "env": value.clone(), "volumeMounts": value.clone()}], "volumes": value}
        }));
    }

    #[test]
    fn a_status_that_someone_wrote_never_panics(text in ".{0,200}") {
        let _ = injected_status(&text);
    }
}

fn json_values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z/]{0,12}".prop_map(Value::from),
    ];
    let key =
        select(vec!["name", "spec", "metadata", "containers", "initContainers", "env", "volumeMounts", "x"]);
    leaf.prop_recursive(4, 32, 5, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((key.clone(), inner), 0..5).prop_map(|pairs| Value::Object(
                pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            )),
        ]
    })
}

fn pods() -> impl Strategy<Value = Value> {
    let annotations = vec((select(ANNOTATIONS.to_vec()), select(VALUES.to_vec())), 0..6);
    let inject =
        select(vec!["sessions", "catalog", "features", "unknown", "sessions", "false", "true", "NOT", ""]);
    let volumes = vec(
        select(vec!["synapse", "synapse-2", "synapse-config", "synapse-credentials", "data", "run"]),
        0..4,
    );
    let shape = (
        annotations,
        inject,
        volumes,
        option::of(any::<bool>()),
        option::of(select(vec!["linux", "windows"])),
    );
    (shape, containers("app", 1..4), option::of(containers("init", 0..3)), any::<bool>()).prop_map(
        |((annotations, inject, mut volumes, host_network, os), apps, inits, budget)| {
            let mut map: Map<String, Value> =
                annotations.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
            map.insert("synapse.dev/inject".to_owned(), inject.into());
            volumes.sort_unstable();
            volumes.dedup();
            let volumes: Vec<Value> = volumes
                .into_iter()
                .map(|name| if name == "run" { json!({"name": name, "configMap": {"name": "c"}}) } else { json!({"name": name, "emptyDir": {}}) })
                .collect();
            let mut spec = json!({"containers": apps, "volumes": volumes, "fieldOfTheFuture": {"deep": [1, {"x": null}]}});
            if let Some(inits) = inits {
                spec["initContainers"] = inits.into();
            }
            if let Some(host_network) = host_network {
                spec["hostNetwork"] = host_network.into();
            }
            if let Some(os) = os {
                spec["os"] = json!({"name": os});
            }
            if budget {
                spec["resources"] = json!({"limits": {"memory": "2Gi"}});
            }
            let labels = json!({"app": "p", "synapse.dev/cache": "old"});
            let labels = if host_network.is_some() { labels } else { Value::Null };
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "annotations": map, "labels": labels}, "spec": spec})
        },
    )
}

fn containers(prefix: &'static str, count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Value>> {
    vec(container(), count).prop_map(move |containers| {
        let named = |(at, mut container): (usize, Value)| {
            container["name"] = format!("{prefix}-{at}").into();
            container
        };
        containers.into_iter().enumerate().map(named).collect()
    })
}

fn container() -> impl Strategy<Value = Value> {
    let env =
        option::of(vec(select(vec!["SYNAPSE_SOCKET", "SYNAPSE_POD", "SYNAPSE_SERVICE", "PATH", "A"]), 0..4));
    let paths = vec![
        "/run/synapse",
        "/run/synapse/",
        "/run",
        "/var/run/synapse",
        "/run/synapse/x",
        "/run/synapses",
        "/data",
    ];
    let mounts =
        option::of(vec((select(vec!["synapse", "run", "data"]), select(paths), any::<bool>()), 0..3));
    let resources = option::of(select(vec![
        json!({"limits": {"cpu": "1", "memory": "1Gi"}}),
        json!({"limits": {"cpu": 1, "memory": "256Mi"}, "requests": {"cpu": "1000m", "memory": "256Mi"}}),
        json!({"requests": {"cpu": "100m", "ephemeral-storage": "1Gi"}}),
        json!({}),
    ]));
    (env, mounts, resources, any::<bool>()).prop_map(|(env, mounts, resources, port)| {
        let mut container =
            json!({"name": "", "image": "registry.example.com/app:1", "novelty": [null, {"a": 1}]});
        if let Some(mut env) = env {
            env.sort_unstable();
            env.dedup();
            container["env"] = env.into_iter().map(|name| json!({"name": name, "value": "mine"})).collect();
        }
        if let Some(mut mounts) = mounts {
            mounts.dedup_by_key(|mount| mount.1);
            container["volumeMounts"] = mounts
                .into_iter()
                .map(
                    |(name, path, read_only)| json!({"name": name, "mountPath": path, "readOnly": read_only}),
                )
                .collect();
        }
        if let Some(resources) = resources {
            container["resources"] = resources;
        }
        if port {
            container["ports"] = json!([{"containerPort": 9464}]);
        }
        container
    })
}

const ANNOTATIONS: [&str; 10] = [
    "synapse.dev/containers",
    "synapse.dev/sidecar-cpu-request",
    "synapse.dev/sidecar-cpu-limit",
    "synapse.dev/sidecar-memory-request",
    "synapse.dev/sidecar-memory-limit",
    "synapse.dev/sidecar-image",
    "synapse.dev/sidecar-log-level",
    "synapse.dev/service",
    "synapse.dev/publishes",
    "synapse.dev/status",
];

const VALUES: [&str; 16] = [
    "*",
    "app-0",
    "app-0, init-1",
    "init-0,nobody",
    "50m",
    "2",
    "0",
    "-1",
    "1e3",
    "64Mi",
    "0.0001",
    "warn",
    "ü",
    "",
    "registry.example.com/x:y",
    "{\"cache\":\"a\",\"version\":\"\",\"hash\":\"\",\"volume\":\"synapse\"}",
];
