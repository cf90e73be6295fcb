//! One AdmissionReview in, one out: parses, asks the pure function, answers. Never denies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use synapse_api::names;
use synapse_api::reasons::SkipReason;
use synapse_desired::inject::{Finding, Injected, Installed, Outcome, World, inject};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::metrics::{INJECTED, Metrics};
use crate::weight::{MAX_TOKENS, Room, Share, tokens};
use crate::world::Worlds;

/// How long a pod of a labelled namespace may wait for the watch to tell of that label. A namespace and its pods are
/// often created in one breath; the watch is milliseconds behind.
const LABEL_WAIT: Duration = Duration::from_secs(1);
/// At most so many warnings go into one answer.
const MAX_WARNINGS: usize = 8;
/// Longest warning in characters; the API server shows 256 and drops longer ones.
const MAX_WARNING: usize = 250;

/// The webhook's answer machine: shared by every request.
#[derive(Debug)]
pub struct Admission {
    worlds: Arc<Worlds>,
    installed: Installed,
    metrics: Metrics,
    room: Room,
}

/// A request that is no AdmissionReview.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// Not JSON.
    #[error("failed to read the AdmissionReview: not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// JSON of another shape.
    #[error("failed to read the AdmissionReview: {0}")]
    Shape(&'static str),
    /// So many values and keys that parsing them would take the operator's memory.
    #[error("failed to read the AdmissionReview: it has {0} values and keys, of which {MAX_TOKENS} are read")]
    TooMany(usize),
}

// === impl Admission ===

impl Admission {
    /// Answers from `worlds`, for what was `installed`.
    #[must_use]
    pub fn new(worlds: Arc<Worlds>, installed: Installed, metrics: Metrics) -> Self {
        Self { worlds, installed, metrics, room: Room::default() }
    }

    /// The answer to the review in `body`.
    ///
    /// # Errors
    /// When `body` is not an AdmissionReview of `admission.k8s.io/v1`.
    pub async fn review(&self, body: &[u8]) -> Result<Value, ReviewError> {
        let begun = Instant::now();
        let span = tracing::info_span!("review", namespace = Empty, pod = Empty, outcome = Empty);
        let answer = self.answer(body, begun).instrument(span).await;
        if answer.is_err() {
            self.refused();
        }
        answer
    }

    async fn answer(&self, body: &[u8], begun: Instant) -> Result<Value, ReviewError> {
        let (mut review, mut share) = self.parse(body).await?;
        let request = Request::read(&review)?;
        if request.names_no_cache() && !self.knows_label(request.namespace) {
            let namespace = request.namespace.to_owned();
            // A second is long: what waits holds no more than its body.
            drop((review, share));
            self.wait_for_label(&namespace).await;
            (review, share) = self.parse(body).await?;
        }
        let _share = share;
        let request = Request::read(&review)?;
        let known = self.worlds.known();
        let world = World {
            namespace: request.namespace,
            namespace_label: known.namespace_labels.get(request.namespace).map(String::as_str),
            caches: known.caches.get(request.namespace),
            bounds: known.bounds.get(request.namespace),
            installed: &self.installed,
        };
        let outcome = inject(request.pod, &world);
        let span = Span::current();
        span.record("namespace", request.namespace).record("pod", request.name);
        span.record(
            "outcome",
            match &outcome {
                Outcome::Injected(_) => INJECTED,
                Outcome::Skipped(reason) => reason.as_str(),
            },
        );
        let seconds = begun.elapsed().as_secs_f64();
        let mut response = json!({"uid": request.uid, "allowed": true});
        match &outcome {
            Outcome::Injected(Injected { patch, problems }) => {
                self.metrics.reviewed(INJECTED, problems.iter().map(|found| found.reason), seconds);
                response["patchType"] = "JSONPatch".into();
                response["patch"] = STANDARD.encode(serde_json::to_vec(patch)?).into();
                if !problems.is_empty() {
                    response["warnings"] = problems.iter().take(MAX_WARNINGS).map(warning).collect();
                }
            }
            Outcome::Skipped(reason) => {
                self.metrics.reviewed(reason.as_str(), std::iter::empty(), seconds);
                if deserves_a_warning(*reason) {
                    response["warnings"] = json!([warning_text(&format!(
                        "synapse: not injected: {}: {}",
                        reason.as_str(),
                        reason.explanation()
                    ))]);
                }
            }
        }
        tracing::debug!(namespace = request.namespace, pod = request.name, ?outcome, "reviewed");
        Ok(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}))
    }

    /// Parses `body`, once there is room for what becomes of it.
    async fn parse(&self, body: &[u8]) -> Result<(Value, Share), ReviewError> {
        let tokens = tokens(body);
        if tokens > MAX_TOKENS {
            return Err(ReviewError::TooMany(tokens));
        }
        let share = self.room.for_parsed(body.len(), tokens).await;
        Ok((serde_json::from_slice(body)?, share))
    }

    /// The same with another room.
    #[cfg(test)]
    pub(crate) fn within(self, room: Room) -> Self {
        Self { room, ..self }
    }

    /// The room that reviews share.
    pub(crate) fn room(&self) -> &Room {
        &self.room
    }

    /// Counts what was no review, or could not be read.
    pub(crate) fn refused(&self) {
        self.metrics.refused();
    }

    fn knows_label(&self, namespace: &str) -> bool {
        self.worlds.known().namespace_labels.contains_key(namespace)
    }

    /// Waits, within [`LABEL_WAIT`], until the label of `namespace` is known. Only pods that name no cache come here,
    /// and those reach the webhook only from labelled namespaces.
    async fn wait_for_label(&self, namespace: &str) {
        let mut changes = self.worlds.changes();
        let known = async {
            while !self.knows_label(namespace) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        if tokio::time::timeout(LABEL_WAIT, known).await.is_err() {
            tracing::debug!(namespace, "the namespace's label did not become known in time");
        }
    }
}

/// What of a review matters here.
struct Request<'a> {
    uid: &'a str,
    namespace: &'a str,
    name: &'a str,
    pod: &'a Value,
}

impl<'a> Request<'a> {
    fn read(review: &'a Value) -> Result<Self, ReviewError> {
        if review["apiVersion"] != "admission.k8s.io/v1" || review["kind"] != "AdmissionReview" {
            return Err(ReviewError::Shape("expected an AdmissionReview of admission.k8s.io/v1"));
        }
        let request = &review["request"];
        let uid = request["uid"].as_str().filter(|uid| !uid.is_empty());
        let Some(uid) = uid else { return Err(ReviewError::Shape("request.uid is missing")) };
        Ok(Self {
            uid,
            namespace: request["namespace"].as_str().unwrap_or_default(),
            name: request["name"].as_str().unwrap_or_default(),
            pod: &request["object"],
        })
    }

    fn names_no_cache(&self) -> bool {
        self.pod["metadata"]["annotations"].get(names::INJECT).is_none()
    }
}

/// Whether the author of the pod would want to know: whoever opted out or is injected already does.
fn deserves_a_warning(reason: SkipReason) -> bool {
    !matches!(reason, SkipReason::OptedOut | SkipReason::NotRequested | SkipReason::AlreadyInjected)
}

fn warning(found: &Finding) -> Value {
    warning_text(&format!("synapse: {}: {}", found.reason.as_str(), found.detail))
}

fn warning_text(text: &str) -> Value {
    // Control characters would be dropped with the whole warning by some clients.
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_WARNING).collect::<String>().into()
}

#[cfg(test)]
mod tests;
