//! Logs: one line an event, on standard error, for machines or for people. Beside them spans, where they are exported.

use std::io::{IsTerminal, stderr};

use opentelemetry_sdk::trace::SdkTracer;
use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{FilterExt, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::args::Format;

/// Our own crates, whose level a single word sets.
const OURS: [&str; 4] = ["synapse_operator", "synapse_webhook", "synapse_controllers", "synapse_desired"];

/// Starts the logs of the process, and hands spans to `tracer`.
pub(crate) fn start(filter: Targets, format: Format, tracer: Option<SdkTracer>) {
    subscriber(filter, format, tracer).init();
}

/// Everything that hears of events and spans. Without a tracer nobody asks for spans, and none are made.
pub(crate) fn subscriber(
    filter: Targets,
    format: Format,
    tracer: Option<SdkTracer>,
) -> impl Subscriber + Send + Sync {
    let lines = match format {
        Format::Json => fmt::layer().json().flatten_event(true).with_writer(stderr).boxed(),
        Format::Text => fmt::layer().with_ansi(stderr().is_terminal()).with_writer(stderr).boxed(),
    };
    let lines = lines.with_filter(filter.and(filter_fn(|metadata| metadata.is_event())));
    let spans = tracer.map(|tracer| {
        let layer = tracing_opentelemetry::layer().with_tracer(tracer).with_location(false);
        layer.with_filter(filter_fn(is_span_of_ours)).boxed()
    });
    // A list: an absent layer of its own would be taken for one that wants everything.
    let layers: Vec<_> = std::iter::once(lines.boxed()).chain(spans).collect();
    tracing_subscriber::registry().with(layers)
}

/// What the level of the logs is makes no difference to traces; libraries' spans would tell everything twice.
fn is_span_of_ours(metadata: &Metadata<'_>) -> bool {
    metadata.is_span()
        && *metadata.level() <= LevelFilter::INFO
        && OURS.iter().any(|ours| metadata.target().starts_with(ours))
}

/// What `text` lets through: a level, or directives.
///
/// # Errors
/// When it is neither.
pub(crate) fn filter(text: &str) -> Result<Targets, String> {
    if let Ok(level) = text.parse::<tracing::Level>() {
        // Libraries speak of connections and frames: of interest only to who traces.
        let others = if level == tracing::Level::TRACE { level } else { level.min(tracing::Level::WARN) };
        return Ok(Targets::new().with_default(others).with_targets(OURS.map(|target| (target, level))));
    }
    text.parse().map_err(|error| format!("{error}; write a level, or directives such as info,kube=debug"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn a_level_speaks_of_us_and_directives_of_whom_they_name() {
        let info = filter("INFO").unwrap();
        assert!(info.would_enable("synapse_webhook::keeper", &Level::INFO));
        assert!(!info.would_enable("hyper", &Level::INFO) && info.would_enable("hyper", &Level::WARN));
        assert!(filter("warn,kube=debug").unwrap().would_enable("kube::client", &Level::DEBUG));
        assert!(filter("kube=loud").is_err());
    }
}
