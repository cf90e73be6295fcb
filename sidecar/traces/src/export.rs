//! An export that runs, from its first span to its last.

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::task::spawn_blocking;
use tracing::warn;

use crate::sender::Sender;
use crate::variables::{Refusal, asked};

/// The longest that one request to the collector may take, and all that is left at the end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Spans on their way. Close it at the end, or the last of them are lost.
#[derive(Debug)]
pub struct Export {
    provider: SdkTracerProvider,
    service: &'static str,
}

// === impl Export ===

impl Export {
    /// Begins to export the spans of `service`, unless the standard's variables name no endpoint or forbid it. They
    /// are what `says` says, except for those of batches, headers, limits and attributes: the SDK reads these from the
    /// environment itself.
    ///
    /// # Errors
    /// When what the variables ask for cannot be had.
    ///
    /// # Panics
    /// Outside a tokio runtime: what is exported is sent on the caller's.
    pub fn start(
        service: &'static str,
        says: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, Refusal> {
        let Some(asked) = asked(says)? else { return Ok(None) };
        let exporter = SpanExporter::builder().with_http().with_http_client(Sender::new(&asked.endpoint)?);
        let exporter = exporter.with_endpoint(asked.endpoint.to_string()).build();
        // Its own words would repeat the endpoint.
        let exporter = exporter.map_err(|_| Refusal::Endpoint(asked.variable))?;
        let resource =
            if asked.is_named { Resource::builder() } else { Resource::builder().with_service_name(service) };
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .build();
        Ok(Some(Self { provider, service }))
    }

    /// What makes spans.
    pub fn tracer(&self) -> SdkTracer {
        self.provider.tracer(self.service)
    }

    /// Exports what is left, for as long as that is worth waiting for: 5 s.
    pub async fn close(self) {
        // The SDK waits with the thread that it is called on.
        let closing = spawn_blocking(move || self.provider.shutdown_with_timeout(PATIENCE));
        if let Ok(Err(error)) = closing.await {
            warn!(%error, "the last traces were not exported");
        }
    }
}
