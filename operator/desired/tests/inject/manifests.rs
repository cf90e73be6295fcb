//! Workloads as real projects write them, each turned into the pod that its controller would create.

use std::path::Path;

use serde_json::{Value, json};
use synapse_desired::inject::{Outcome, SIDECAR};

use crate::promises;
use crate::world::{Namespace, patched};

#[test]
fn every_manifest_is_injected_and_every_promise_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests");
    let namespace = Namespace::usual();
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for workload in serde_saphyr::from_multiple::<Value>(&text).unwrap() {
            let Some(pod) = pod_of(&workload) else { continue };
            seen += 1;
            match namespace.inject(&pod) {
                Outcome::Injected(injected) => {
                    promises::hold(&namespace, &pod, &injected);
                    let after = patched(&pod, &injected);
                    let socket = after.to_string().matches("\"SYNAPSE_SOCKET\"").count();
                    assert!(socket >= 2, "{}: nobody but {SIDECAR} got the socket", path.display());
                }
                Outcome::Skipped(reason) => panic!("{}: {}", path.display(), reason.as_str()),
            }
        }
    }
    assert!(seen >= 100, "only {seen} manifests");
}

/// The pod that the workload's controller would create first.
fn pod_of(workload: &Value) -> Option<Value> {
    let kind = workload["kind"].as_str()?;
    let name = workload["metadata"]["name"].as_str()?;
    let template = match kind {
        "CronJob" => workload.pointer("/spec/jobTemplate/spec/template")?,
        "Deployment" | "StatefulSet" | "DaemonSet" | "Job" | "ReplicaSet" => {
            workload.pointer("/spec/template")?
        }
        _ => return None,
    };
    let mut pod = template.clone();
    if pod["metadata"].is_null() {
        pod["metadata"] = json!({});
    }
    let (owner, prefix) = match kind {
        "Deployment" => {
            pod["metadata"]["labels"]["pod-template-hash"] = json!("6d4cf56db6");
            ("ReplicaSet", format!("{name}-6d4cf56db6"))
        }
        "CronJob" => ("Job", format!("{name}-29384756")),
        _ => (kind, name.to_owned()),
    };
    pod["metadata"]["generateName"] = json!(format!("{prefix}-"));
    pod["metadata"]["ownerReferences"] = json!([
        {"apiVersion": "apps/v1", "kind": owner, "name": prefix, "uid": "0c1ad9bc-b3a5-4c0d-8f5e-0a1b2c3d4e5f", "controller": true}
    ]);
    Some(pod)
}
