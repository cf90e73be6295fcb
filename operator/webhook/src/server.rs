//! The HTTPS door of admission: one path, a bound on what is read, answers that never deny.

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;

use crate::review::Admission;
use crate::serving::Serving;

/// The path that the webhook configuration names.
pub const PATH: &str = "/inject";
/// The largest review that is read, in bytes. An API server accepts objects of 3 MB, and a review carries one of them
/// with a little around it; on updates it would carry two.
pub const MAX_REVIEW: usize = 8 << 20;
/// How long requests that were accepted may take once the server is told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// Serves `routes`, such as [`router`] makes them, on `listener` until `shutdown`, then finishes what was accepted.
///
/// # Errors
/// When TLS cannot be set up, or the listener fails.
pub async fn serve(
    listener: TcpListener,
    serving: &Arc<Serving>,
    routes: Router,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let tls = RustlsConfig::from_config(serving.tls().map_err(io::Error::other)?);
    let handle = Handle::new();
    let server =
        axum_server::from_tcp_rustls(listener, tls)?.handle(handle.clone()).serve(routes.into_make_service());
    tokio::pin!(server);
    tokio::select! {
        ended = &mut server => return ended,
        () = shutdown => handle.graceful_shutdown(Some(GRACE)),
    }
    server.await
}

/// The routes alone.
pub fn router(admission: Arc<Admission>) -> Router {
    Router::new().route(PATH, post(review)).layer(DefaultBodyLimit::max(MAX_REVIEW)).with_state(admission)
}

async fn review(State(admission): State<Arc<Admission>>, body: Bytes) -> Response {
    match admission.review(&body).await {
        Ok(answer) => axum::Json(answer).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests;
