//! The HTTPS door of admission: one path, bounds on what is read and how long it may take, answers that never deny.

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use futures::StreamExt;
use hyper_util::rt::TokioTimer;

use crate::connections::Few;
use crate::review::{Admission, ReviewError};
use crate::serving::Serving;
use crate::weight::Share;

/// The path that the webhook configuration names.
pub const PATH: &str = "/inject";
/// The largest review that is read, in bytes. An API server takes requests of 3 MB, and the review of a creation carries
/// one object with a little around it.
pub const MAX_REVIEW: usize = 4 << 20;
/// How long a body may take to arrive once there is room for it. It comes over the cluster's own network.
const BODY_WITHIN: Duration = Duration::from_secs(3);
/// How long an answer may take: the API server does not wait longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long the head of a request may take to arrive.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// How often an idle connection is asked whether anyone is left.
const ALIVE_EVERY: Duration = Duration::from_secs(20);
/// Requests of one connection at a time; an API server opens another one for more.
const STREAMS: u32 = 32;
/// Bytes of one request that are taken before somebody reads it.
const STREAM_WINDOW: u32 = 16 << 10;
/// Bytes of a connection likewise: as much as all of its requests, so that one that waits for room never keeps another
/// one, which has room, from its bytes.
const CONNECTION_WINDOW: u32 = STREAMS * STREAM_WINDOW;
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
    let mut server = axum_server::from_tcp(listener)?
        .acceptor(RustlsAcceptor::new(tls).handshake_timeout(HEAD_WITHIN).acceptor(Few::default()))
        .handle(handle.clone());
    let mut builder = server.http_builder().http1();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(CONNECTION_WINDOW as usize);
    let mut builder = builder.http2();
    builder.timer(TokioTimer::new()).keep_alive_interval(ALIVE_EVERY);
    builder.max_concurrent_streams(STREAMS);
    builder.initial_stream_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
    let server = server.serve(routes.into_make_service());
    tokio::pin!(server);
    tokio::select! {
        ended = &mut server => return ended,
        () = shutdown => handle.graceful_shutdown(Some(GRACE)),
    }
    server.await
}

/// The routes alone.
pub fn router(admission: Arc<Admission>) -> Router {
    Router::new().route(PATH, post(review)).with_state(admission)
}

async fn review(State(admission): State<Arc<Admission>>, body: Body) -> Response {
    let answer = async {
        let (body, _share) = read(&admission, body).await?;
        admission.review(&body).await.map_err(|error| {
            let code = match error {
                ReviewError::TooMany(_) => StatusCode::PAYLOAD_TOO_LARGE,
                ReviewError::Json(_) | ReviewError::Shape(_) => StatusCode::BAD_REQUEST,
            };
            (code, format!("{error}\n"))
        })
    };
    match tokio::time::timeout(ANSWER_WITHIN, answer).await {
        Ok(Ok(answer)) => axum::Json(answer).into_response(),
        Ok(Err(refusal)) => refusal.into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "too many reviews at once\n").into_response(),
    }
}

/// The whole body, and the room that it takes.
async fn read(admission: &Admission, body: Body) -> Result<(Vec<u8>, Share), (StatusCode, String)> {
    let refuse = |code, why: String| {
        admission.refused();
        Err((code, why))
    };
    let too_large = || (StatusCode::PAYLOAD_TOO_LARGE, format!("a review has at most {MAX_REVIEW} bytes\n"));
    let length = body.size_hint().exact().map_or(Some(MAX_REVIEW), |length| usize::try_from(length).ok());
    let Some(length) = length.filter(|length| *length <= MAX_REVIEW) else {
        let (code, why) = too_large();
        return refuse(code, why);
    };
    let share = admission.room().for_body(length).await;
    let reading = async {
        let mut whole = Vec::with_capacity(length);
        let mut parts = body.into_data_stream();
        while let Some(part) = parts.next().await {
            let part = part.map_err(|error| (StatusCode::BAD_REQUEST, format!("{error}\n")))?;
            if whole.len() + part.len() > MAX_REVIEW {
                return Err(too_large());
            }
            whole.extend_from_slice(&part);
        }
        Ok(whole)
    };
    match tokio::time::timeout(BODY_WITHIN, reading).await {
        Ok(Ok(whole)) => Ok((whole, share)),
        Ok(Err((code, why))) => refuse(code, why),
        Err(_) => refuse(StatusCode::REQUEST_TIMEOUT, format!("no whole review within {BODY_WITHIN:?}\n")),
    }
}

#[cfg(test)]
mod tests;
