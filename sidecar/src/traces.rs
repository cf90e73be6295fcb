//! The export of traces over OTLP/HTTP: nothing of it exists unless the environment names an endpoint.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{anyhow, bail};
use bytes::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry::global;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Handle;
use tracing::{debug, info, warn};

/// What the service is called unless `OTEL_SERVICE_NAME` says otherwise.
const SERVICE: &str = "synapse-sidecar";

/// The longest that one export may take, and what is left to be exported at the end.
const PATIENCE: Duration = Duration::from_secs(5);

/// An export that runs. Its spans are lost unless it is closed.
pub(crate) struct Export {
    provider: SdkTracerProvider,
}

// === impl Export ===

impl Export {
    /// Begins to export where the environment names an endpoint, in the standard's variables. Must be called inside a
    /// tokio runtime.
    ///
    /// # Errors
    /// When what the variables say does not work; repeats none of it.
    pub(crate) fn start() -> anyhow::Result<Option<Self>> {
        if !is_wanted(|name| std::env::var(name).ok()) {
            return Ok(None);
        }
        let protocol =
            variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or(variable("OTEL_EXPORTER_OTLP_PROTOCOL"));
        if protocol.is_some_and(|protocol| protocol != "http/protobuf") {
            bail!("OTEL_EXPORTER_OTLP_PROTOCOL: traces are exported as http/protobuf, and not otherwise");
        }
        let exporter = SpanExporter::builder().with_http().with_http_client(Client::new()).build();
        // Its own words would repeat the endpoint, in which a password may stand.
        let exporter = exporter.map_err(|_| {
            anyhow!(
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT is no URL that can be used"
            )
        })?;
        let resource = Resource::builder();
        let resource = match variable("OTEL_SERVICE_NAME") {
            Some(_) => resource,
            None => resource.with_service_name(SERVICE),
        };
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .build();
        global::set_text_map_propagator(TraceContextPropagator::new());
        Ok(Some(Self { provider }))
    }

    /// What makes spans.
    pub(crate) fn tracer(&self) -> SdkTracer {
        self.provider.tracer(SERVICE)
    }

    /// Exports what is left, for as long as that is worth waiting for.
    pub(crate) async fn close(self) {
        let closing = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(PATIENCE));
        if let Ok(Err(error)) = closing.await {
            warn!(%error, "the last traces were not exported");
        }
    }
}

/// Whether an endpoint is named and nothing forbids the export.
fn is_wanted(variable: impl Fn(&str) -> Option<String>) -> bool {
    let is = |name, value: &str| variable(name).is_some_and(|said: String| said.eq_ignore_ascii_case(value));
    let named = |name| variable(name).is_some_and(|endpoint| !endpoint.is_empty());
    let endpoint = named("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") || named("OTEL_EXPORTER_OTLP_ENDPOINT");
    endpoint && !is("OTEL_SDK_DISABLED", "true") && !is("OTEL_TRACES_EXPORTER", "none")
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Sends exports on the runtime: the exporter has a thread of its own, on which nothing of tokio works.
struct Client {
    inner: HyperClient<HttpsConnector<HttpConnector>>,
    runtime: Handle,
    /// A collector that is away is told once, and so is its return.
    failing: AtomicBool,
}

impl Client {
    fn new() -> Self {
        let trust = HttpsConnectorBuilder::new().with_native_roots().unwrap_or_else(|error| {
            // An image may have no authorities, and a collector beside the pod needs none.
            debug!(%error, "no authority is trusted");
            let nobody = ClientConfig::builder().with_root_certificates(RootCertStore::empty());
            HttpsConnectorBuilder::new().with_tls_config(nobody.with_no_client_auth())
        });
        let connector = trust.https_or_http().enable_http1().build();
        let inner = HyperClient::new(connector, PATIENCE, None);
        Self { inner, runtime: Handle::current(), failing: AtomicBool::new(false) }
    }

    fn note(&self, outcome: &Result<Response<Bytes>, HttpError>) {
        let why = match outcome {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("it answered {}", response.status())),
            Err(error) => Some(error.to_string()),
        };
        match (why, self.failing.load(Ordering::Relaxed)) {
            (Some(why), false) => warn!(why, "traces cannot be exported"),
            (None, true) => info!("traces are exported again"),
            _ => return,
        }
        self.failing.fetch_not(Ordering::Relaxed);
    }
}

impl HttpClient for Client {
    fn send_bytes<'s, 'f>(
        &'s self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let inner = self.inner.clone();
            let sending = self.runtime.spawn(async move { inner.send_bytes(request).await });
            let outcome = sending.await.unwrap_or_else(|ended| Err(Box::new(ended) as HttpError));
            self.note(&outcome);
            outcome
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_exported_unless_an_endpoint_is_named() {
        let wanted = |said: &[(&str, &str)]| {
            is_wanted(|name| {
                said.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        assert!(!wanted(&[]));
        assert!(!wanted(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]));
        assert!(wanted(&[endpoint]));
        assert!(wanted(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4318/v1/traces")]));
        assert!(!wanted(&[endpoint, ("OTEL_SDK_DISABLED", "true")]));
        assert!(!wanted(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]));
    }
}
