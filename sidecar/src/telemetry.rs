//! Logs: lines for people or for machines, on standard error, at a level that can change. Beside them, spans for the
//! export of traces, where there is one.

use std::io::{IsTerminal, stderr};

use opentelemetry_sdk::trace::SdkTracer;
use synapse_config::written::{LogFormat, LogLevel};
use synapse_server::trace::TARGET;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata, Subscriber, warn};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

/// The level of the logs.
pub(crate) struct Logs {
    level: Handle<LevelFilter, Registry>,
}

// === impl Logs ===

impl Logs {
    /// Starts the logs of the process, and hands spans to `tracer`. Without one nobody asks for spans, so that none
    /// are made.
    pub(crate) fn start(level: LogLevel, format: LogFormat, tracer: Option<SdkTracer>) -> Self {
        let (subscriber, level) = subscriber(level, format, tracer);
        subscriber.init();
        Self { level }
    }

    /// Changes how much is logged.
    pub(crate) fn set_level(&self, level: LogLevel) {
        if let Err(error) = self.level.reload(filter(level)) {
            warn!(%error, "the log level stays as it was");
        }
    }
}

/// Everything that hears of events and spans, and the handle of the level.
fn subscriber(
    level: LogLevel,
    format: LogFormat,
    tracer: Option<SdkTracer>,
) -> (impl Subscriber + Send + Sync + for<'a> LookupSpan<'a>, Handle<LevelFilter, Registry>) {
    let (filter, handle) = reload::Layer::new(filter(level));
    let lines = match format {
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(stderr).boxed(),
        LogFormat::Text => fmt::layer().with_ansi(stderr().is_terminal()).with_writer(stderr).boxed(),
    };
    let lines = lines.with_filter(filter.and(filter_fn(is_line)));
    let spans = tracer.map(|tracer| {
        let layer = tracing_opentelemetry::layer().with_tracer(tracer).with_location(false);
        layer.with_filter(filter_fn(|metadata| metadata.target() == TARGET)).boxed()
    });
    // A list: an absent layer of its own would be taken for one that wants everything.
    let layers: Vec<_> = std::iter::once(lines.boxed()).chain(spans).collect();
    (tracing_subscriber::registry().with(layers), handle)
}

/// Whether a line is made of this: of events alone, and of those of libraries when they warn. What they say beside that
/// may hold what nobody should read, such as the password in a URL.
fn is_line(metadata: &Metadata<'_>) -> bool {
    metadata.is_event() && (metadata.target().starts_with("synapse") || *metadata.level() <= Level::WARN)
}

/// The shape of a line when nobody has said which.
pub(crate) fn default_format() -> LogFormat {
    if stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing::{span, subscriber};

    use super::*;

    #[test]
    fn spans_are_made_for_an_exporter_and_for_nobody_else() {
        let is_made = |tracer, level| {
            let (subscriber, _) = super::subscriber(level, LogFormat::Json, tracer);
            subscriber::with_default(subscriber, || !span!(target: TARGET, Level::INFO, "http").is_disabled())
        };
        assert!(!is_made(None, LogLevel::Trace));
        let provider = SdkTracerProvider::default();
        assert!(is_made(Some(provider.tracer("x")), LogLevel::Error));
    }
}
