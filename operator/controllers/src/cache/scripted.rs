//! An API server that a test plays: what is asked of it, and what it answers.

use std::convert::Infallible;

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// An object, or the code and the reason of a refusal.
pub(super) type Answer = Result<Value, (u16, &'static str)>;

pub(super) const NOT_FOUND: Answer = Err((404, "NotFound"));

/// A client whose every request is answered by `answer`, from its method, its path and what was sent.
pub(super) fn client(answer: impl Fn(&Method, &str, Value) -> Answer + Clone + Send + 'static) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = answer.clone();
        async move {
            let (parts, body) = request.into_parts();
            let sent = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap_or_default();
            let (code, body) = match answer(&parts.method, parts.uri.path(), sent) {
                Ok(object) => (200, object),
                Err((code, reason)) => (
                    code,
                    json!({"kind": "Status", "status": "Failure", "reason": reason, "message": "scripted", "code": code}),
                ),
            };
            let body = Body::from(body.to_string().into_bytes());
            Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
        }
    });
    Client::new(service, "shop")
}
