//! The volumes of an injected pod: the socket's directory, the configuration, the credentials.

use serde_json::{Value, json};
use synapse_api::cache::SynapseCacheSpec;
use synapse_api::connection::SecretKeyRef;
use synapse_api::{names, paths};

use super::pod::{Pod, name};
use super::status::InjectedStatus;

/// A volume of the socket holds a socket: its size is a guard, not a budget.
const SOCKET_SIZE: &str = "1Mi";
/// Everyone in the sidecar may read: its files are mounted nowhere else.
const READABLE: i32 = 0o444;

/// Names of our volumes in one pod.
#[derive(Clone, Debug)]
pub(super) struct Volumes {
    pub(super) socket: String,
    pub(super) config: String,
    pub(super) credentials: String,
}

impl Volumes {
    /// Names that no volume of the pod has: a volume of one of our names is someone else's, so ours is
    /// called `synapse-2`, and so on.
    pub(super) fn named_for(pod: &Pod<'_>) -> Self {
        let free = |wanted: &str| {
            let taken = |candidate: &str| pod.volumes().iter().any(|volume| name(volume) == Some(candidate));
            std::iter::once(wanted.to_owned())
                .chain((2..).map(|number| format!("{wanted}-{number}")))
                .find(|candidate| !taken(candidate))
                .unwrap_or_else(|| wanted.to_owned())
        };
        Self {
            socket: free("synapse"),
            config: free("synapse-config"),
            credentials: free("synapse-credentials"),
        }
    }

    /// The names of an earlier pass; of these only the socket's is still needed.
    pub(super) fn named_before(status: &InjectedStatus) -> Self {
        Self { socket: status.volume.clone(), config: String::new(), credentials: String::new() }
    }

    /// The volumes themselves.
    pub(super) fn definitions(&self, cache: &str, spec: Option<&SynapseCacheSpec>) -> Vec<Value> {
        vec![
            // Memory: a disk emptyDir would keep an autoscaler from removing the node.
            json!({"name": self.socket, "emptyDir": {"medium": "Memory", "sizeLimit": SOCKET_SIZE}}),
            json!({
                "name": self.config,
                "configMap": {"name": names::config_map(cache), "optional": true, "defaultMode": READABLE}
            }),
            json!({
                "name": self.credentials,
                "projected": {"defaultMode": READABLE, "sources": sources(cache, spec)}
            }),
        ]
    }
}

/// The Secrets that the cache names, or the conventional one where it names none or is not known yet.
fn sources(cache: &str, spec: Option<&SynapseCacheSpec>) -> Vec<Value> {
    let redis = spec.and_then(|spec| spec.redis.as_ref());
    let url = redis.and_then(|redis| redis.connection.url_from.as_ref()).map(|from| &from.secret_key_ref);
    let ca = redis.and_then(|redis| redis.tls.as_ref()).map(|tls| &tls.ca_secret_ref);
    let conventional =
        |key: &str| SecretKeyRef { name: names::conventional_secret(cache), key: key.to_owned() };
    // A path that an API server refuses would keep every pod of the cache from being created.
    let (url, ca) = (url.filter(|url| url.is_a_file()), ca.filter(|ca| ca.is_a_file()));
    let url = url.cloned().unwrap_or_else(|| conventional(paths::CONVENTIONAL_URL_KEY));
    let ca = ca.cloned().unwrap_or_else(|| conventional(paths::CONVENTIONAL_CA_KEY));
    vec![source(&url, paths::url_item(&url.key)), source(&ca, paths::ca_item(&ca.key))]
}

fn source(secret: &SecretKeyRef, path: String) -> Value {
    json!({"secret": {"name": secret.name, "items": [{"key": secret.key, "path": path}], "optional": true}})
}
