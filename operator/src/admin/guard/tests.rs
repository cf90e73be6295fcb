//! Verdicts against an API server that knows two users and counts what it is asked.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::body::to_bytes;
use axum::http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

/// Knows `reader`, who may get `/registry`, and `other`, who may not; each by the token of that name.
#[derive(Default)]
pub(in crate::admin) struct Server {
    pub(in crate::admin) asked: AtomicUsize,
    pub(in crate::admin) broken: AtomicBool,
    pub(in crate::admin) silent: AtomicBool,
}

impl Server {
    pub(in crate::admin) fn guard(self: &Arc<Self>) -> Guard {
        let server = Arc::clone(self);
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = Arc::clone(&server);
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Guard::new(Client::new(service, "default"))
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let (parts, body) = request.into_parts();
        let body = to_bytes(axum::body::Body::new(body), 1 << 20).await.unwrap();
        let mut review: Value = serde_json::from_slice(&body).unwrap();
        review["status"] = match parts.uri.path() {
            _ if self.broken.load(Ordering::Relaxed) => {
                let status = json!({"kind": "Status", "status": "Failure", "code": 403, "message": "", "reason": "Forbidden"});
                return Response::builder()
                    .status(403)
                    .body(Body::from(status.to_string().into_bytes()))
                    .unwrap();
            }
            "/apis/authentication.k8s.io/v1/tokenreviews" => match review["spec"]["token"].as_str() {
                Some(name @ ("reader" | "other")) => json!({"authenticated": true,
                    "user": {"username": name, "groups": ["g"], "extra": {"k": ["v"]}}}),
                _ => json!({"authenticated": false, "error": "no such token"}),
            },
            "/apis/authorization.k8s.io/v1/subjectaccessreviews" => {
                let spec = &review["spec"];
                assert_eq!((&spec["groups"], &spec["extra"]), (&json!(["g"]), &json!({"k": ["v"]})));
                let attributes = json!({"path": "/registry", "verb": "get"});
                json!({"allowed": spec["user"] == "reader" && spec["nonResourceAttributes"] == attributes})
            }
            path => panic!("nobody should ask for {path}"),
        };
        Response::new(Body::from(review.to_string().into_bytes()))
    }
}

async fn judged(guard: &Guard, authorization: &str) -> Verdict {
    guard.judge(Some(authorization), "/registry").await.unwrap()
}

#[tokio::test]
async fn who_is_unknown_who_may_not_and_who_may_are_told_apart() {
    let server = Arc::new(Server::default());
    let guard = server.guard();
    assert_eq!(guard.judge(None, "/registry").await.unwrap(), Verdict::Unknown);
    for nobody in
        ["", "Bearer", "Bearer ", "Basic reader", "reader", &format!("Bearer {}", "x".repeat(20_000))]
    {
        assert_eq!(judged(&guard, nobody).await, Verdict::Unknown, "{nobody:.20}");
    }
    assert_eq!(server.asked.load(Ordering::Relaxed), 0, "these the API server need not be asked about");
    assert_eq!(judged(&guard, "Bearer made-up").await, Verdict::Unknown);
    assert_eq!(judged(&guard, "Bearer other").await, Verdict::Forbidden("other".to_owned()));
    assert_eq!(judged(&guard, "bearer  reader").await, Verdict::Allowed);
    let elsewhere = guard.judge(Some("Bearer reader"), "/state").await.unwrap();
    assert_eq!(elsewhere, Verdict::Forbidden("reader".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_answer_holds_for_a_moment_and_no_longer() {
    let server = Arc::new(Server::default());
    let guard = server.guard();
    for _ in 0..50 {
        assert_eq!(judged(&guard, "Bearer reader").await, Verdict::Allowed);
        assert_eq!(judged(&guard, "Bearer made-up").await, Verdict::Unknown);
    }
    assert_eq!(server.asked.load(Ordering::Relaxed), 3);
    tokio::time::advance(HOLDS).await;
    assert_eq!(judged(&guard, "Bearer reader").await, Verdict::Allowed);
    assert_eq!(server.asked.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn what_is_remembered_is_bounded() {
    let guard = Arc::new(Server::default()).guard();
    for at in 0..MOST + 100 {
        judged(&guard, &format!("Bearer {at}")).await;
    }
    assert!(guard.answers.lock().unwrap().len() <= MOST);
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_nobody_passes_and_nothing_is_remembered() {
    let server = Arc::new(Server::default());
    let guard = server.guard();
    server.broken.store(true, Ordering::Relaxed);
    assert!(matches!(guard.judge(Some("Bearer reader"), "/registry").await, Err(GuardError::Call(_))));
    server.broken.store(false, Ordering::Relaxed);
    server.silent.store(true, Ordering::Relaxed);
    assert!(matches!(guard.judge(Some("Bearer reader"), "/registry").await, Err(GuardError::Late)));
    server.silent.store(false, Ordering::Relaxed);
    assert_eq!(judged(&guard, "Bearer reader").await, Verdict::Allowed);
}
