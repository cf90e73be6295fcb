//! What was wrong with a pod, gathered while it is injected.

use serde::{Deserialize, Serialize};
use synapse_api::reasons::Problem;

/// The most problems that are said of one pod.
pub(super) const MAX_FINDINGS: usize = 16;
/// The longest detail; what users wrote is quoted in it.
const MAX_DETAIL: usize = 240;
/// The longest word that is read.
const MAX_WORD: usize = 64;

/// One problem, and what it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The word of the closed list.
    pub reason: Problem,
    /// What it is about and what to do, for people.
    pub detail: String,
}

/// A problem as an annotation notes it. Its word stays readable where another version of the operator chose it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    /// The word.
    pub reason: String,
    /// What it is about and what to do, for people.
    pub detail: String,
}

/// Problems in the order in which they were met, each once.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn add(&mut self, reason: Problem, mut detail: String) {
        shorten(&mut detail);
        let finding = Finding { reason, detail };
        if self.0.len() < MAX_FINDINGS && !self.0.contains(&finding) {
            self.0.push(finding);
        }
    }

    pub(super) fn list(&self) -> &[Finding] {
        &self.0
    }

    /// Those that were not noted before.
    pub(super) fn beside(self, noted: &[Noted]) -> Vec<Finding> {
        self.0.into_iter().filter(|finding| !noted.contains(&Noted::from(finding))).collect()
    }
}

// === impl Noted ===

impl Noted {
    /// Whether it could be a problem's word; cuts off what no injector wrote.
    pub(super) fn is_sound(&mut self) -> bool {
        shorten(&mut self.detail);
        (1..=MAX_WORD).contains(&self.reason.len())
            && self.reason.bytes().all(|byte| byte.is_ascii_alphanumeric())
    }
}

impl From<&Finding> for Noted {
    fn from(finding: &Finding) -> Self {
        Self { reason: finding.reason.as_str().to_owned(), detail: finding.detail.clone() }
    }
}

fn shorten(detail: &mut String) {
    if detail.len() > MAX_DETAIL {
        detail.truncate(detail.floor_char_boundary(MAX_DETAIL));
    }
}
