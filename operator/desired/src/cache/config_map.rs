//! The ConfigMap that the pods of a cache mount.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use synapse_api::{names, paths};

use crate::sidecar_config::Rendered;

/// The ConfigMap of the cache `name`, which goes with its `owner`.
#[must_use]
pub fn config_map(namespace: &str, name: &str, owner: OwnerReference, rendered: &Rendered) -> ConfigMap {
    let labels = [(names::CACHE, name), ("app.kubernetes.io/managed-by", "synapse-operator")];
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(names::config_map(name)),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(paths::CONFIG_KEY.to_owned(), rendered.text.clone())])),
        ..ConfigMap::default()
    }
}

/// Whether `found` holds everything that `wanted` says.
#[must_use]
pub fn holds(found: &ConfigMap, wanted: &ConfigMap) -> bool {
    let labels = |map: &ConfigMap| map.metadata.labels.clone().unwrap_or_default();
    let found_labels = labels(found);
    let owners = found.metadata.owner_references.as_deref().unwrap_or_default();
    let wanted_owners = wanted.metadata.owner_references.as_deref().unwrap_or_default();
    let has = |(key, value)| found.data.as_ref().is_some_and(|data| data.get(key) == Some(value));
    wanted.data.iter().flatten().all(has)
        && labels(wanted).iter().all(|(key, value)| found_labels.get(key) == Some(value))
        && wanted_owners.iter().all(|owner| owners.contains(owner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_add_is_left_and_what_they_change_is_seen() {
        let rendered = crate::sidecar_config::render("shop", "catalog", &Default::default()).unwrap();
        let owner = OwnerReference { name: "catalog".into(), uid: "1".into(), ..OwnerReference::default() };
        let wanted = config_map("shop", "catalog", owner, &rendered);
        assert_eq!(wanted.metadata.name.as_deref(), Some("synapse-catalog"));
        let mut found = wanted.clone();
        found.metadata.labels.as_mut().unwrap().insert("team".into(), "a".into());
        assert!(holds(&found, &wanted));
        found.data.as_mut().unwrap().insert("other".into(), String::new());
        assert!(holds(&found, &wanted));
        found.data.as_mut().unwrap().insert(paths::CONFIG_KEY.into(), String::new());
        assert!(!holds(&found, &wanted));
        found.data = None;
        assert!(!holds(&found, &wanted));
    }
}
