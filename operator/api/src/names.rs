//! Every annotation, label and environment variable that Synapse reads or writes: one table.

/// Names a SynapseCache (pod annotation, namespace label); `"false"` opts a pod out.
pub const INJECT: &str = "synapse.dev/inject";
/// Which containers of a pod get the socket.
pub const CONTAINERS: &str = "synapse.dev/containers";
/// Overrides the sidecar's cpu request.
pub const CPU_REQUEST: &str = "synapse.dev/sidecar-cpu-request";
/// Overrides the sidecar's cpu limit.
pub const CPU_LIMIT: &str = "synapse.dev/sidecar-cpu-limit";
/// Overrides the sidecar's memory request.
pub const MEMORY_REQUEST: &str = "synapse.dev/sidecar-memory-request";
/// Overrides the sidecar's memory limit.
pub const MEMORY_LIMIT: &str = "synapse.dev/sidecar-memory-limit";
/// Overrides the sidecar's image.
pub const IMAGE: &str = "synapse.dev/sidecar-image";
/// Overrides how much the sidecar logs.
pub const LOG_LEVEL: &str = "synapse.dev/sidecar-log-level";
/// The service that a pod belongs to.
pub const SERVICE: &str = "synapse.dev/service";
/// The topics that a pod says it publishes to.
pub const PUBLISHES: &str = "synapse.dev/publishes";
/// The topics that a pod says it consumes.
pub const CONSUMES: &str = "synapse.dev/consumes";
/// What was injected, written by the webhook.
pub const STATUS: &str = "synapse.dev/status";
/// The cache of an injected pod, written by the webhook.
pub const CACHE: &str = "synapse.dev/cache";

/// Value of [`INJECT`] that opts a pod out of its namespace's label.
pub const OPT_OUT: &str = "false";
/// Value of [`CONTAINERS`] that means every app container.
pub const ALL_CONTAINERS: &str = "*";
/// The longest name of a cache: it becomes a label's value.
pub const MAX_CACHE_NAME: usize = 63;

/// Path of the socket.
pub const ENV_SOCKET: &str = "SYNAPSE_SOCKET";
/// Name of the pod.
pub const ENV_POD: &str = "SYNAPSE_POD";
/// Namespace of the pod.
pub const ENV_NAMESPACE: &str = "SYNAPSE_NAMESPACE";
/// Service that the pod belongs to.
pub const ENV_SERVICE: &str = "SYNAPSE_SERVICE";
/// Name of the cache, in the sidecar alone.
pub const ENV_CACHE: &str = "SYNAPSE_CACHE";
/// Topics that the pod publishes to, in the sidecar alone.
pub const ENV_PUBLISHES: &str = "SYNAPSE_PUBLISHES";
/// Topics that the pod consumes, in the sidecar alone.
pub const ENV_CONSUMES: &str = "SYNAPSE_CONSUMES";
/// Ports that the pod's containers declare, in the sidecar alone: its admin door stays closed on them.
pub const ENV_PORTS_TAKEN: &str = "SYNAPSE_PORTS_TAKEN";
/// Value of [`ENV_PORTS_TAKEN`] in a pod on its node's network.
pub const EVERY_PORT: &str = "*";
/// How much the sidecar logs, in the sidecar alone and only where an annotation says so.
pub const ENV_LOG_LEVEL: &str = "SYNAPSE_LOG_LEVEL";

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The key itself.
    pub name: &'static str,
    /// Where it is read or written.
    pub on: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

/// Every annotation and label, in the order of the documentation.
pub const KEYS: [Key; 14] = [
    Key {
        name: INJECT,
        on: "pod annotation",
        meaning: "name of a SynapseCache in the pod's namespace: the pod gets its sidecar. `\"false\"` opts out of what the namespace's label says",
    },
    Key {
        name: INJECT,
        on: "namespace label",
        meaning: "the same name, for every pod of the namespace that does not say otherwise",
    },
    Key {
        name: CONTAINERS,
        on: "pod annotation",
        meaning: "which containers get the socket: `*` (every app container, also when absent), or a list separated by commas, in which init containers may be named",
    },
    Key {
        name: CPU_REQUEST,
        on: "pod annotation",
        meaning: "cpu that is set aside for this pod's sidecar, such as `50m`",
    },
    Key {
        name: CPU_LIMIT,
        on: "pod annotation",
        meaning: "cpu that this pod's sidecar may not exceed, such as `\"1\"`",
    },
    Key {
        name: MEMORY_REQUEST,
        on: "pod annotation",
        meaning: "memory that is set aside for this pod's sidecar, such as `96Mi`",
    },
    Key {
        name: MEMORY_LIMIT,
        on: "pod annotation",
        meaning: "memory that this pod's sidecar may not exceed; it must hold the cache's capacity",
    },
    Key { name: IMAGE, on: "pod annotation", meaning: "image of this pod's sidecar" },
    Key {
        name: LOG_LEVEL,
        on: "pod annotation",
        meaning: "how much this pod's sidecar logs: Error, Warn, Info, Debug or Trace",
    },
    Key {
        name: SERVICE,
        on: "pod annotation",
        meaning: "the service that the pod belongs to, for the registry; when absent, the label `app.kubernetes.io/name`, then `app`, then the owner's name",
    },
    Key {
        name: PUBLISHES,
        on: "pod annotation",
        meaning: "topics that the service publishes to, separated by commas, for the registry",
    },
    Key {
        name: CONSUMES,
        on: "pod annotation",
        meaning: "topics that the service consumes, separated by commas, for the registry",
    },
    Key {
        name: STATUS,
        on: "pod annotation, written",
        meaning: "JSON: the cache, the version that injected, a hash of the injected parts, and the problems met",
    },
    Key {
        name: CACHE,
        on: "pod label, written",
        meaning: "the cache's name: the pods of a cache are one selector away",
    },
];

/// Every environment variable that an injected pod may find, in the order of the documentation.
pub const VARIABLES: [Key; 9] = [
    Key { name: ENV_SOCKET, on: "chosen containers", meaning: "path of the Unix socket" },
    Key { name: ENV_POD, on: "chosen containers, sidecar", meaning: "name of the pod" },
    Key { name: ENV_NAMESPACE, on: "chosen containers, sidecar", meaning: "namespace of the pod" },
    Key {
        name: ENV_SERVICE,
        on: "chosen containers, sidecar",
        meaning: "service that the pod belongs to; absent where nothing says it",
    },
    Key { name: ENV_CACHE, on: "sidecar", meaning: "name of the SynapseCache" },
    Key { name: ENV_PUBLISHES, on: "sidecar", meaning: "topics that the service publishes to" },
    Key { name: ENV_CONSUMES, on: "sidecar", meaning: "topics that the service consumes" },
    Key {
        name: ENV_PORTS_TAKEN,
        on: "sidecar",
        meaning: "ports that the pod's containers declare, or `*` on the node's network: the admin door stays closed on them, whenever a cache asks for it",
    },
    Key { name: ENV_LOG_LEVEL, on: "sidecar", meaning: "how much it logs, where an annotation says so" },
];

/// Whether `name` can be the name of a SynapseCache.
#[must_use]
pub fn is_cache_name(name: &str) -> bool {
    let label = |part: &str| {
        let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        !part.is_empty()
            && part.bytes().all(|byte| alphanumeric(byte) || byte == b'-')
            && part.bytes().next().is_some_and(alphanumeric)
            && part.bytes().next_back().is_some_and(alphanumeric)
    };
    name.len() <= MAX_CACHE_NAME && !matches!(name, "true" | "false") && name.split('.').all(label)
}

/// Name of the ConfigMap that holds the configuration of a cache's sidecars.
#[must_use]
pub fn config_map(cache: &str) -> String {
    format!("synapse-{cache}")
}

/// Name of the Secret that a pod mounts when its cache was unknown at its admission.
#[must_use]
pub fn conventional_secret(cache: &str) -> String {
    format!("synapse-{cache}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_caches_are_names_of_objects_that_fit_a_label() {
        for good in ["a", "sessions", "my-cache.v2", "0", &"x".repeat(63)] {
            assert!(is_cache_name(good), "{good}");
        }
        for bad in
            ["", "true", "false", "-a", "a-", "a..b", ".a", "A", "a_b", "a b", "ü", "../x", &"x".repeat(64)]
        {
            assert!(!is_cache_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_key_has_one_row_for_each_place() {
        for (at, key) in KEYS.iter().enumerate() {
            let twice = KEYS[..at].iter().any(|other| other.name == key.name && other.on == key.on);
            assert!(!twice && key.name.starts_with("synapse.dev/"), "{}", key.name);
        }
    }
}
