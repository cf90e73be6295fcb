//! The samples are what the kinds accept: nothing in them is unknown, nothing is lost.

#![expect(clippy::unwrap_used, reason = "a test says by panicking what is wrong")]

use std::path::Path;

use serde_json::Value;
use synapse_api::cache::SynapseCache;
use synapse_api::names;
use synapse_api::topic::SynapseTopic;

/// Every document of every sample, with the file that it stands in.
fn samples() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds/samples");
    let mut documents = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for document in serde_saphyr::from_multiple::<Value>(&text).unwrap() {
            documents.push((path.display().to_string(), document));
        }
    }
    documents
}

#[test]
fn every_sample_survives_its_type() {
    let mut seen = 0;
    for (file, sample) in samples() {
        let typed = match sample["kind"].as_str() {
            Some("SynapseCache") => {
                let cache: SynapseCache =
                    serde_json::from_value(sample.clone()).unwrap_or_else(|e| panic!("{file}: {e}"));
                assert!(names::is_cache_name(cache.metadata.name.as_deref().unwrap()), "{file}");
                serde_json::to_value(cache).unwrap()
            }
            Some("SynapseTopic") => {
                let topic: SynapseTopic =
                    serde_json::from_value(sample.clone()).unwrap_or_else(|e| panic!("{file}: {e}"));
                serde_json::to_value(topic).unwrap()
            }
            _ => continue,
        };
        assert_eq!(typed["spec"], sample["spec"], "{file}: a field is unknown to the type");
        seen += 1;
    }
    assert!(seen >= 8, "only {seen} samples of our kinds");
}
