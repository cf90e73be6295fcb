//! What a cache says of the container that is injected for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The injected container. Annotations of a pod take precedence over what is said here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sidecar {
    /// Image of the sidecar. Without it, the image that the operator was installed with.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[^\s]+$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Requests and limits. Without a memory limit, one that follows `memory.capacity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// How much the sidecar logs. Info when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_level: Option<LogLevel>,
    /// Port of the admin door (`/livez`, `/readyz`, `/metrics`). No port is opened when absent.
    #[schemars(range(min = 1024, max = 65535))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
}

/// Requests and limits of the sidecar.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What the scheduler sets aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Amounts>,
    /// What the sidecar may not exceed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Amounts>,
}

/// Amounts of cpu and memory, written as everywhere in Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Amounts {
    /// Such as `100m` or `"2"`; in whole thousandths.
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^([0-9]+m|[0-9]+(\.[0-9]{1,3})?)$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// Such as `384Mi`.
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[0-9]+(\.[0-9]+)?([kMGTPE]|[KMGTPE]i)?$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
}

/// How much a sidecar logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LogLevel {
    /// Only what someone must look at.
    Error,
    /// And what may become that.
    Warn,
    /// And what changed.
    Info,
    /// And how it was decided.
    Debug,
    /// And every step.
    Trace,
}

impl LogLevel {
    /// The level that `text` names, whatever its case; annotations are written by hand.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace]
            .into_iter()
            .find(|level| level.as_str().eq_ignore_ascii_case(text))
    }

    /// Its name, as written in the kind and in the sidecar's configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "Error",
            Self::Warn => "Warn",
            Self::Info => "Info",
            Self::Debug => "Debug",
            Self::Trace => "Trace",
        }
    }
}
