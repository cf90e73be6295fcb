//! The plain door for probes and Prometheus: `/livez`, `/readyz`, `/metrics`.

use std::future::Future;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What the door tells of.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    /// Every metric of the process.
    pub(crate) registry: Arc<Registry>,
    /// Whether the API server accepts what the webhook serves here.
    pub(crate) reachable: watch::Receiver<bool>,
    /// Whether caches and namespaces were listed.
    pub(crate) known: watch::Receiver<bool>,
}

/// Serves on `listener` until `shutdown`.
///
/// # Errors
/// When the listener fails.
pub(crate) async fn serve(
    listener: TcpListener,
    admin: Admin,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router(admin)).with_graceful_shutdown(shutdown).await
}

fn router(admin: Admin) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(admin)
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let (reachable, known) = (*admin.reachable.borrow(), *admin.known.borrow());
    let why = match (reachable, known) {
        (true, true) => return "ok\n".into_response(),
        (false, _) => "the caBundle in the cluster does not verify the certificate that is served here\n",
        (true, false) => "caches and namespaces are not listed yet\n",
    };
    (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &admin.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    async fn ask(admin: &Admin, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = router(admin.clone()).oneshot(request).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_needs_both_and_liveness_neither() {
        let (reachable, known) = (watch::Sender::new(false), watch::Sender::new(false));
        let admin = Admin {
            registry: Arc::new(Registry::default()),
            reachable: reachable.subscribe(),
            known: known.subscribe(),
        };
        assert_eq!(ask(&admin, "/livez").await.0, StatusCode::OK);
        let (status, why) = ask(&admin, "/readyz").await;
        assert!(status == StatusCode::SERVICE_UNAVAILABLE && why.contains("caBundle"), "{why}");
        reachable.send_replace(true);
        assert!(ask(&admin, "/readyz").await.1.contains("not listed"));
        known.send_replace(true);
        assert_eq!(ask(&admin, "/readyz").await, (StatusCode::OK, "ok\n".to_owned()));
        assert!(ask(&admin, "/metrics").await.1.ends_with("# EOF\n"));
        assert_eq!(ask(&admin, "/registry").await.0, StatusCode::NOT_FOUND);
    }
}
