//! One span for each request that comes in, and for each that is made on the way, joined by the header `traceparent`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tower::{Layer, Service};
use tracing::field::Empty;
use tracing::{Instrument, Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Answers under a span that continues the caller's trace: a middleware for doors.
pub(crate) async fn follow(request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str);
    let method = request.method();
    let span = info_span!(
        "http",
        otel.name = format_args!("{method} {path}"),
        otel.kind = "server",
        http.request.method = %method,
        http.route = path,
        http.response.status_code = Empty,
    );
    if !span.is_disabled() {
        let caller = TraceContextPropagator::new().extract(&HeaderExtractor(request.headers()));
        // It fails only for a span that nobody exports.
        let _ = span.set_parent(caller);
    }
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    response
}

/// Sends the trace that a call belongs to along with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Propagate;

/// A service whose requests carry their trace.
#[derive(Clone, Debug)]
pub(crate) struct Propagating<S>(S);

impl<S> Layer<S> for Propagate {
    type Service = Propagating<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Propagating(inner)
    }
}

type Request_<B> = axum::http::Request<B>;
type Response_<B> = axum::http::Response<B>;

impl<S, B, R> Service<Request_<B>> for Propagating<S>
where
    S: Service<Request_<B>, Response = Response_<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: Request_<B>) -> Self::Future {
        // What nobody asked for begins no trace of its own.
        if Span::current().is_none() {
            return Box::pin(self.0.call(request));
        }
        let span = info_span!(
            "kubernetes",
            otel.name = %request.method(),
            otel.kind = "client",
            http.request.method = %request.method(),
            url.path = request.uri().path(),
            http.response.status_code = Empty,
        );
        if !span.is_disabled() {
            let headers = &mut HeaderInjector(request.headers_mut());
            TraceContextPropagator::new().inject_context(&span.context(), headers);
        }
        let answer = self.0.call(request).instrument(span.clone());
        Box::pin(async move {
            let answer = answer.await;
            if let Ok(answer) = &answer {
                span.record("http.response.status_code", answer.status().as_u16());
            }
            answer
        })
    }
}
