//! What the operator writes, read and resolved as a sidecar does.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use synapse_config::read;
use synapse_config::resolved::Location;
use synapse_config::written::CoherenceMode;

use super::*;

fn spec(spec: Value) -> SynapseCacheSpec {
    serde_json::from_value(spec).unwrap()
}

fn rendered(value: Value) -> (Rendered, Settings) {
    let rendered = render("shop", "catalog", &spec(value)).unwrap();
    let settings = resolved::resolve(&read::from_yaml(&rendered.text).unwrap()).unwrap();
    (rendered, settings)
}

#[test]
fn an_empty_spec_is_a_memory_cache_that_knows_its_revision() {
    let (rendered, settings) = rendered(json!({}));
    assert_eq!((settings.memory.capacity, settings.redis), (64 << 20, None));
    assert_eq!((settings.service.revision, rendered.revision.len()), (rendered.revision, 16));
}

#[test]
fn every_field_arrives_in_the_sidecar() {
    let (_, settings) = rendered(json!({
        "memory": {"capacity": "256Mi", "timeToLive": "10m", "sharedReads": "Enabled"},
        "redis": {
            "connection": {"urlFrom": {"secretKeyRef": {"name": "redis-auth", "key": "dsn"}}},
            "keyPrefix": "shop:", "timeToLive": "24h", "flush": "Allowed",
            "coherence": {"mode": "Tracking", "maxStale": "2s"},
            "tls": {"caSecretRef": {"name": "redis-ca", "key": "ca.pem"}}
        },
        "sidecar": {"port": 9464, "logLevel": "Warn"}
    }));
    let redis = settings.redis.unwrap();
    assert_eq!(settings.memory.capacity, 256 << 20);
    assert_eq!(settings.memory.time_to_live, Some(Duration::from_secs(600)));
    assert!(settings.memory.shared_reads);
    assert_eq!(redis.location, Location::File(PathBuf::from("/etc/synapse/credentials/redis/dsn")));
    assert_eq!(redis.ca_file, Some(PathBuf::from("/etc/synapse/credentials/ca/ca.pem")));
    assert_eq!((redis.key_prefix.as_str(), redis.max_stale), ("shop:", Duration::from_secs(2)));
    assert_eq!((redis.flush, redis.coherence), (written::Flush::Allowed, CoherenceMode::Tracking));
    assert_eq!(redis.time_to_live, Some(Duration::from_secs(86_400)));
    assert_eq!((settings.http.unwrap().port(), settings.log_level), (9464, written::LogLevel::Warn));
}

#[test]
fn keys_begin_with_namespace_and_name_and_age_is_bounded_without_a_feed() {
    let (_, settings) = rendered(json!({
        "redis": {"connection": {"url": "redis://redis:6379"}, "coherence": {"mode": "Off"}}
    }));
    let redis = settings.redis.unwrap();
    assert_eq!(redis.key_prefix, "shop:catalog:");
    assert_eq!(redis.location, Location::Url(Secret::new("redis://redis:6379")));
    assert_eq!(
        (redis.coherence, settings.memory.time_to_live),
        (CoherenceMode::Off, Some(Duration::from_secs(5)))
    );
}

#[test]
fn the_revision_follows_the_content_and_nothing_else() {
    let revision = |value| rendered(value).0.revision;
    assert_eq!(revision(json!({})), revision(json!({"memory": {"capacity": "64Mi"}})));
    assert_ne!(revision(json!({})), revision(json!({"memory": {"capacity": "65Mi"}})));
}

#[test]
fn what_no_sidecar_could_use_is_told_together() {
    let bad = json!({
        "memory": {"capacity": "1k"},
        "redis": {"connection": {"url": "redis://redis"}, "timeToLive": "0s"}
    });
    let problems = render("shop", "catalog", &spec(bad)).unwrap_err();
    let paths: Vec<_> = problems.0.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["memory.capacity", "redis.timeToLive"]);
}
