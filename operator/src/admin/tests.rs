//! What the door says to whom.

use std::sync::atomic::Ordering;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use tower::ServiceExt;

use super::*;
use guard::tests::Server;

/// A door, and what it is told through.
struct Scene {
    admin: Admin,
    server: Arc<Server>,
    reachable: watch::Sender<bool>,
    known: watch::Sender<bool>,
    leading: watch::Sender<bool>,
}

impl Scene {
    fn new() -> Self {
        let [reachable, known, leading] = [(); 3].map(|()| watch::Sender::new(false));
        let server = Arc::new(Server::default());
        let admin = Admin {
            registry: Arc::new(Registry::default()),
            reachable: reachable.subscribe(),
            known: known.subscribe(),
            leading: leading.subscribe(),
            seen: Arc::new(state::State::register(&mut Registry::default())),
            guard: Arc::new(server.guard()),
        };
        Self { admin, server, reachable, known, leading }
    }

    async fn ask(&self, path: &str, authorization: Option<&str>) -> (StatusCode, String) {
        let mut request = Request::get(path);
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body(Body::empty()).unwrap();
        let answer = router(self.admin.clone()).oneshot(request).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}

#[tokio::test]
async fn readiness_needs_both_and_liveness_neither() {
    let scene = Scene::new();
    assert_eq!(scene.ask("/livez", None).await.0, StatusCode::OK);
    let (status, why) = scene.ask("/readyz", None).await;
    assert!(status == StatusCode::SERVICE_UNAVAILABLE && why.contains("caBundle"), "{why}");
    scene.reachable.send_replace(true);
    assert!(scene.ask("/readyz", None).await.1.contains("not listed"));
    scene.known.send_replace(true);
    assert_eq!(scene.ask("/readyz", None).await, (StatusCode::OK, "ok\n".to_owned()));
    assert!(scene.ask("/metrics", None).await.1.ends_with("# EOF\n"));
}

#[tokio::test]
async fn the_registry_is_for_who_may_read_it() {
    let scene = Scene::new();
    scene.leading.send_replace(true);
    assert_eq!(scene.ask("/registry", None).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(scene.ask("/registry", Some("Bearer made-up")).await.0, StatusCode::UNAUTHORIZED);
    let (status, why) = scene.ask("/registry", Some("Bearer other")).await;
    assert!(status == StatusCode::FORBIDDEN && why.contains("other") && why.contains("/registry"), "{why}");
    let expected = (StatusCode::OK, r#"{"instances":[]}"#.to_owned());
    assert_eq!(scene.ask("/registry", Some("Bearer reader")).await, expected);
    // The one path does not open the other.
    assert_eq!(scene.ask("/state", Some("Bearer reader")).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn who_does_not_lead_says_so_to_who_may_know() {
    let scene = Scene::new();
    assert_eq!(scene.ask("/registry", None).await.0, StatusCode::UNAUTHORIZED);
    let (status, why) = scene.ask("/registry", Some("Bearer reader")).await;
    assert!(status == StatusCode::SERVICE_UNAVAILABLE && why.contains("does not lead"), "{why}");
}

#[tokio::test]
async fn nobody_passes_while_the_api_server_says_nothing() {
    let scene = Scene::new();
    scene.leading.send_replace(true);
    scene.server.broken.store(true, Ordering::Relaxed);
    assert_eq!(scene.ask("/registry", Some("Bearer reader")).await.0, StatusCode::SERVICE_UNAVAILABLE);
}
