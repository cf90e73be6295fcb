//! What is said on the command line and in the environment: it wins over the file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use synapse_config::quantity::parse_bytes;
use synapse_config::secret::Secret;
use synapse_config::span::parse_duration;
use synapse_config::written::{Config, Http, Log, LogFormat, LogLevel, Memory, Redis, Service};

use crate::telemetry;

/// A near cache behind a Unix socket: memory, and Redis where one is named.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = false, args_override_self = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// YAML file of the configuration; read again when it changes, taken up when it appears [env: SYNAPSE_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Path of the Unix socket [default: /tmp/synapse.sock] [env: SYNAPSE_SOCKET]
    #[arg(long, value_name = "PATH", global = true)]
    socket: Option<String>,
    /// URL of the Redis that holds the truth: redis://[user:password@]host[:port][/db], rediss://, unix:// [env: SYNAPSE_REDIS_URL]
    #[arg(long, value_name = "URL")]
    redis_url: Option<String>,
    /// What every key begins with in Redis [default: synapse:cache:] [env: SYNAPSE_REDIS_PREFIX]
    #[arg(long, value_name = "PREFIX")]
    redis_prefix: Option<String>,
    /// Bytes of memory, such as 256Mi [default: 64Mi] [env: SYNAPSE_MEMORY]
    #[arg(long, value_name = "QUANTITY")]
    memory: Option<String>,
    /// Where /livez, /readyz and /metrics are answered, such as 127.0.0.1:8311 [default: nowhere] [env: SYNAPSE_HTTP]
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<String>,
    /// File by which the memory survives an orderly restart: left after SIGTERM or SIGINT, taken up and removed by the next start [default: none] [env: SYNAPSE_WARM_FILE]
    #[arg(long, value_name = "PATH")]
    pub(crate) warm_file: Option<PathBuf>,
    /// The most bytes of that file, such as 64Mi; the hottest entries come first [default: the memory] [env: SYNAPSE_WARM_LIMIT]
    #[arg(long, value_name = "QUANTITY", value_parser = parse_bytes, requires = "warm_file")]
    pub(crate) warm_limit: Option<u64>,
    /// How much is logged [default: info] [env: SYNAPSE_LOG_LEVEL]
    #[arg(long, value_enum, ignore_case = true, value_name = "LEVEL")]
    log_level: Option<Level>,
    /// The shape of a log line [default: text on a terminal, json elsewhere] [env: SYNAPSE_LOG_FORMAT]
    #[arg(long, value_enum, ignore_case = true, value_name = "FORMAT")]
    log_format: Option<Format>,
    /// How long it may take to end after SIGTERM or SIGINT: clients, and the warm file if there is one [env: SYNAPSE_GRACE]
    #[arg(long, default_value = "20s", value_parser = parse_duration)]
    pub(crate) grace: Duration,
}

#[derive(Subcommand, Clone, Copy)]
pub(crate) enum Command {
    /// Asks the sidecar that listens on the socket: exit code 0 says yes
    Probe {
        #[arg(value_enum)]
        question: Question,
    },
}

/// What a probe asks.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum Question {
    /// Does the socket answer?
    Ready,
    /// Does the process accept connections?
    Live,
}

#[derive(ValueEnum, Clone, Copy)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(ValueEnum, Clone, Copy)]
enum Format {
    Json,
    Text,
}

/// The older name of `SYNAPSE_SOCKET`.
const OLD_SOCKET: &str = "SYNAPSE_SOCKET_PATH";

/// Flags that variables of the environment can say too; what the command line says wins.
const VARIABLES: &[(&str, &str)] = &[
    ("--config", "SYNAPSE_CONFIG"),
    ("--socket", "SYNAPSE_SOCKET"),
    ("--redis-url", "SYNAPSE_REDIS_URL"),
    ("--redis-prefix", "SYNAPSE_REDIS_PREFIX"),
    ("--memory", "SYNAPSE_MEMORY"),
    ("--http", "SYNAPSE_HTTP"),
    ("--warm-file", "SYNAPSE_WARM_FILE"),
    ("--warm-limit", "SYNAPSE_WARM_LIMIT"),
    ("--log-level", "SYNAPSE_LOG_LEVEL"),
    ("--log-format", "SYNAPSE_LOG_FORMAT"),
    ("--grace", "SYNAPSE_GRACE"),
];

// === impl Args ===

impl Args {
    /// What the command line and the environment say; ends the process where they ask for help or cannot be meant.
    pub(crate) fn read() -> Self {
        let mut said = std::env::args_os();
        let name = said.next().into_iter();
        let variables =
            VARIABLES.iter().filter_map(|(flag, name)| Some(format!("{flag}={}", variable(name)?)));
        Self::parse_from(name.chain(variables.map(OsString::from)).chain(said))
    }

    /// The socket, as far as the command line and the environment tell.
    pub(crate) fn socket_path(&self) -> PathBuf {
        let path = self.socket.clone().or_else(|| variable(OLD_SOCKET));
        PathBuf::from(path.as_deref().unwrap_or(synapse_config::resolved::DEFAULT_SOCKET))
    }

    /// The file's configuration with everything on top that was said here.
    pub(crate) fn laid_over(&self, mut file: Config) -> Config {
        if self.socket.is_some() || variable(OLD_SOCKET).is_some() || file.socket.is_none() {
            file.socket = Some(text(&self.socket_path()));
        }
        let memory = file.memory.get_or_insert_with(Memory::default);
        over(&mut memory.capacity, self.memory.clone());
        if let Some(url) = &self.redis_url {
            let redis = file.redis.get_or_insert_with(Redis::default);
            (redis.url, redis.url_file) = (Some(Secret::new(url)), None);
        }
        if let Some(redis) = &mut file.redis {
            over(&mut redis.key_prefix, self.redis_prefix.clone());
        }
        over(&mut file.http.get_or_insert_with(Http::default).address, self.http.clone());
        let log = file.log.get_or_insert_with(Log::default);
        over(&mut log.level, self.log_level.map(Level::written));
        over(&mut log.format, self.log_format.map(Format::written));
        log.format.get_or_insert_with(telemetry::default_format);
        let service = file.service.get_or_insert_with(Service::default);
        over(&mut service.pod, variable("SYNAPSE_POD"));
        over(&mut service.namespace, variable("SYNAPSE_NAMESPACE"));
        over(&mut service.cache, variable("SYNAPSE_CACHE"));
        over(&mut service.service, variable("SYNAPSE_SERVICE"));
        over(&mut service.publishes, list("SYNAPSE_PUBLISHES"));
        over(&mut service.consumes, list("SYNAPSE_CONSUMES"));
        file
    }
}

impl Level {
    fn written(self) -> LogLevel {
        match self {
            Self::Error => LogLevel::Error,
            Self::Warn => LogLevel::Warn,
            Self::Info => LogLevel::Info,
            Self::Debug => LogLevel::Debug,
            Self::Trace => LogLevel::Trace,
        }
    }
}

impl Format {
    fn written(self) -> LogFormat {
        match self {
            Self::Json => LogFormat::Json,
            Self::Text => LogFormat::Text,
        }
    }
}

fn over<T>(slot: &mut Option<T>, said: Option<T>) {
    if said.is_some() {
        *slot = said;
    }
}

/// A variable of the environment; an empty one says nothing.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn list(name: &str) -> Option<Vec<String>> {
    let items =
        |text: String| text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect();
    variable(name).map(items)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_wins_over_the_file() {
        let args = ["x", "--redis-url", "redis://flag", "--memory", "8Mi", "--log-level", "Debug"];
        let args = Args::parse_from(args);
        let file = Redis { url_file: Some("/x".into()), key_prefix: Some("p:".into()), ..Redis::default() };
        let laid = args.laid_over(Config { redis: Some(file), ..Config::default() });
        let redis = laid.redis.unwrap();
        assert_eq!(redis.url, Some(Secret::new("redis://flag")));
        assert_eq!((redis.url_file, redis.key_prefix), (None, Some("p:".into())));
        assert_eq!(laid.memory.unwrap().capacity.as_deref(), Some("8Mi"));
        assert_eq!(laid.log.unwrap().level, Some(LogLevel::Debug));
    }
}
