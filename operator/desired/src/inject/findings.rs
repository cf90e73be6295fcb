//! What was wrong with a pod, gathered while it is injected.

use serde::{Deserialize, Serialize};
use synapse_api::reasons::Problem;

/// The most problems that are said of one pod.
const MAX_FINDINGS: usize = 16;
/// The longest detail; what users wrote is quoted in it.
const MAX_DETAIL: usize = 240;

/// One problem, and what it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The word of the closed list.
    pub reason: Problem,
    /// What it is about and what to do, for people.
    pub detail: String,
}

/// Problems in the order in which they were met, each once.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn add(&mut self, reason: Problem, mut detail: String) {
        if detail.len() > MAX_DETAIL {
            detail.truncate(detail.floor_char_boundary(MAX_DETAIL));
        }
        let finding = Finding { reason, detail };
        if self.0.len() < MAX_FINDINGS && !self.0.contains(&finding) {
            self.0.push(finding);
        }
    }

    pub(super) fn list(&self) -> &[Finding] {
        &self.0
    }

    pub(super) fn into_list(self) -> Vec<Finding> {
        self.0
    }
}
