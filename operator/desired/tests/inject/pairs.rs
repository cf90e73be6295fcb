//! Pod in, pod out: each pair is one decision, to be read like documentation.
//!
//! `SYNAPSE_WRITE_PAIRS=1 cargo test -p synapse-desired` writes the `.out.yaml` anew; read the difference.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::LimitRangeSpec;
use serde::Deserialize;
use serde_json::{Value, json};
use synapse_api::cache::SynapseCacheSpec;
use synapse_desired::inject::{Bounds, Outcome};

use crate::promises;
use crate::world::{Namespace, patched};

/// The world and the pod of a pair.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Input {
    #[serde(default)]
    namespace_label: Option<String>,
    #[serde(default)]
    caches: BTreeMap<String, SynapseCacheSpec>,
    #[serde(default)]
    limit_ranges: Vec<LimitRangeSpec>,
    pod: Value,
}

#[test]
fn every_pod_comes_out_as_its_pair_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pairs");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().ends_with(".in.yaml") {
            compare(&path);
            seen += 1;
        }
    }
    assert!(seen >= 20, "only {seen} pairs");
}

fn compare(path: &Path) {
    let input: Input = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap())
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut namespace = Namespace::new(input.namespace_label, input.caches);
    namespace.bounds = Some(Bounds::of(&input.limit_ranges));
    let out = match namespace.inject(&input.pod) {
        Outcome::Skipped(reason) => json!({"skipped": reason}),
        Outcome::Injected(injected) => {
            let after = patched(&input.pod, &injected);
            promises::hold(&namespace, &input.pod, &injected);
            json!({"problems": injected.problems, "pod": after})
        }
    };
    let out_path = PathBuf::from(path.to_string_lossy().replace(".in.yaml", ".out.yaml"));
    if std::env::var_os("SYNAPSE_WRITE_PAIRS").is_some() {
        std::fs::write(&out_path, serde_saphyr::to_string(&out).unwrap()).unwrap();
    }
    let expected: Value =
        serde_saphyr::from_str(&std::fs::read_to_string(&out_path).unwrap_or_default()).unwrap();
    assert!(out == expected, "{} differs; it is now\n{out:#}", out_path.display());
}
