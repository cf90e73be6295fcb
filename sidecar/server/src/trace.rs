//! The span of an HTTP request, in which the caller's trace goes on. Where nobody exports traces there is none.

use opentelemetry::global;
use opentelemetry::propagation::Extractor;
use synapse_protocol::http::head::{Head, Method, Trace};
use tracing::field::Empty;
use tracing::{Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The target of every span that is meant for an exporter of traces, and of nothing else.
pub const TARGET: &str = "synapse::trace";

/// The two headers, as a propagator reads them.
struct Headers<'a>(&'a Trace);

/// A span for the request to a route, a part of the caller's trace if it names one.
pub(crate) fn request(head: &Head, route: &'static str) -> Span {
    let method = match head.method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Other => "_OTHER",
    };
    let span = info_span!(
        target: TARGET,
        "http",
        otel.name = format_args!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
    );
    if let (false, Some(trace)) = (span.is_disabled(), &head.trace) {
        let caller = global::get_text_map_propagator(|propagator| propagator.extract(&Headers(trace)));
        // A span that was just made has not begun to be exported: its parent can still be told.
        let _ = span.set_parent(caller);
    }
    span
}

/// Says how the request of the current span was answered.
pub(crate) fn answered(status: u16) {
    let span = Span::current();
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
    }
}

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => Some(&self.0.parent),
            "tracestate" => Some(&self.0.state),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}
