//! The annotation `synapse.dev/status`: what was injected, by whom, and what was wrong.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use synapse_api::names;
use synapse_api::reasons::Problem;

use super::Installed;
use super::findings::{Finding, Findings, MAX_FINDINGS, Noted};
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
    pub problems: Vec<Noted>,
}

/// What the annotation's text says, or nothing when it was not written by an injector.
#[must_use]
pub fn injected_status(annotation: &str) -> Option<InjectedStatus> {
    if annotation.len() > MAX_STATUS {
        return None;
    }
    let mut status: InjectedStatus = serde_json::from_str(annotation).ok()?;
    status.problems.retain_mut(Noted::is_sound);
    status.problems.truncate(MAX_FINDINGS);
    Some(status)
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
            problems: Vec::new(),
        }
        .with(findings.list())
    }

    /// The same with more problems noted, as many as are read back.
    pub(super) fn with(mut self, more: &[Finding]) -> Self {
        self.problems.extend(more.iter().map(Noted::from));
        self.problems.truncate(MAX_FINDINGS);
        while self.text().len() > MAX_STATUS && self.problems.pop().is_some() {}
        self
    }

    fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Writes the annotation, whatever a template copied from a running pod says there: nobody selects by it.
    pub(super) fn write(&self, pod: &Pod<'_>, additions: &mut Additions) {
        let text = Value::String(self.text());
        additions.insert(pod.metadata(), &["metadata"], "annotations", names::STATUS, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(problems: &str) -> Option<InjectedStatus> {
        injected_status(&format!(
            r#"{{"cache":"a","version":"9","hash":"","volume":"synapse","futureField":1,"problems":{problems}}}"#
        ))
    }

    #[test]
    fn words_of_another_version_stay_readable_and_what_is_no_word_is_left_out() {
        let read = status(r#"[{"reason":"ReasonOfTomorrow","detail":"x"},{"reason":"no word","detail":""}]"#);
        let words: Vec<_> = read.unwrap().problems.into_iter().map(|noted| noted.reason).collect();
        assert_eq!(words, ["ReasonOfTomorrow"]);
    }

    #[test]
    fn what_is_written_is_never_too_long_to_be_read() {
        let long = |at: u8| Finding {
            reason: Problem::MountPathTaken,
            detail: format!("{at}{}", "\u{1}".repeat(230)),
        };
        let findings: Vec<_> = (b'a'..=b'z').map(long).collect();
        let written = status("[]").unwrap().with(&findings);
        assert!(written.problems.len() > 8 && written.problems.len() < MAX_FINDINGS);
        assert!(injected_status(&written.text()) == Some(written));
    }
}
