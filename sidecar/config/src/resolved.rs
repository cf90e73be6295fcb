//! The configuration as the sidecar works with it: numbers parsed, defaults filled in, contradictions refused.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::problem::Problems;
use crate::quantity::parse_bytes;
use crate::secret::Secret;
use crate::span::parse_duration;
use crate::written::{self, CoherenceMode, Flush, LogFormat, LogLevel, SharedReads};

/// Everything the composition root needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Path of the Unix socket.
    pub socket: PathBuf,
    /// The memory tier.
    pub memory: Memory,
    /// The truth behind it, if there is one.
    pub redis: Option<Redis>,
    /// Where the admin door listens, if it does.
    pub http: Option<SocketAddr>,
    /// How much is logged.
    pub log_level: LogLevel,
    /// In which shape.
    pub log_format: LogFormat,
    /// Who this instance is.
    pub service: Service,
}

/// The memory tier.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// Bytes.
    pub capacity: u64,
    /// The longest that a copy is kept.
    pub time_to_live: Option<Duration>,
    /// Whether clients may map it.
    pub shared_reads: bool,
}

impl Memory {
    /// What may be under way on one connection to Redis, and what the unfinished requests of all clients may hold
    /// together, in bytes: it comes on top of the capacity, and a small cache has little room beside it.
    pub fn in_flight(&self) -> usize {
        let share = usize::try_from(self.capacity / IN_FLIGHT_SHARE).unwrap_or(MAX_IN_FLIGHT);
        share.saturating_add(MIN_IN_FLIGHT).min(MAX_IN_FLIGHT)
    }
}

/// The Redis that holds the truth.
#[derive(Clone, Debug, PartialEq)]
pub struct Redis {
    /// Where its URL comes from.
    pub location: Location,
    /// What every key begins with.
    pub key_prefix: String,
    /// The deadline of an entry that is written without one.
    pub time_to_live: Option<Duration>,
    /// How copies follow the truth.
    pub coherence: CoherenceMode,
    /// How long copies are served after the feed was last heard.
    pub max_stale: Duration,
    /// Whether FLUSHDB works.
    pub flush: Flush,
    /// PEM file of trusted authorities.
    pub ca_file: Option<PathBuf>,
    /// Limit for opening a connection.
    pub connect_timeout: Duration,
    /// Limit for an answer.
    pub command_timeout: Duration,
}

/// Where the URL of Redis comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Location {
    /// Written in the configuration.
    Url(Secret),
    /// In a file, read again for every connection.
    File(PathBuf),
}

/// Who this instance is, for the registry; empty texts where nobody said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Service {
    /// Name of the pod.
    pub pod: String,
    /// Its namespace.
    pub namespace: String,
    /// Name of the cache.
    pub cache: String,
    /// Name of the service.
    pub service: String,
    /// Topics it says it publishes to.
    pub publishes: Vec<String>,
    /// Topics it says it consumes.
    pub consumes: Vec<String>,
    /// Revision of the configuration.
    pub revision: String,
}

/// Where the socket is by hand.
pub const DEFAULT_SOCKET: &str = "/tmp/synapse.sock";
/// The prefix by hand.
pub const DEFAULT_KEY_PREFIX: &str = "synapse:cache:";
/// Bytes of memory when nothing is written.
pub const DEFAULT_CAPACITY: u64 = 64 << 20;
/// How long copies are served while the feed is down, when nothing is written.
pub const DEFAULT_MAX_STALE: Duration = Duration::from_secs(5);

const MIN_CAPACITY: u64 = 1 << 20;
/// As much as the memory tier can name the places of.
const MAX_CAPACITY: u64 = 32 << 30;
/// What is under way is held up to five times (measured with the largest values that a full cache takes): in a read buffer
/// that grew for it, as it is sent to Redis, as it comes back, as an answer, and in pages that the allocator has not given
/// back yet. Five times 6 MiB and a thirty-second of the capacity fit into what [`crate::footprint`] leaves beside entries.
const IN_FLIGHT_SHARE: u64 = 32;
const MIN_IN_FLIGHT: usize = 6 << 20;
const MAX_IN_FLIGHT: usize = 128 << 20;
/// `sun_path` holds 108 bytes, one of them the final zero.
const MAX_SOCKET_PATH: usize = 107;
const MAX_PREFIX: usize = 512;
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const DEFAULT_COMMAND_TIMEOUT: Duration = Duration::from_millis(500);
const MIN_TIMEOUT: Duration = Duration::from_millis(1);
const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// What `written` means.
///
/// # Errors
/// Every value that cannot be worked with, each with its path; all of them at once.
pub fn resolve(written: &written::Config) -> Result<Settings, Problems> {
    let mut problems = Problems::default();
    let socket = written.socket.as_deref().unwrap_or(DEFAULT_SOCKET);
    if !socket.starts_with('/') || socket.len() > MAX_SOCKET_PATH || socket.contains('\0') {
        problems.add("socket", format!("write an absolute path of at most {MAX_SOCKET_PATH} bytes"));
    }
    let memory = memory(&written.memory.clone().unwrap_or_default(), &mut problems);
    let redis = written.redis.as_ref().map(|redis| self::redis(redis, &mut problems));
    if redis.as_ref().is_some_and(|r| r.coherence == CoherenceMode::Off) && memory.time_to_live.is_none() {
        problems.add(
            "memory.timeToLive",
            "needed with redis.coherence.mode Off: it is then the only bound on how old a copy may be",
        );
    }
    let address = written.http.as_ref().and_then(|http| http.address.as_deref());
    let http = address.and_then(|text| match text.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            problems.add("http.address", "write an IP address and a port, such as 127.0.0.1:8311");
            None
        }
    });
    let log = written.log.clone().unwrap_or_default();
    let settings = Settings {
        socket: PathBuf::from(socket),
        memory,
        redis,
        http,
        log_level: log.level.unwrap_or_default(),
        log_format: log.format.unwrap_or_default(),
        service: service(&written.service.clone().unwrap_or_default(), &mut problems),
    };
    problems.or(settings)
}

fn memory(written: &written::Memory, problems: &mut Problems) -> Memory {
    let capacity = match written.capacity.as_deref().map(parse_bytes) {
        None => DEFAULT_CAPACITY,
        Some(Ok(bytes @ MIN_CAPACITY..=MAX_CAPACITY)) => bytes,
        Some(Ok(_)) => {
            problems.add("memory.capacity", "write a quantity between 1Mi and 32Gi");
            DEFAULT_CAPACITY
        }
        Some(Err(error)) => {
            problems.add("memory.capacity", error.to_string());
            DEFAULT_CAPACITY
        }
    };
    let time_to_live = positive(&written.time_to_live, "memory.timeToLive", problems);
    Memory { capacity, time_to_live, shared_reads: written.shared_reads == Some(SharedReads::Enabled) }
}

fn redis(written: &written::Redis, problems: &mut Problems) -> Redis {
    let coherence = written.coherence.clone().unwrap_or_default();
    let max_stale = match coherence.max_stale.as_deref().map(parse_duration) {
        None => DEFAULT_MAX_STALE,
        Some(Ok(span)) => span,
        Some(Err(error)) => {
            problems.add("redis.coherence.maxStale", error.to_string());
            DEFAULT_MAX_STALE
        }
    };
    let key_prefix = written.key_prefix.clone().unwrap_or_else(|| DEFAULT_KEY_PREFIX.to_owned());
    if key_prefix.is_empty() || key_prefix.len() > MAX_PREFIX {
        problems.add("redis.keyPrefix", format!("write between 1 and {MAX_PREFIX} bytes"));
    }
    let ca_file = written.tls.as_ref().and_then(|tls| tls.ca_file.as_ref()).map(PathBuf::from);
    Redis {
        location: location(written, ca_file.is_some(), problems),
        key_prefix,
        time_to_live: positive(&written.time_to_live, "redis.timeToLive", problems),
        coherence: coherence.mode.unwrap_or_default(),
        max_stale,
        flush: written.flush.unwrap_or_default(),
        ca_file,
        connect_timeout: timeout(
            &written.connect_timeout,
            DEFAULT_CONNECT_TIMEOUT,
            "redis.connectTimeout",
            problems,
        ),
        command_timeout: timeout(
            &written.command_timeout,
            DEFAULT_COMMAND_TIMEOUT,
            "redis.commandTimeout",
            problems,
        ),
    }
}

fn location(written: &written::Redis, has_ca: bool, problems: &mut Problems) -> Location {
    match (&written.url, &written.url_file) {
        (Some(url), None) => {
            let text = url.expose();
            let known = ["redis://", "rediss://", "unix://"].iter().any(|scheme| {
                text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty() && !rest.starts_with('?'))
            });
            if !known || text.contains(char::is_whitespace) {
                problems.add("redis.url", "write redis://, rediss:// or unix:// followed by where it is");
            } else if has_ca && !text.starts_with("rediss://") {
                problems.add("redis.tls.caFile", "only used with a rediss:// URL");
            }
            Location::Url(url.clone())
        }
        (None, Some(file)) => {
            if !file.starts_with('/') {
                problems.add("redis.urlFile", "write an absolute path");
            }
            Location::File(PathBuf::from(file))
        }
        (Some(_), Some(_)) | (None, None) => {
            problems.add("redis", "write exactly one of url and urlFile");
            Location::Url(Secret::default())
        }
    }
}

fn service(written: &written::Service, problems: &mut Problems) -> Service {
    let named = [
        ("service.pod", &written.pod),
        ("service.namespace", &written.namespace),
        ("service.cache", &written.cache),
        ("service.service", &written.service),
        ("service.revision", &written.revision),
    ];
    for (path, value) in named {
        if value.as_ref().is_some_and(|v| v.len() > 253 || v.contains(char::is_control)) {
            problems.add(path, "write at most 253 bytes without control characters");
        }
    }
    if written.pod.is_some() && written.namespace.as_deref().unwrap_or_default().is_empty() {
        problems.add("service.namespace", "needed with service.pod");
    }
    Service {
        pod: written.pod.clone().unwrap_or_default(),
        namespace: written.namespace.clone().unwrap_or_default(),
        cache: written.cache.clone().unwrap_or_default(),
        service: written.service.clone().unwrap_or_default(),
        publishes: written.publishes.clone().unwrap_or_default(),
        consumes: written.consumes.clone().unwrap_or_default(),
        revision: written.revision.clone().unwrap_or_default(),
    }
}

fn positive(text: &Option<String>, path: &str, problems: &mut Problems) -> Option<Duration> {
    match parse_duration(text.as_deref()?) {
        Ok(span) if !span.is_zero() => return Some(span),
        Ok(_) => problems.add(path, "write more than zero, or leave it out"),
        Err(error) => problems.add(path, error.to_string()),
    }
    None
}

fn timeout(text: &Option<String>, default: Duration, path: &str, problems: &mut Problems) -> Duration {
    match text.as_deref().map(parse_duration) {
        None => return default,
        Some(Ok(span)) if (MIN_TIMEOUT..=MAX_TIMEOUT).contains(&span) => return span,
        Some(Ok(_)) => problems.add(path, "write between 1ms and 60s"),
        Some(Err(error)) => problems.add(path, error.to_string()),
    }
    default
}
