//! The configuration of a cache's sidecars: what the operator writes is what the sidecar resolves.

use sha2::{Digest, Sha256};
use synapse_api::cache::{self, SynapseCacheSpec};
use synapse_api::paths;
use synapse_api::sidecar::LogLevel;
use synapse_config::problem::Problems;
use synapse_config::resolved::{self, Settings};
use synapse_config::secret::Secret;
use synapse_config::written::{self, Config};

/// The oldest that a copy may be where Redis announces nothing and the cache does not say.
pub const AGE_WITHOUT_FEED: &str = "5s";
/// Bytes of the hash that are shown: enough to tell revisions apart, short enough to read.
const REVISION_BYTES: usize = 8;

/// A configuration, ready to be mounted.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// The file's text, which names the revision.
    pub text: String,
    /// Hash of everything else in it.
    pub revision: String,
    /// What a sidecar makes of it.
    pub settings: Settings,
}

/// The configuration of the sidecars of the cache `name` in `namespace`.
///
/// # Errors
/// Every value of `spec` that no sidecar could work with.
pub fn render(namespace: &str, name: &str, spec: &SynapseCacheSpec) -> Result<Rendered, Problems> {
    let mut config = config(namespace, name, spec);
    let settings = resolved::resolve(&config)?;
    let unreadable = |error: &dyn std::fmt::Display| {
        let mut problems = Problems::default();
        problems.add("", format!("cannot be written as YAML: {error}"));
        problems
    };
    let text = config.to_yaml().map_err(|error| unreadable(&error))?;
    let hash = Sha256::digest(text.as_bytes());
    let revision: String = hash[..REVISION_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
    config.service =
        Some(written::Service { revision: Some(revision.clone()), ..written::Service::default() });
    let text = config.to_yaml().map_err(|error| unreadable(&error))?;
    Ok(Rendered { text, revision, settings })
}

/// Every key of a cache begins so in Redis, unless the cache says otherwise.
#[must_use]
pub fn key_prefix(namespace: &str, name: &str, redis: &cache::Redis) -> String {
    redis.key_prefix.clone().unwrap_or_else(|| format!("{namespace}:{name}:"))
}

/// Pod, namespace, service and socket are not in it: pods share the file, and learn those from their environment.
fn config(namespace: &str, name: &str, spec: &SynapseCacheSpec) -> Config {
    let sidecar = spec.sidecar.clone().unwrap_or_default();
    let announced = spec.redis.as_ref().is_none_or(|redis| {
        redis.coherence.as_ref().and_then(|coherence| coherence.mode) != Some(cache::CoherenceMode::Off)
    });
    let time_to_live = spec.memory.as_ref().and_then(|memory| memory.time_to_live.clone());
    Config {
        memory: Some(written::Memory {
            capacity: Some(spec.capacity().to_owned()),
            time_to_live: time_to_live.or_else(|| (!announced).then(|| AGE_WITHOUT_FEED.to_owned())),
            shared_reads: spec.memory.as_ref().and_then(|memory| memory.shared_reads).map(
                |reads| match reads {
                    cache::SharedReads::Enabled => written::SharedReads::Enabled,
                    cache::SharedReads::Disabled => written::SharedReads::Disabled,
                },
            ),
        }),
        redis: spec.redis.as_ref().map(|redis| self::redis(key_prefix(namespace, name, redis), redis)),
        http: sidecar.port.map(|port| written::Http { address: Some(format!("0.0.0.0:{port}")) }),
        log: sidecar.log_level.map(|level| written::Log { level: Some(log_level(level)), format: None }),
        ..Config::default()
    }
}

fn redis(prefix: String, redis: &cache::Redis) -> written::Redis {
    let from = redis.connection.url_from.as_ref();
    written::Redis {
        url: redis.connection.url.as_deref().map(Secret::new),
        url_file: from.map(|from| paths::url_file(&from.secret_key_ref.key)),
        key_prefix: Some(prefix),
        time_to_live: redis.time_to_live.clone(),
        coherence: redis.coherence.as_ref().map(|coherence| written::Coherence {
            mode: coherence.mode.map(|mode| match mode {
                cache::CoherenceMode::Tracking => written::CoherenceMode::Tracking,
                cache::CoherenceMode::Off => written::CoherenceMode::Off,
            }),
            max_stale: coherence.max_stale.clone(),
        }),
        flush: redis.flush.map(|flush| match flush {
            cache::Flush::Allowed => written::Flush::Allowed,
            cache::Flush::Refused => written::Flush::Refused,
        }),
        tls: redis
            .tls
            .as_ref()
            .map(|tls| written::Tls { ca_file: Some(paths::ca_file(&tls.ca_secret_ref.key)) }),
        connect_timeout: None,
        command_timeout: None,
    }
}

fn log_level(level: LogLevel) -> written::LogLevel {
    match level {
        LogLevel::Error => written::LogLevel::Error,
        LogLevel::Warn => written::LogLevel::Warn,
        LogLevel::Info => written::LogLevel::Info,
        LogLevel::Debug => written::LogLevel::Debug,
        LogLevel::Trace => written::LogLevel::Trace,
    }
}

#[cfg(test)]
mod tests;
