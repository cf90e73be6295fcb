//! The manifests keep the rules of the house: what is checked in is what is generated, and every part is bounded.

#![expect(clippy::unwrap_used, reason = "a test says by panicking what is wrong")]

use std::path::{Path, PathBuf};

use serde_json::Value;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn schemas() -> Vec<(String, Value)> {
    synapse_api::generated::files()
        .unwrap()
        .into_iter()
        .filter(|file| file.path.ends_with(".yaml"))
        .map(|file| {
            let crd: Value = serde_saphyr::from_str(&file.text).unwrap();
            let schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
            (crd["spec"]["names"]["kind"].as_str().unwrap().to_owned(), schema)
        })
        .collect()
}

/// Calls `check` with the path of every part of the schemas of spec and status.
fn walk(path: &str, schema: &Value, check: &mut dyn FnMut(&str, &Value)) {
    check(path, schema);
    for (name, part) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), part, check);
    }
    if schema["items"].is_object() {
        walk(&format!("{path}[]"), &schema["items"], check);
    }
}

#[test]
fn what_is_checked_in_is_what_is_generated() {
    for file in synapse_api::generated::files().unwrap() {
        let checked_in = std::fs::read_to_string(top().join(file.path)).unwrap_or_default();
        assert!(checked_in == file.text, "{} is out of date: run `make crds`", file.path);
    }
}

#[test]
fn every_part_is_bounded_described_and_without_default() {
    for (kind, schema) in schemas() {
        for section in ["spec", "status"] {
            walk(&format!("{kind}.{section}"), &schema["properties"][section], &mut |path, part| {
                let has = |key: &str| part.get(key).is_some();
                assert!(!has("default") && !has("nullable"), "{path} has a default or may be null");
                assert!(has("description") || path.ends_with("[]"), "{path} explains nothing");
                assert!(!has("oneOf") && !has("anyOf"), "{path} has a union that is not a rule");
                let format = part["format"].as_str().unwrap_or_default();
                assert!(
                    !format.starts_with("uint") && !["float", "double"].contains(&format),
                    "{path}: {format}"
                );
                match part["type"].as_str() {
                    Some("string") => {
                        assert!(
                            has("maxLength") || has("enum") || format == "date-time",
                            "{path} has no maximum"
                        );
                    }
                    Some("array") => {
                        assert!(
                            has("maxItems") && part["x-kubernetes-list-type"] == "map",
                            "{path} is an open list"
                        );
                    }
                    Some("object") => assert!(!has("additionalProperties"), "{path} is an open map"),
                    Some("integer") => {}
                    other => panic!("{path} has the type {other:?}"),
                }
                let values = part["enum"].as_array().into_iter().flatten();
                assert!(values.into_iter().all(Value::is_string), "{path} has an empty value");
            });
        }
    }
}

#[test]
fn unions_and_immutables_are_rules_that_explain_themselves() {
    let mut rules = Vec::new();
    for (kind, schema) in schemas() {
        walk(&kind, &schema, &mut |path, part| {
            for rule in part["x-kubernetes-validations"].as_array().into_iter().flatten() {
                assert!(rule["message"].as_str().is_some_and(|text| !text.is_empty()), "{path}: {rule}");
                rules.push(format!("{path}: {}", rule["rule"].as_str().unwrap()));
            }
        });
    }
    for wanted in [
        "SynapseCache: size(self.metadata.name) <= 63",
        "SynapseCache.spec.redis.connection: has(self.url) != has(self.urlFrom)",
        "SynapseCache.spec.redis.connection: !has(self.url) || !self.url.contains('@')",
        "SynapseTopic.spec.broker.redis.connection: has(self.url) != has(self.urlFrom)",
        "SynapseTopic.spec: has(self.name) == has(oldSelf.name)",
    ] {
        assert!(rules.iter().any(|rule| rule.starts_with(wanted)), "no rule {wanted} in {rules:#?}");
    }
}
