//! What is said on the command line and in the environment.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::filter::Targets;

use crate::telemetry;

/// Injects the sidecars, provisions the topics, watches over both.
#[derive(Parser)]
#[command(version, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Namespace of the operator
    #[arg(long, env = "POD_NAMESPACE", default_value = "synapse-system", global = true)]
    pub(crate) namespace: String,
    /// Name of this pod, for the lease and for events [default: the machine's name]
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub(crate) pod_name: Option<String>,
    /// Where the webhook listens (HTTPS)
    #[arg(long, env = "SYNAPSE_WEBHOOK_ADDRESS", default_value = "0.0.0.0:8443", value_name = "IP:PORT")]
    pub(crate) webhook_address: SocketAddr,
    /// Where /livez, /readyz and /metrics are answered (HTTP)
    #[arg(long, env = "SYNAPSE_ADMIN_ADDRESS", default_value = "0.0.0.0:8080", value_name = "IP:PORT")]
    pub(crate) admin_address: SocketAddr,
    /// The Service through which the API server reaches the webhook
    #[arg(long, env = "SYNAPSE_WEBHOOK_SERVICE", default_value = "synapse-webhook", value_name = "NAME")]
    pub(crate) webhook_service: String,
    /// The MutatingWebhookConfiguration
    #[arg(
        long,
        env = "SYNAPSE_WEBHOOK_CONFIGURATION",
        default_value = "synapse-injector",
        value_name = "NAME"
    )]
    pub(crate) webhook_configuration: String,
    /// The Secret of the webhook's certificates, in the operator's namespace
    #[arg(
        long,
        env = "SYNAPSE_CERTIFICATE_SECRET",
        default_value = "synapse-webhook-tls",
        value_name = "NAME"
    )]
    pub(crate) certificate_secret: String,
    /// The Lease by which one replica leads, in the operator's namespace
    #[arg(
        long,
        env = "SYNAPSE_LEASE_NAME",
        default_value = "synapse-operator",
        value_name = "NAME",
        global = true
    )]
    pub(crate) lease_name: String,
    /// Image of the sidecar, unless a cache or a pod says otherwise
    #[arg(long, env = "SYNAPSE_SIDECAR_IMAGE", value_name = "IMAGE", required = true)]
    pub(crate) sidecar_image: Option<String>,
    /// How many objects of a kind are worked on at a time
    #[arg(long, env = "SYNAPSE_WORKERS", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) workers: u16,
    /// How often an object is looked at when nothing happens to it
    #[arg(long, env = "SYNAPSE_RESYNC", default_value = "60s", value_parser = resync)]
    pub(crate) resync: Duration,
    /// How much is logged: error, warn, info, debug, trace, or directives such as info,kube=debug
    #[arg(long, env = "SYNAPSE_LOG_LEVEL", default_value = "info", value_parser = telemetry::filter, global = true)]
    pub(crate) log_level: Targets,
    /// The shape of a log line
    #[arg(
        long,
        env = "SYNAPSE_LOG_FORMAT",
        default_value = "json",
        value_enum,
        ignore_case = true,
        global = true
    )]
    pub(crate) log_format: Format,
    /// Where a collector takes traces by OTLP over HTTP, such as http://collector:4318; none are made without it
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub(crate) otlp_endpoint: Option<String>,
}

#[derive(Subcommand, Clone, Copy)]
pub(crate) enum Command {
    /// Lets go of every topic that waits for the operator, before it is uninstalled; streams stay
    ReleaseFinalizers,
}

/// The shape of a log line.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Text,
}

/// Every object at every resync is a request to its Redis: not more often than once a second.
const SHORTEST_RESYNC: Duration = Duration::from_secs(1);
const LONGEST_RESYNC: Duration = Duration::from_secs(24 * 3600);

fn resync(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration =
        text.parse().map_err(|_| "write a duration such as 60s or 5m".to_owned())?;
    let span = Duration::try_from(span).map_err(|_| "write a positive duration".to_owned())?;
    if (SHORTEST_RESYNC..=LONGEST_RESYNC).contains(&span) {
        Ok(span)
    } else {
        Err("write between 1s and 24h".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_are_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn releasing_needs_no_image() {
        let args = Args::try_parse_from(["synapse-operator", "release-finalizers"]).unwrap();
        assert!(matches!(args.command, Some(Command::ReleaseFinalizers)));
    }

    #[test]
    fn resync_has_bounds() {
        for (text, expected) in
            [("60s", Some(60)), ("5m", Some(300)), ("0s", None), ("-5s", None), ("x", None)]
        {
            assert_eq!(resync(text).ok(), expected.map(Duration::from_secs), "{text}");
        }
    }
}
