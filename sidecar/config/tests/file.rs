//! The file as a whole: what the operator writes is what the sidecar reads, and what is wrong is said at once.

use std::time::Duration;

use synapse_config::read::from_yaml;
use synapse_config::resolved::{Location, resolve};
use synapse_config::secret::Secret;
use synapse_config::written::{
    Coherence, CoherenceMode, Config, Flush, Http, Log, LogFormat, LogLevel, Memory, Redis, Service,
    SharedReads, Tls,
};

fn everything() -> Config {
    let text = |s: &str| Some(s.to_owned());
    Config {
        socket: text("/run/synapse/synapse.sock"),
        memory: Some(Memory {
            capacity: text("256Mi"),
            time_to_live: text("10m"),
            shared_reads: Some(SharedReads::Enabled),
        }),
        redis: Some(Redis {
            url: None,
            url_file: text("/etc/synapse/redis/url"),
            key_prefix: text("shop:cart:"),
            time_to_live: text("1h30m"),
            coherence: Some(Coherence { mode: Some(CoherenceMode::Tracking), max_stale: text("0") }),
            flush: Some(Flush::Allowed),
            tls: Some(Tls { ca_file: text("/etc/synapse/ca.crt") }),
            connect_timeout: text("250ms"),
            command_timeout: text("1s"),
        }),
        http: Some(Http { address: text("127.0.0.1:8311") }),
        log: Some(Log { level: Some(LogLevel::Debug), format: Some(LogFormat::Text) }),
        service: Some(Service {
            pod: text("cart-7c9-x"),
            namespace: text("shop"),
            cache: text("cart"),
            service: text("cart"),
            publishes: Some(vec!["orders".into(), "yes".into(), "1.0".into()]),
            consumes: Some(vec![]),
            revision: text("0123"),
        }),
    }
}

#[test]
fn what_is_written_is_read_back() {
    let mut bare = everything();
    bare.memory = None;
    bare.service.as_mut().unwrap().revision = Some("null".into());
    let mut odd = everything();
    odd.redis.as_mut().unwrap().key_prefix = Some("a: #\"'\n\u{85}{é".into());
    for config in [Config::default(), everything(), bare, odd] {
        let text = config.to_yaml().unwrap();
        assert_eq!(from_yaml(&text).unwrap(), config, "{text}");
    }
}

#[test]
fn defaults_are_not_written_out() {
    assert_eq!(Config::default().to_yaml().unwrap().trim(), "{}");
}

#[test]
fn resolved_values_are_numbers() {
    let settings = resolve(&everything()).unwrap();
    assert_eq!(settings.memory.capacity, 256 << 20);
    assert_eq!(settings.memory.time_to_live, Some(Duration::from_secs(600)));
    assert!(settings.memory.shared_reads);
    let redis = settings.redis.unwrap();
    assert_eq!(redis.location, Location::File("/etc/synapse/redis/url".into()));
    assert_eq!(redis.max_stale, Duration::ZERO);
    assert_eq!(redis.time_to_live, Some(Duration::from_secs(5400)));
}

#[test]
fn a_file_with_nothing_in_it_works() {
    let settings = resolve(&Config::default()).unwrap();
    assert_eq!(settings.memory.capacity, 64 << 20);
    assert_eq!(settings.redis, None);
}

#[test]
fn all_problems_come_together_and_hold_no_secret() {
    let text = "
socket: relative
memory: {capacity: 100m, timeToLive: 0s}
redis:
  url: 'http://u:hunter2@h'
  keyPrefix: ''
  timeToLive: 5
  coherence: {maxStale: soon}
  commandTimeout: 2m
http: {address: localhost}
service: {pod: p}
";
    let problems = match from_yaml(text) {
        Err(problems) => {
            assert_eq!(problems.0[0].path, "redis.timeToLive");
            resolve(&from_yaml(&text.replace("timeToLive: 5", "timeToLive: x")).unwrap()).unwrap_err()
        }
        Ok(written) => resolve(&written).unwrap_err(),
    };
    let mut paths: Vec<&str> = problems.0.iter().map(|p| p.path.as_str()).collect();
    paths.sort_unstable();
    let expected = [
        "http.address",
        "memory.capacity",
        "memory.timeToLive",
        "redis.coherence.maxStale",
        "redis.commandTimeout",
        "redis.keyPrefix",
        "redis.timeToLive",
        "redis.url",
        "service.namespace",
        "socket",
    ];
    assert_eq!(paths, expected, "{problems}");
    assert!(!format!("{problems} {problems:?}").contains("hunter2"));
}

#[test]
fn a_url_is_never_shown() {
    let mut config = everything();
    config.redis.as_mut().unwrap().url_file = None;
    config.redis.as_mut().unwrap().url = Some(Secret::new("rediss://u:hunter2@h"));
    let settings = resolve(&config).unwrap();
    assert!(!format!("{config:?} {settings:?}").contains("hunter2"));
}

#[test]
fn contradictions_are_refused() {
    let one = |text: &str| resolve(&from_yaml(text).unwrap()).unwrap_err().0.remove(0).path;
    assert_eq!(one("redis: {}"), "redis");
    assert_eq!(one("redis: {url: redis://h, urlFile: /x}"), "redis");
    assert_eq!(one("redis: {url: redis://h, coherence: {mode: Off}}"), "memory.timeToLive");
    assert_eq!(one("redis: {url: redis://h, tls: {caFile: /x}}"), "redis.tls.caFile");
    assert_eq!(one("memory: {capacity: 1Ki}"), "memory.capacity");
}

#[test]
fn what_may_be_under_way_follows_the_capacity_within_bounds() {
    let in_flight = |capacity: &str| {
        let written = from_yaml(&format!("memory: {{capacity: {capacity}}}")).unwrap();
        resolve(&written).unwrap().memory.in_flight() >> 20
    };
    assert_eq!([in_flight("1Mi"), in_flight("64Mi"), in_flight("32Gi")], [6, 8, 128]);
}
