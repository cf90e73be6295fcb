//! Keeps the webhook reachable: the Secret, the served certificate, the caBundle, and whether the three agree.
//!
//! Every replica serves what the Secret holds and judges its own readiness. Only the leader writes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::ObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::watch;

use crate::certificates::{IssueError, Material, Plan, plan, verifies};
use crate::serving::{ServeError, Serving};

/// How often the Secret is looked at, in the absence of other news.
const PERIOD: Duration = Duration::from_secs(10);
/// How long one call to the API server may take.
const CALL: Duration = Duration::from_secs(5);
/// Owner of the caBundle fields, and of nothing else.
const FIELD_MANAGER: &str = "synapse-ca-bundle";

/// The objects that are kept.
#[derive(Clone, Debug)]
pub struct Names {
    /// Namespace of the operator, of its Secret and of its Service.
    pub namespace: String,
    /// The Secret that holds the certificates.
    pub secret: String,
    /// The Service that the API server calls.
    pub service: String,
    /// The MutatingWebhookConfiguration.
    pub configuration: String,
}

/// Sees to it that the API server accepts what this replica serves.
pub struct Keeper {
    client: Client,
    names: Names,
    serving: Arc<Serving>,
    leading: watch::Receiver<bool>,
    ready: watch::Sender<bool>,
    served: Option<Material>,
}

/// A step that could not be made; the next one tries again.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The API server refused.
    #[error("failed to {0}: {1}")]
    Api(&'static str, #[source] Box<kube::Error>),
    /// The API server did not answer.
    #[error("failed to {0}: no answer within {CALL:?}")]
    Silent(&'static str),
    /// No certificate could be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The certificate cannot be served.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

// === impl Keeper ===

impl Keeper {
    /// Keeps `names`; tells through `ready` whether admission can be reached.
    #[must_use]
    pub fn new(
        client: Client,
        names: Names,
        serving: Arc<Serving>,
        leading: watch::Receiver<bool>,
        ready: watch::Sender<bool>,
    ) -> Self {
        Self { client, names, serving, leading, ready, served: None }
    }

    /// Keeps until whoever elects is gone: at every change of the webhook configuration or of leadership, and every few seconds.
    pub async fn run(mut self) {
        let only = watcher::Config::default().fields(&format!("metadata.name={}", self.names.configuration));
        let changes = watcher(self.configurations(), only).default_backoff();
        tokio::pin!(changes);
        let mut leading = self.leading.clone();
        let mut tick = tokio::time::interval(PERIOD);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                change = changes.next() => if let Some(Err(error)) = change {
                    tracing::warn!(%error, configuration = self.names.configuration, "unable to watch the webhook configuration");
                    continue;
                },
                // Whoever elects is gone: the process is ending.
                changed = leading.changed() => if changed.is_err() { return },
            }
            let ready = match self.step(now()).await {
                Ok(ready) => ready,
                Err(error) => {
                    tracing::warn!(%error, "unable to keep the webhook's certificates; trying again");
                    // What was true stays true while the API server is away, for as long as the certificate lives.
                    *self.ready.borrow()
                        && self
                            .served
                            .as_ref()
                            .is_some_and(|served| self.is_accepted(served, &served.bundle(), now()))
                }
            };
            self.ready.send_if_modified(|was| std::mem::replace(was, ready) != ready);
        }
    }

    /// One look and, by the leader, one mend. True when the API server accepts what is served here.
    async fn step(&mut self, now: i64) -> Result<bool, KeepError> {
        let leading = *self.leading.borrow();
        let secret = self.secret().await?;
        let configuration = self.configuration().await?;
        let mut bundles = configuration.as_ref().map(bundles).unwrap_or_default();
        let mut material = secret.as_ref().and_then(read_secret);
        if leading {
            let todo = plan(material.as_ref(), &self.hosts(), now);
            if todo != Plan::Keep {
                let mut next = Material::follow(material.as_ref(), todo, &self.hosts(), now)?;
                if todo == Plan::Make {
                    // Other replicas go on serving what these verify, until they see the Secret.
                    next.trust_also(bundles.iter().flat_map(|(_, bundle)| split_bundle(bundle)));
                }
                self.write_secret(secret, &next).await?;
                tracing::info!(plan = ?todo, secret = self.names.secret, "certificates changed");
                material = Some(next);
            }
        }
        let Some(material) = material else { return Ok(false) };
        // Published first, served second: what is served must be known to the API server already.
        if leading && let Some(configuration) = &configuration {
            bundles = self.publish(configuration, &material).await?;
        }
        let is_accepted = |material: &Material| {
            !bundles.is_empty() && bundles.iter().all(|(_, bundle)| self.is_accepted(material, bundle, now))
        };
        let old = self.served.as_ref();
        // A leader may have ended between the Secret and the bundle: who serves what is accepted goes on with that.
        if old != Some(&material) && (is_accepted(&material) || !old.is_some_and(is_accepted)) {
            self.serving.exchange(&material.certificate, &material.key)?;
            let accepted = is_accepted(&material);
            self.served = Some(material);
            return Ok(accepted);
        }
        Ok(old.is_some_and(is_accepted))
    }

    fn is_accepted(&self, material: &Material, bundle: &str, now: i64) -> bool {
        verifies(bundle, &material.certificate, &self.hosts()[0], now)
    }

    /// Names of the Service, as the API server and others call it.
    fn hosts(&self) -> Vec<String> {
        let Names { namespace, service, .. } = &self.names;
        vec![format!("{service}.{namespace}.svc"), format!("{service}.{namespace}.svc.cluster.local")]
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.names.namespace)
    }

    fn configurations(&self) -> Api<MutatingWebhookConfiguration> {
        Api::all(self.client.clone())
    }

    async fn secret(&self) -> Result<Option<Secret>, KeepError> {
        call("get the certificates' Secret", self.secrets().get_opt(&self.names.secret)).await
    }

    async fn configuration(&self) -> Result<Option<MutatingWebhookConfiguration>, KeepError> {
        call("get the webhook configuration", self.configurations().get_opt(&self.names.configuration)).await
    }

    /// Creates the Secret, or replaces the one that was read; two leaders cannot both succeed.
    async fn write_secret(&self, read: Option<Secret>, material: &Material) -> Result<(), KeepError> {
        let post = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        let mut secret = read.clone().unwrap_or_else(|| Secret {
            metadata: ObjectMeta { name: Some(self.names.secret.clone()), ..ObjectMeta::default() },
            type_: Some("kubernetes.io/tls".into()),
            ..Secret::default()
        });
        secret.data = Some(data(material));
        if read.is_some() {
            call(
                "replace the certificates' Secret",
                self.secrets().replace(&self.names.secret, &post, &secret),
            )
            .await?;
        } else {
            call("create the certificates' Secret", self.secrets().create(&post, &secret)).await?;
        }
        Ok(())
    }

    /// Writes the bundle into the entries that exist, and only where another stands there. Entries are never added:
    /// the chart owns them.
    async fn publish(
        &self,
        configuration: &MutatingWebhookConfiguration,
        material: &Material,
    ) -> Result<Vec<(String, String)>, KeepError> {
        let wanted = material.bundle();
        let mut entries = bundles(configuration);
        if entries.iter().any(|(_, bundle)| *bundle != wanted) {
            let encoded = STANDARD.encode(&wanted);
            let webhooks: Vec<_> = entries
                .iter()
                .map(|(name, _)| json!({"name": name, "clientConfig": {"caBundle": encoded}}))
                .collect();
            let patch = json!({
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
                "metadata": {"name": self.names.configuration}, "webhooks": webhooks,
            });
            let params = PatchParams::apply(FIELD_MANAGER).force();
            let configurations = self.configurations();
            let patch = Patch::Apply(&patch);
            let patched = configurations.patch(&self.names.configuration, &params, &patch);
            let patched = call("publish the caBundle", patched).await?;
            tracing::info!(
                configuration = self.names.configuration,
                entries = entries.len(),
                "caBundle published"
            );
            entries = bundles(&patched);
        }
        Ok(entries)
    }
}

/// Names and bundles (PEM; empty where there is none) of the entries.
fn bundles(configuration: &MutatingWebhookConfiguration) -> Vec<(String, String)> {
    let entries = configuration.webhooks.iter().flatten();
    let bundle = |bytes: &ByteString| String::from_utf8_lossy(&bytes.0).into_owned();
    entries
        .map(|entry| {
            (entry.name.clone(), entry.client_config.ca_bundle.as_ref().map(bundle).unwrap_or_default())
        })
        .collect()
}

fn data(material: &Material) -> BTreeMap<String, ByteString> {
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    BTreeMap::from([
        ("ca.crt".to_owned(), bytes(&material.bundle())),
        ("ca.key".to_owned(), bytes(&material.authority_key)),
        ("tls.crt".to_owned(), bytes(&material.certificate)),
        ("tls.key".to_owned(), bytes(&material.key)),
    ])
}

/// What a Secret holds; `None` where a part is missing, so that it is made anew.
fn read_secret(secret: &Secret) -> Option<Material> {
    let text = |key: &str| {
        let bytes = secret.data.as_ref()?.get(key)?;
        String::from_utf8(bytes.0.clone()).ok()
    };
    Some(Material {
        authorities: split_bundle(&text("ca.crt")?),
        authority_key: text("ca.key")?,
        certificate: text("tls.crt")?,
        key: text("tls.key")?,
    })
}

/// The certificates of a PEM bundle, each with its line end.
fn split_bundle(bundle: &str) -> Vec<String> {
    const END: &str = "-----END CERTIFICATE-----";
    bundle
        .split_inclusive(END)
        .filter(|part| part.contains(END))
        .map(|part| format!("{}\n", part.trim()))
        .collect()
}

async fn call<T>(what: &'static str, call: impl Future<Output = kube::Result<T>>) -> Result<T, KeepError> {
    match tokio::time::timeout(CALL, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(KeepError::Api(what, Box::new(error))),
        Err(_) => Err(KeepError::Silent(what)),
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
