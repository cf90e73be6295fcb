//! Where things lie inside an injected pod: what the injector mounts and what the configuration names.

/// The directory of the socket: writable for the sidecar, read-only for everyone else.
pub const SOCKET_DIR: &str = "/run/synapse";
/// The socket.
pub const SOCKET: &str = "/run/synapse/synapse.sock";
/// The directory of the mounted ConfigMap.
pub const CONFIG_DIR: &str = "/etc/synapse/config";
/// The key in the ConfigMap, hence the file's name.
pub const CONFIG_KEY: &str = "sidecar.yaml";
/// The sidecar's configuration.
pub const CONFIG_FILE: &str = "/etc/synapse/config/sidecar.yaml";
/// The directory of the mounted Secrets, in the sidecar alone.
pub const CREDENTIALS_DIR: &str = "/etc/synapse/credentials";
/// Key of the url in a Secret that is found by its conventional name.
pub const CONVENTIONAL_URL_KEY: &str = "url";
/// Key of the authorities in a Secret that is found by its conventional name.
pub const CONVENTIONAL_CA_KEY: &str = "ca.crt";

/// Path of the url below [`CREDENTIALS_DIR`].
///
/// It carries the key's name: a pod that mounts another key than its cache names now is outdated, not
/// silently wrong.
#[must_use]
pub fn url_item(key: &str) -> String {
    format!("redis/{key}")
}

/// Path of the trusted authorities below [`CREDENTIALS_DIR`].
#[must_use]
pub fn ca_item(key: &str) -> String {
    format!("ca/{key}")
}

/// The file that holds the url, for the configuration's `redis.urlFile`.
#[must_use]
pub fn url_file(key: &str) -> String {
    format!("{CREDENTIALS_DIR}/{}", url_item(key))
}

/// The file that holds the trusted authorities, for the configuration's `redis.tls.caFile`.
#[must_use]
pub fn ca_file(key: &str) -> String {
    format!("{CREDENTIALS_DIR}/{}", ca_item(key))
}
