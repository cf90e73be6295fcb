//! The finalizer of a topic that deletes its stream: set and removed against the version that was read.

use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use synapse_api::topic::SynapseTopic;

use crate::call::{CallError, limited};

/// Its name.
pub const FINALIZER: &str = "synapse.dev/broker";

/// Sees to it that `topic` carries the finalizer exactly if `needed`.
///
/// # Errors
/// When the API server refuses; a conflict means that the object changed meanwhile, and is worth another try.
pub(super) async fn keep(client: &Client, topic: &SynapseTopic, needed: bool) -> Result<(), CallError> {
    let has = topic.finalizers().iter().any(|name| name == FINALIZER);
    if has == needed {
        return Ok(());
    }
    let mut finalizers: Vec<&str> =
        topic.finalizers().iter().map(String::as_str).filter(|name| *name != FINALIZER).collect();
    if needed {
        finalizers.push(FINALIZER);
    }
    let api: Api<SynapseTopic> = Api::namespaced(client.clone(), &topic.namespace().unwrap_or_default());
    let version = &topic.metadata.resource_version;
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": version}});
    let name = topic.name_any();
    let patch = Patch::Merge(&patch);
    match limited("patch the finalizers", api.patch_metadata(&name, &PatchParams::default(), &patch)).await {
        Err(error) if error.is_not_found() => Ok(()),
        result => result.map(drop),
    }
}

/// Takes the finalizer from every topic of the cluster: what is left when the operator is removed follows `Retain`.
///
/// # Errors
/// The last refusal; the others are tried all the same.
pub async fn release_all(client: &Client) -> Result<usize, CallError> {
    let api: Api<SynapseTopic> = Api::all(client.clone());
    let (mut released, mut last) = (0, Ok(()));
    let mut page = kube::api::ListParams::default().limit(200);
    loop {
        let list = match limited("list the topics", api.list(&page)).await {
            // The kind is gone, hence every finalizer of it.
            Err(error) if error.is_not_found() => return Ok(released),
            list => list?,
        };
        for topic in list.items.iter().filter(|topic| topic.finalizers().iter().any(|name| name == FINALIZER))
        {
            match let_go(client, topic).await {
                Ok(()) => released += 1,
                Err(error) => last = Err(error),
            }
        }
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return last.map(|()| released),
        }
    }
}

/// Takes the finalizer away; from the topic as it is now, if it changed since it was listed.
async fn let_go(client: &Client, topic: &SynapseTopic) -> Result<(), CallError> {
    match keep(client, topic, false).await {
        Err(error) if error.is_conflict() => {
            let api: Api<SynapseTopic> =
                Api::namespaced(client.clone(), &topic.namespace().unwrap_or_default());
            match limited("get a topic", api.get_opt(&topic.name_any())).await? {
                Some(topic) => keep(client, &topic, false).await,
                None => Ok(()),
            }
        }
        result => result,
    }
}
