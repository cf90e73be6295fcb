//! What admission counts: reviews by outcome, problems, and how long a review takes.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use synapse_api::reasons::{Problem, SkipReason};

/// Outcome of a review that was injected.
pub(crate) const INJECTED: &str = "Injected";

/// Bounds in seconds: from a tenth of a millisecond, since a review should take less than one.
const BOUNDS: [f64; 13] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

/// The metrics of admission. Labels take values of closed lists only.
#[derive(Clone, Debug)]
pub struct Metrics {
    reviews: Family<Outcome, Counter>,
    problems: Family<Found, Counter>,
    refused: Counter,
    seconds: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Found {
    problem: &'static str,
}

// === impl Metrics ===

impl Metrics {
    /// Makes the metrics and puts them into `registry`; every outcome shows from the start.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            reviews: Family::default(),
            problems: Family::default(),
            refused: Counter::default(),
            seconds: Histogram::new(BOUNDS),
        };
        for outcome in SkipReason::ALL.map(SkipReason::as_str).into_iter().chain([INJECTED]) {
            drop(metrics.reviews.get_or_create(&Outcome { outcome }));
        }
        for problem in Problem::ALL.map(Problem::as_str) {
            drop(metrics.problems.get_or_create(&Found { problem }));
        }
        let Self { reviews, problems, refused, seconds } = &metrics;
        registry.register("synapse_admission_reviews", "Reviews of pods by outcome", reviews.clone());
        registry.register("synapse_admission_problems", "Problems met while injecting", problems.clone());
        registry.register(
            "synapse_admission_refused",
            "Requests that were no AdmissionReview",
            refused.clone(),
        );
        registry.register(
            "synapse_admission_seconds",
            "Time from the whole request to its answer",
            seconds.clone(),
        );
        metrics
    }

    pub(crate) fn reviewed(
        &self,
        outcome: &'static str,
        problems: impl Iterator<Item = Problem>,
        seconds: f64,
    ) {
        self.reviews.get_or_create(&Outcome { outcome }).inc();
        for problem in problems {
            self.problems.get_or_create(&Found { problem: problem.as_str() }).inc();
        }
        self.seconds.observe(seconds);
    }

    pub(crate) fn refused(&self) {
        self.refused.inc();
    }
}
