//! How a kind says where its Redis is, without ever holding a password.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where Redis is: a `url` without credentials, or `urlFrom` a Secret. Exactly one of the two.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.url) != has(self.urlFrom)")
        .message("give exactly one of url and urlFrom"),
    validation = Rule::new("!has(self.url) || !self.url.contains('@')")
        .message("a url here is readable by everyone who may read this object: put a url with user or password into a Secret and name it in urlFrom")
        .field_path(".url"),
    validation = Rule::new("!has(self.url) || !self.url.matches('[?&](pass|password|user|username)=')")
        .message("a url here is readable by everyone who may read this object: put a url with user or password into a Secret and name it in urlFrom")
        .field_path(".url")
)]
pub struct Connection {
    /// `redis://host[:port]`, or `rediss://host[:port]` for TLS. A host without a dot is a Service of this
    /// namespace. No user, no password: those belong into a Secret, see urlFrom.
    #[schemars(length(min = 9, max = 512), regex(pattern = r"^rediss?://[^\s/?#]+(/[^\s]*)?$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A Secret of this namespace that holds the whole url, credentials included. It is never copied,
    /// and its rotation needs no restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_from: Option<UrlFrom>,
}

/// Where a url with credentials is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UrlFrom {
    /// The Secret, and the key in it whose value is the url.
    pub secret_key_ref: SecretKeyRef,
}

/// One key of a Secret in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret. Of a SynapseCache: pods that are created before the object find the Secret
    /// only when it is called `synapse-` and the cache's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// The key in it. Of a SynapseCache: pods that are created before the object find the keys `url` and
    /// `ca.crt`.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$"))]
    pub key: String,
}

impl SecretKeyRef {
    /// Whether the key can be a file's name. An API server refuses a pod that mounts one that cannot; objects
    /// that were stored before the schema said so may still have it.
    #[must_use]
    pub fn is_a_file(&self) -> bool {
        !matches!(self.key.as_str(), "" | "." | "..") && !self.key.contains('/')
    }
}

/// Whom to trust when the url begins with `rediss://`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// PEM certificates of the authorities that are trusted instead of the public ones.
    pub ca_secret_ref: SecretKeyRef,
}
