//! Logs: lines for people or for machines, on standard error, at a level that can change.

use std::io::{IsTerminal, stderr};

use synapse_config::written::{LogFormat, LogLevel};
use tracing::level_filters::LevelFilter;
use tracing::warn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

/// The level of the logs.
pub(crate) struct Logs {
    level: Handle<LevelFilter, Registry>,
}

// === impl Logs ===

impl Logs {
    /// Starts the logs of the process.
    pub(crate) fn start(level: LogLevel, format: LogFormat) -> Self {
        let (filter, handle) = reload::Layer::new(filter(level));
        let lines = match format {
            LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(stderr).boxed(),
            LogFormat::Text => fmt::layer().with_ansi(stderr().is_terminal()).with_writer(stderr).boxed(),
        };
        tracing_subscriber::registry().with(filter).with(lines).init();
        Self { level: handle }
    }

    /// Changes how much is logged.
    pub(crate) fn set_level(&self, level: LogLevel) {
        if let Err(error) = self.level.reload(filter(level)) {
            warn!(%error, "the log level stays as it was");
        }
    }
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
