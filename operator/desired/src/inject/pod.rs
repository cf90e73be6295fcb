//! A pod as it was sent: read without a type, so that fields which no type knows yet survive.

use serde_json::{Map, Value};

/// A pod with metadata and at least one container.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pod<'a> {
    metadata: &'a Map<String, Value>,
    spec: &'a Map<String, Value>,
}

impl<'a> Pod<'a> {
    /// The pod in `value`, or nothing when it is no pod that an API server would send.
    pub(super) fn read(value: &'a Value) -> Option<Self> {
        let metadata = value.get("metadata")?.as_object()?;
        let spec = value.get("spec")?.as_object()?;
        let whole = |name: &str| {
            list(spec, name).is_some_and(|items| {
                items.iter().all(|item| {
                    item.as_object().is_some_and(|object| {
                        list(object, "env").is_some() && list(object, "volumeMounts").is_some()
                    })
                })
            })
        };
        let maps = ["annotations", "labels"]
            .iter()
            .all(|name| metadata.get(*name).is_none_or(|value| value.is_null() || value.is_object()));
        let pod = Self { metadata, spec };
        let sound = whole("containers")
            && whole("initContainers")
            && list(spec, "volumes").is_some()
            && maps
            && !pod.containers().is_empty();
        sound.then_some(pod)
    }

    pub(super) fn metadata(&self) -> &'a Map<String, Value> {
        self.metadata
    }

    pub(super) fn spec(&self) -> &'a Map<String, Value> {
        self.spec
    }

    pub(super) fn annotation(&self, key: &str) -> Option<&'a str> {
        self.metadata.get("annotations")?.get(key)?.as_str()
    }

    pub(super) fn label(&self, key: &str) -> Option<&'a str> {
        self.metadata.get("labels")?.get(key)?.as_str()
    }

    pub(super) fn containers(&self) -> &'a [Value] {
        list(self.spec, "containers").unwrap_or_default()
    }

    pub(super) fn init_containers(&self) -> &'a [Value] {
        list(self.spec, "initContainers").unwrap_or_default()
    }

    pub(super) fn volumes(&self) -> &'a [Value] {
        list(self.spec, "volumes").unwrap_or_default()
    }

    /// Containers of both kinds.
    pub(super) fn all_containers(&self) -> impl Iterator<Item = &'a Value> {
        self.init_containers().iter().chain(self.containers())
    }

    pub(super) fn on_host_network(&self) -> bool {
        self.spec.get("hostNetwork").and_then(Value::as_bool).unwrap_or(false)
    }
}

/// The list in a field; empty when the field is absent or null, nothing when it holds something else.
pub(super) fn list<'a>(object: &'a Map<String, Value>, field: &str) -> Option<&'a [Value]> {
    match object.get(field) {
        None | Some(Value::Null) => Some(&[]),
        Some(value) => value.as_array().map(Vec::as_slice),
    }
}

/// The `name` of a container, a volume or a variable.
pub(super) fn name(value: &Value) -> Option<&str> {
    value.get("name")?.as_str()
}
