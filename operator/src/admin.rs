//! The plain door: `/livez`, `/readyz` and `/metrics` for everyone, `/registry` and `/state` for who may.

mod guard;

use std::future::Future;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use synapse_controllers::state;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::traces::follow;
pub(crate) use guard::Guard;
use guard::Verdict;

/// What the door tells of.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    /// Every metric of the process.
    pub(crate) registry: Arc<Registry>,
    /// Whether the API server accepts what the webhook serves here.
    pub(crate) reachable: watch::Receiver<bool>,
    /// Whether caches and namespaces were listed.
    pub(crate) known: watch::Receiver<bool>,
    /// Whether this replica leads: only the leader sees pods and brokers.
    pub(crate) leading: watch::Receiver<bool>,
    /// What the leader saw last.
    pub(crate) seen: Arc<state::State>,
    /// Who may read it.
    pub(crate) guard: Arc<Guard>,
}

const REGISTRY: &str = "/registry";
const STATE: &str = "/state";

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
        .merge(guarded_routes())
        .with_state(admin)
}

/// These are asked by someone and ask the API server in turn: a trace shows it. Probes and scrapes have none.
fn guarded_routes() -> Router<Admin> {
    Router::new().route(REGISTRY, get(registry)).route(STATE, get(state)).layer(from_fn(follow))
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

/// Which pods run with a sidecar, where, for which service, and what that publishes and consumes.
async fn registry(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    guarded(&admin, &headers, REGISTRY, |seen| json!({"instances": seen.running()})).await
}

/// Every cache and topic, exactly.
async fn state(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    guarded(&admin, &headers, STATE, |seen| json!({"caches": seen.caches(), "topics": seen.topics()})).await
}

async fn guarded(
    admin: &Admin,
    headers: &HeaderMap,
    path: &'static str,
    show: impl FnOnce(&state::State) -> Value,
) -> Response {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let refused = |code: StatusCode, why: String| (code, axum::Json(json!({"error": why}))).into_response();
    match admin.guard.judge(authorization, path).await {
        Ok(Verdict::Allowed) if *admin.leading.borrow() => axum::Json(show(&admin.seen)).into_response(),
        Ok(Verdict::Allowed) => {
            let why = "this replica does not lead, and only the leader sees pods and brokers: ask again, another may answer";
            ([(header::RETRY_AFTER, "1")], refused(StatusCode::SERVICE_UNAVAILABLE, why.to_owned()))
                .into_response()
        }
        Ok(Verdict::Unknown) => {
            let why = "send a token of this cluster: Authorization: Bearer ...".to_owned();
            ([(header::WWW_AUTHENTICATE, "Bearer")], refused(StatusCode::UNAUTHORIZED, why)).into_response()
        }
        Ok(Verdict::Forbidden(user)) => {
            let why = format!("{user} may not get {path}: bind the ClusterRole synapse-registry-reader");
            refused(StatusCode::FORBIDDEN, why)
        }
        Err(error) => {
            tracing::warn!(%error, path, "unable to tell who asks");
            let why = "the API server does not say who asks: try again".to_owned();
            refused(StatusCode::SERVICE_UNAVAILABLE, why)
        }
    }
}

#[cfg(test)]
mod tests;
