//! Requests to the collector: sent on the caller's runtime, and told of when they begin to fail.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Uri;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::runtime::Handle;
use tracing::{info, warn};

use crate::export::PATIENCE;
use crate::variables::Refusal;

/// Sends on the runtime that it was made in: the exporter calls from a thread of its own, where there is none.
pub(crate) struct Sender {
    client: Arc<dyn HttpClient>,
    runtime: Handle,
    /// A collector that is away is told of once, and so is its return.
    is_away: AtomicBool,
}

// === impl Sender ===

impl Sender {
    /// Who sends to `endpoint`, from inside a runtime.
    ///
    /// # Errors
    /// When it speaks TLS and nobody is trusted.
    pub(crate) fn new(endpoint: &Uri) -> Result<Self, Refusal> {
        // Only who speaks TLS needs to know whom to trust: an image may hold no authorities at all.
        let client: Arc<dyn HttpClient> = if endpoint.scheme_str() == Some("https") {
            let trusting = HttpsConnectorBuilder::new().with_native_roots().map_err(Refusal::Trust)?;
            Arc::new(HyperClient::new(trusting.https_only().enable_http1().build(), PATIENCE, None))
        } else {
            Arc::new(HyperClient::new(HttpConnector::new(), PATIENCE, None))
        };
        Ok(Self { client, runtime: Handle::current(), is_away: AtomicBool::new(false) })
    }

    fn tell(&self, outcome: &Result<Response<Bytes>, HttpError>) {
        let why = match outcome {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("it answered {}", answer.status())),
            // Its causes are left out: they may name the endpoint.
            Err(error) => Some(error.to_string()),
        };
        if self.is_away.swap(why.is_some(), Ordering::Relaxed) == why.is_some() {
            return;
        }
        match why {
            Some(why) => warn!(why, "the collector takes no traces"),
            None => info!("the collector takes traces again"),
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
            let sending = self.runtime.spawn(async move { client.send_bytes(request).await });
            let outcome = sending.await.unwrap_or_else(|ended| Err(Box::new(ended)));
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use tracing::subscriber::with_default;

    use super::*;

    #[tokio::test]
    async fn a_collector_that_is_away_is_told_of_once_and_so_is_its_return() {
        let sender = Sender::new(&Uri::from_static("http://127.0.0.1:1/v1/traces")).unwrap();
        let answer = |status| Ok(Response::builder().status(status).body(Bytes::new()).unwrap());
        let failure = || Err(HttpError::from("no way"));
        let lines = lines_of(|| {
            for outcome in [answer(200), failure(), answer(503), failure(), answer(200), answer(204)] {
                sender.tell(&outcome);
            }
            sender.tell(&answer(401));
        });
        let expected =
            ["takes no traces why=\"no way\"", "takes traces again", "\"it answered 401 Unauthorized\""];
        assert_eq!(lines.lines().count(), expected.len(), "{lines}");
        for (line, part) in lines.lines().zip(expected) {
            assert!(line.contains(part), "{line}");
        }
    }

    /// What is logged on this thread meanwhile.
    fn lines_of(told: impl FnOnce()) -> String {
        let mut file = tempfile::tempfile().unwrap();
        let lines = tracing_subscriber::fmt().with_writer(Arc::new(file.try_clone().unwrap()));
        with_default(lines.with_ansi(false).finish(), told);
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        text
    }
}
