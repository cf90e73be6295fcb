//! The way of spans to a collector.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;

/// What the service is called unless `OTEL_SERVICE_NAME` says otherwise.
const SERVICE: &str = "synapse-operator";
/// The longest that one export may take, and the last one at the end.
const LIMIT: Duration = Duration::from_secs(5);

/// Spans on their way; those that were not sent yet are lost unless this is closed.
pub(crate) struct Export {
    provider: SdkTracerProvider,
}

/// Sends on the runtime it was made in: the exporter calls from a thread of its own, where there is none.
struct Sender {
    client: Arc<dyn HttpClient>,
    runtime: Handle,
    /// A collector that is away is told of once.
    away: AtomicBool,
}

// === impl Export ===

impl Export {
    /// Begins, inside a runtime, to export to the collector at `endpoint`, unless there is none or the standard's
    /// variables forbid it.
    ///
    /// # Errors
    /// When nothing can be exported there.
    pub(crate) fn start(
        endpoint: Option<&str>,
        says: impl Fn(&str) -> Option<String>,
    ) -> anyhow::Result<Option<Self>> {
        let says = |name: &str| says(name).filter(|value| !value.is_empty());
        let is = |name, value| says(name).is_some_and(|said| said.eq_ignore_ascii_case(value));
        let endpoint = says("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| endpoint.and_then(traces_of));
        let Some(endpoint) = endpoint else { return Ok(None) };
        if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
            return Ok(None);
        }
        let protocol =
            says("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or_else(|| says("OTEL_EXPORTER_OTLP_PROTOCOL"));
        if let Some(protocol) = protocol.filter(|protocol| protocol != "http/protobuf") {
            bail!("traces are exported as http/protobuf, not as {protocol}");
        }
        let exporter = SpanExporter::builder().with_http().with_http_client(Sender::new(&endpoint)?);
        let exporter =
            exporter.with_endpoint(endpoint).build().context("the endpoint of traces cannot be used")?;
        let resource = match says("OTEL_SERVICE_NAME") {
            Some(_) => Resource::builder(),
            None => Resource::builder().with_service_name(SERVICE),
        };
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .build();
        Ok(Some(Self { provider }))
    }

    /// What makes spans.
    pub(crate) fn tracer(&self) -> SdkTracer {
        self.provider.tracer(SERVICE)
    }

    /// Sends what is left.
    pub(crate) async fn close(self) {
        let closing = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(LIMIT));
        if let Ok(Err(error)) = closing.await {
            tracing::warn!(%error, "the last traces were not exported");
        }
    }
}

/// Where a collector takes traces, by the standard's rule.
fn traces_of(endpoint: &str) -> Option<String> {
    let endpoint = endpoint.trim().trim_end_matches('/');
    (!endpoint.is_empty()).then(|| format!("{endpoint}/v1/traces"))
}

// === impl Sender ===

impl Sender {
    fn new(endpoint: &str) -> anyhow::Result<Self> {
        // Only who speaks TLS needs to know whom to trust: an image may hold no authorities at all.
        let client: Arc<dyn HttpClient> = if endpoint.starts_with("https:") {
            let trusting = HttpsConnectorBuilder::new().with_native_roots().context("trusted authorities")?;
            Arc::new(HyperClient::new(trusting.https_only().enable_http1().build(), LIMIT, None))
        } else {
            Arc::new(HyperClient::new(HttpConnector::new(), LIMIT, None))
        };
        Ok(Self { client, runtime: Handle::current(), away: AtomicBool::new(false) })
    }

    fn tell(&self, outcome: &Result<Response<Bytes>, HttpError>) {
        let why = match outcome {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("it answered {}", answer.status())),
            Err(error) => Some(error.to_string()),
        };
        if self.away.swap(why.is_some(), Ordering::Relaxed) == why.is_some() {
            return;
        }
        match why {
            Some(why) => tracing::warn!(why, "the collector takes no traces"),
            None => tracing::info!("the collector takes traces again"),
        }
    }
}

impl HttpClient for Sender {
    fn send_bytes<'s, 'f>(
        &'s self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let client = Arc::clone(&self.client);
            let sent = self.runtime.spawn(async move { client.send_bytes(request).await }).await;
            let outcome = sent.unwrap_or_else(|ended| Err(Box::new(ended)));
            self.tell(&outcome);
            outcome
        })
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}
