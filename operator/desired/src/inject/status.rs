//! The annotation `synapse.dev/status`: what was injected, by whom, and what was wrong.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use synapse_api::names;
use synapse_api::reasons::Problem;

use super::Installed;
use super::findings::{Finding, Findings};
use super::patch::Additions;
use super::pod::Pod;
use super::volumes::Volumes;

/// Bytes of the hash that are written: enough to tell versions apart, short enough to read.
const HASH_BYTES: usize = 8;
/// The longest status that is read: it can be written by anyone who may create pods.
const MAX_STATUS: usize = 16 * 1024;

/// What the status annotation of an injected pod says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InjectedStatus {
    /// Name of the cache.
    pub cache: String,
    /// Version of the operator that injected.
    pub version: String,
    /// Hash of the injected container and volumes.
    pub hash: String,
    /// Name of the socket's volume.
    pub volume: String,
    /// What could not be followed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Finding>,
}

/// What the annotation's text says, or nothing when it was not written by an injector.
#[must_use]
pub fn injected_status(annotation: &str) -> Option<InjectedStatus> {
    if annotation.len() > MAX_STATUS {
        return None;
    }
    serde_json::from_str(annotation).ok()
}

/// Adds the label by which the pods of a cache are found. A value that is there stays: a ReplicaSet whose
/// selector has it would not know its own pod any more, and create another one, for ever.
pub(super) fn label(pod: &Pod<'_>, cache: &str, additions: &mut Additions, findings: &mut Findings) {
    match pod.label(names::CACHE) {
        None => additions.insert(pod.metadata(), &["metadata"], "labels", names::CACHE, cache.into()),
        Some(value) if value == cache => {}
        Some(value) => findings.add(
            Problem::LabelTaken,
            format!(
                "the pod came with the label {}={value}: it stays, though the cache is {cache}",
                names::CACHE
            ),
        ),
    }
}

impl InjectedStatus {
    pub(super) fn new(
        cache: &str,
        installed: &Installed,
        volumes: &Volumes,
        container: &Value,
        definitions: &[Value],
        findings: &Findings,
    ) -> Self {
        let mut hash = Sha256::new();
        for part in std::iter::once(container).chain(definitions) {
            hash.update(part.to_string());
        }
        let hash = hash.finalize()[..HASH_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            cache: cache.to_owned(),
            version: installed.version.clone(),
            hash,
            volume: volumes.socket.clone(),
            problems: findings.list().to_vec(),
        }
    }

    /// Writes the annotation, whatever a template copied from a running pod says there: nobody selects by it.
    pub(super) fn write(&self, pod: &Pod<'_>, additions: &mut Additions) {
        let text = serde_json::to_string(self).unwrap_or_default();
        additions.insert(pod.metadata(), &["metadata"], "annotations", names::STATUS, Value::String(text));
    }
}
