//! What the pod leaves to its sidecar: a capacity within its container's memory limit, and no port that the pod needs.
//!
//! The configuration is shared by all pods of a cache, and may grow after a pod got its limit: a sidecar that filled
//! what its limit cannot hold would be killed, again and again.

use std::fs;

use synapse_config::footprint::capacity_within;
use synapse_config::resolved::Settings;
use tracing::warn;

/// Where the kernel tells the limit of this container, by the version of its control groups.
const LIMITS: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
/// Ports that the pod's own containers declare, separated by commas, or [`EVERY_PORT`].
const PORTS_TAKEN: &str = "SYNAPSE_PORTS_TAKEN";
/// Said where the pod uses its node's network: each of its ports is one of the node.
const EVERY_PORT: &str = "*";

/// `settings`, as far as this pod can have them.
pub(crate) fn fit(settings: Settings) -> Settings {
    let limit = LIMITS.iter().find_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    let ports = std::env::var(PORTS_TAKEN).unwrap_or_default();
    within(settings, limit, &ports)
}

fn within(mut settings: Settings, limit: Option<u64>, ports: &str) -> Settings {
    let wanted = settings.memory.capacity;
    let most = limit.map_or(u64::MAX, capacity_within);
    if wanted > most {
        warn!(wanted, capacity = most, limit, "the memory limit cannot hold the capacity: less is kept");
        settings.memory.capacity = most;
    }
    let taken = |port: u16| {
        ports.split(',').map(str::trim).any(|taken| taken == EVERY_PORT || taken.parse() == Ok(port))
    };
    if let Some(address) = settings.http.filter(|address| taken(address.port())) {
        warn!(%address, "no admin door: the pod needs the port itself");
        settings.http = None;
    }
    settings
}

#[cfg(test)]
mod tests {
    use synapse_config::resolved::resolve;
    use synapse_config::written::{Config, Http, Memory};

    use super::*;

    fn settings(capacity: &str, address: &str) -> Settings {
        let config = Config {
            memory: Some(Memory { capacity: Some(capacity.into()), ..Memory::default() }),
            http: Some(Http { address: Some(address.into()) }),
            ..Config::default()
        };
        resolve(&config).unwrap()
    }

    #[test]
    fn a_capacity_that_grew_after_the_pod_was_admitted_stays_within_its_limit() {
        let capacity = |wanted, limit| within(settings(wanted, "0.0.0.0:1"), limit, "").memory.capacity;
        assert_eq!(capacity("1Gi", Some(128 << 20)), 64 << 20);
        assert_eq!(capacity("64Mi", Some(128 << 20)), 64 << 20);
        assert_eq!(capacity("1Gi", None), 1 << 30);
        assert_eq!(capacity("1Gi", Some(9_223_372_036_854_771_712)), 1 << 30);
        assert_eq!(capacity("1Gi", Some(1)), 1 << 20);
    }

    #[test]
    fn a_port_of_the_pod_stays_the_pods() {
        let door = |ports| within(settings("64Mi", "0.0.0.0:8080"), None, ports).http.is_some();
        assert!(door("") && door("80,9090") && door("nonsense"));
        assert!(!door("8080") && !door("80, 8080") && !door("*"));
    }
}
