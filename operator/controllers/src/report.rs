//! What the operator says about an object: its status, when one is due, and events.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use synapse_api::conditions::READY;
use synapse_desired::status::is_due;

use crate::call::{CallError, limited};

/// Owner of the fields that the operator writes.
pub const FIELD_MANAGER: &str = "synapse-operator";
/// The longest text of an event, as the API server has it.
const MAX_NOTE: usize = 1024;

/// Where events go.
#[derive(Clone)]
pub struct Reports {
    client: Client,
    recorder: Recorder,
}

impl Reports {
    /// Reports in the name of `instance`, the operator's pod.
    pub fn new(client: Client, instance: &str) -> Self {
        let reporter =
            Reporter { controller: "synapse-operator".into(), instance: Some(instance.to_owned()) };
        Self { recorder: Recorder::new(client.clone(), reporter), client }
    }

    /// Says that something happened to `object`. An event that cannot be written (its namespace is going, the API
    /// server is away) is logged, and nothing else depends on it.
    pub async fn event(
        &self,
        object: &ObjectReference,
        warning: bool,
        reason: &str,
        action: &str,
        note: String,
    ) {
        let type_ = if warning { EventType::Warning } else { EventType::Normal };
        let end = note.floor_char_boundary(MAX_NOTE);
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note[..end].to_owned()),
            action: action.to_owned(),
            secondary: None,
        };
        if let Err(error) = limited("write an event", self.recorder.publish(&event, object)).await {
            tracing::debug!(%error, reason, object = object.name, "the event was not written");
        }
    }

    /// Writes `new` over `old` as the status of `object` if it is due, and says whether it did.
    ///
    /// # Errors
    /// When the API server did not take it. That the object is gone is no error.
    pub async fn status<K, S>(
        &self,
        object: &K,
        old: Option<&S>,
        new: &S,
        counters: &[&str],
    ) -> Result<bool, CallError>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
        S: Serialize,
    {
        let as_value = |status: Option<&S>| serde_json::to_value(status).unwrap_or_default();
        let (old, new) = (as_value(old), as_value(Some(new)));
        if !is_due(&old, &new, counters, written(object), Timestamp::now()) {
            return Ok(false);
        }
        let api: Api<K> = Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default());
        let patch = json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()),
            "metadata": {"name": object.name_any()}, "status": new,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let name = object.name_any();
        let patch = Patch::Apply(&patch);
        match limited("write a status", api.patch_status(&name, &params, &patch)).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the status of `object` was written less than `ago` before now.
    pub fn was_just_written<K: Resource>(&self, object: &K, ago: Duration) -> bool {
        let age = written(object).and_then(|at| Duration::try_from(Timestamp::now().duration_since(at)).ok());
        age.is_some_and(|age| age < ago)
    }

    /// Says in an event that the summary of `object` changed, if it did.
    pub async fn transition(&self, object: &ObjectReference, before: &[Condition], after: &[Condition]) {
        let ready = |conditions: &[Condition]| conditions.iter().find(|c| c.type_ == READY).cloned();
        let Some(now) = ready(after) else { return };
        if ready(before).is_some_and(|was| was.status == now.status && was.reason == now.reason) {
            return;
        }
        self.event(object, now.status == "False", &now.reason, "Observe", now.message).await;
    }
}

/// When we last wrote the status of `object`, as the API server noted.
fn written<K: Resource>(object: &K) -> Option<Timestamp> {
    let fields = object.meta().managed_fields.iter().flatten();
    fields
        .filter(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER))
        .filter(|entry| entry.subresource.as_deref() == Some("status"))
        .find_map(|entry| entry.time.as_ref().map(|time| time.0))
}

/// A reference to `object`, for events.
pub fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    object.object_ref(&())
}
