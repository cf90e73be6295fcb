//! Logs: one line an event, on standard error, for machines or for people.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::args::Format;

/// Our own crates, whose level a single word sets.
const OURS: [&str; 4] = ["synapse_operator", "synapse_webhook", "synapse_controllers", "synapse_desired"];

/// Starts the logs of the process.
pub(crate) fn start(filter: Targets, format: Format) {
    let lines = match format {
        Format::Json => fmt::layer().json().flatten_event(true).with_writer(stderr).boxed(),
        Format::Text => fmt::layer().with_ansi(stderr().is_terminal()).with_writer(stderr).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
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
