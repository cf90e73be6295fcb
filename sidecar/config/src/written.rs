//! The configuration as it is written: the shape that the operator serialises and the sidecar reads.

use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// The whole file. What is not written has its default, and is not written out again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Path of the Unix socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<String>,
    /// The memory of this process (L1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// The Redis that holds the truth; without it, memory is all there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<Redis>,
    /// The admin door: `/livez`, `/readyz`, `/metrics`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
    /// How much is logged, and how.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<Log>,
    /// What the registry says of this instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
}

/// Section `memory`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Memory {
    /// Quantity of bytes, such as `256Mi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<String>,
    /// The longest that memory keeps a copy; invisible to TTL answers while Redis holds the truth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_to_live: Option<String>,
    /// Whether clients may map the memory and read entries without asking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_reads: Option<SharedReads>,
}

/// Section `redis`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redis {
    /// `redis://[user:password@]host[:port][/db]`, `rediss://...` for TLS, or `unix:///path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<Secret>,
    /// A file that holds such a URL (a mounted Secret); read again for every connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_file: Option<String>,
    /// What every key of the cache begins with in Redis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_prefix: Option<String>,
    /// The deadline of an entry that is written without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_to_live: Option<String>,
    /// How copies in memory follow the truth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coherence: Option<Coherence>,
    /// Whether FLUSHDB may delete what lies under the prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flush: Option<Flush>,
    /// Trust for `rediss://`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// The longest that opening a connection may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<String>,
    /// The longest that a client waits for an answer that needs Redis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_timeout: Option<String>,
}

/// Section `redis.coherence`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Coherence {
    /// Tracking by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<CoherenceMode>,
    /// How long copies are served after the feed of invalidations was last heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_stale: Option<String>,
}

/// How copies in memory follow the truth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CoherenceMode {
    /// Redis announces every change under the prefix.
    #[default]
    Tracking,
    /// Nothing is announced: a copy may be as old as `memory.timeToLive`.
    Off,
}

/// Whether clients may map the memory and read entries without asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SharedReads {
    /// They may.
    Enabled,
    /// They ask over the socket.
    #[default]
    Disabled,
}

/// Whether FLUSHDB may delete what lies under the prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Flush {
    /// FLUSHDB deletes every key under the prefix.
    Allowed,
    /// FLUSHDB is answered with an error.
    #[default]
    Refused,
}

/// Section `redis.tls`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    /// PEM file of the authorities that are trusted instead of the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
}

/// Section `http`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Http {
    /// `HOST:PORT` with an IP address as host; no admin door without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// Section `log`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Log {
    /// Info by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<LogLevel>,
    /// Json by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<LogFormat>,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogLevel {
    /// Only what someone must look at.
    Error,
    /// And what may become that.
    Warn,
    /// And what changed.
    #[default]
    Info,
    /// And how it was decided.
    Debug,
    /// And every step.
    Trace,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For people.
    Text,
}

/// Section `service`: who this instance is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    /// Name of the pod; without it nothing is registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Its namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the SynapseCache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<String>,
    /// Name of the service that the pod belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Topics that it says it publishes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publishes: Option<Vec<String>>,
    /// Topics that it says it consumes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumes: Option<Vec<String>>,
    /// Revision of this configuration, by which the operator tells pods that have it from pods that do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

// === impl Config ===

impl Config {
    /// The file's text.
    ///
    /// # Errors
    /// When the text cannot be produced; not seen for any value of this type.
    pub fn to_yaml(&self) -> Result<String, serde_saphyr::ser::Error> {
        serde_saphyr::to_string(self)
    }
}
