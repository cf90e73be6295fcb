//! The instance key: how an injected sidecar shows in Redis that it lives, and what it serves.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use synapse_config::resolved::Service;
use synapse_core::remote::Remote;
use synapse_core::reply::Reply;
use synapse_server::backend::Figures;
use tracing::warn;

/// How often the key is written.
pub(crate) const EVERY: Duration = Duration::from_secs(10);

/// When it is tried again after it could not be written.
const AGAIN: Duration = Duration::from_secs(1);

/// How long the key outlives its sidecar, in seconds.
const LIFE_SECONDS: u64 = 30;

/// What one sidecar tells of itself.
pub(crate) struct Instance {
    started_at: String,
    /// A refusal is told once.
    refused: bool,
}

// === impl Instance ===

impl Instance {
    pub(crate) fn new() -> Self {
        Self { started_at: jiff::Timestamp::now().to_string(), refused: false }
    }

    /// Writes the key, and answers when to write it again. Without a pod's name there is none.
    pub(crate) async fn show(
        &mut self,
        service: &Service,
        remote: &dyn Remote,
        figures: &Figures,
    ) -> Duration {
        let Some(key) = key(service) else { return EVERY };
        let redis = if remote.health().is_ok() { "up" } else { "down" };
        let value = json!({
            "namespace": service.namespace,
            "pod": service.pod,
            "cache": service.cache,
            "service": service.service,
            "version": env!("CARGO_PKG_VERSION"),
            "revision": service.revision,
            "publishes": service.publishes,
            "consumes": service.consumes,
            "hits": figures.hits(),
            "misses": figures.misses(),
            "entries": figures.memory.entries,
            "bytes": figures.memory.bytes,
            "redis": redis,
            "startedAt": self.started_at,
        });
        let written = remote.keep_alive(key, Bytes::from(value.to_string()), LIFE_SECONDS).await;
        if let Ok(Reply::Error(refusal)) = &written
            && !std::mem::replace(&mut self.refused, true)
        {
            let refusal = String::from_utf8_lossy(refusal);
            warn!(%refusal, "Redis refuses the instance key: the operator cannot see this sidecar");
        }
        if written.is_ok() { EVERY } else { AGAIN }
    }
}

/// Takes the key back.
pub(crate) async fn leave(service: &Service, remote: &dyn Remote) {
    if let Some(key) = key(service) {
        // Without an answer the key ends by itself.
        let _ = remote.forget(key).await;
    }
}

fn key(service: &Service) -> Option<Bytes> {
    let named = !service.pod.is_empty() && !service.namespace.is_empty();
    named.then(|| Bytes::from(format!("synapse:registry:{}/{}", service.namespace, service.pod)))
}
