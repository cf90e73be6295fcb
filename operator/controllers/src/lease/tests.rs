//! Elections against a scripted API server, in simulated time.

use super::*;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::sync::Barrier;

/// How the scripted server treats its callers.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Answers,
    Fails,
    Freezes,
}

/// A server of one Lease, with resource versions and conflicts.
#[derive(Clone)]
struct Server(Arc<Mutex<Stored>>);

struct Stored {
    lease: Option<Lease>,
    version: u64,
    mood: Mood,
    writes: u64,
    conflicts: u64,
    /// Where writers wait for each other.
    together: Option<Arc<Barrier>>,
}

impl Server {
    fn new() -> Self {
        let (lease, together) = (None, None);
        let (version, writes, conflicts) = (0, 0, 0);
        Self(Arc::new(Mutex::new(Stored {
            lease,
            version,
            mood: Mood::Answers,
            writes,
            conflicts,
            together,
        })))
    }

    fn set(&self, mood: Mood) {
        self.0.lock().unwrap().mood = mood;
    }

    fn holder(&self) -> String {
        let stored = self.0.lock().unwrap();
        let spec = stored.lease.as_ref().and_then(|l| l.spec.clone()).unwrap_or_default();
        spec.holder_identity.unwrap_or_default()
    }

    fn writes(&self) -> u64 {
        self.0.lock().unwrap().writes
    }

    fn candidate(&self, me: &str) -> Election {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        let api = Api::namespaced(kube::Client::new(service, "synapse"), "synapse");
        Election::new(api, "synapse-operator", me.to_owned(), Timing::default())
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let mood = self.0.lock().unwrap().mood;
        if mood == Mood::Freezes {
            return std::future::pending().await;
        }
        let method = request.method().clone();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let together = self.0.lock().unwrap().together.clone();
        if let Some(together) = together.filter(|_| method != Method::GET) {
            together.wait().await;
        }
        let mut stored = self.0.lock().unwrap();
        let status = |code: StatusCode, reason: &str| {
            let text = serde_json::json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "code": code.as_u16(), "reason": reason, "message": "scripted"});
            Response::builder().status(code).body(Body::from(serde_json::to_vec(&text).unwrap())).unwrap()
        };
        if stored.mood == Mood::Fails {
            return status(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
        }
        if method != Method::GET {
            let mut sent: Lease = serde_json::from_slice(&body).unwrap();
            let known = stored.lease.as_ref().and_then(|l| l.metadata.resource_version.clone());
            if sent.metadata.resource_version != known {
                stored.conflicts += 1;
                return status(StatusCode::CONFLICT, "Conflict");
            }
            stored.version += 1;
            stored.writes += 1;
            sent.metadata.resource_version = Some(stored.version.to_string());
            stored.lease = Some(sent);
        }
        match &stored.lease {
            Some(lease) => Response::new(Body::from(serde_json::to_vec(lease).unwrap())),
            None => status(StatusCode::NOT_FOUND, "NotFound"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_takes_it_and_the_second_waits() {
    let server = Server::new();
    server.candidate("a").acquire().await;
    assert_eq!(server.holder(), "a");
    let mut b = server.candidate("b");
    assert!(timeout(Duration::from_secs(14), b.acquire()).await.is_err(), "a valid lease was taken");
}

#[tokio::test(start_paused = true)]
async fn a_silent_leader_is_followed_after_the_duration() {
    let server = Server::new();
    server.candidate("a").acquire().await;
    let start = Instant::now();
    server.candidate("b").acquire().await;
    assert_eq!(server.holder(), "b");
    let waited = start.elapsed();
    assert!((Duration::from_secs(15)..Duration::from_secs(20)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_renews_stays_one() {
    let server = Server::new();
    let mut a = server.candidate("a");
    a.acquire().await;
    let mut b = server.candidate("b");
    let both = async { tokio::join!(a.hold(), b.acquire()) };
    assert!(timeout(Duration::from_secs(600), both).await.is_err(), "leadership changed hands");
    assert!(server.writes() > 200, "renewed about every two seconds");
}

#[tokio::test(start_paused = true)]
async fn a_frozen_server_ends_leadership_before_another_may_begin() {
    let server = Server::new();
    let mut a = server.candidate("a");
    a.acquire().await;
    server.set(Mood::Freezes);
    let start = Instant::now();
    assert_eq!(a.hold().await, Lost::Deadline);
    assert_eq!(start.elapsed().as_secs(), 10, "at the deadline, without any answer");
}

#[tokio::test(start_paused = true)]
async fn a_failing_server_is_borne_until_the_deadline_and_forgiven_before() {
    let server = Server::new();
    let mut a = server.candidate("a");
    a.acquire().await;
    server.set(Mood::Fails);
    assert!(timeout(Duration::from_secs(6), a.hold()).await.is_err());
    server.set(Mood::Answers);
    assert!(timeout(Duration::from_secs(60), a.hold()).await.is_err());
    server.set(Mood::Fails);
    assert_eq!(a.hold().await, Lost::Deadline);
}

#[tokio::test(start_paused = true)]
async fn a_lease_taken_by_another_is_lost_at_the_next_look() {
    let server = Server::new();
    let mut a = server.candidate("a");
    a.acquire().await;
    sleep(Duration::from_secs(1)).await;
    {
        let mut stored = server.0.lock().unwrap();
        stored.lease.as_mut().unwrap().spec.as_mut().unwrap().holder_identity = Some("c".into());
    }
    assert_eq!(a.hold().await, Lost::Taken("c".into()));
}

#[tokio::test(start_paused = true)]
async fn of_two_that_take_it_at_once_one_meets_the_version() {
    let server = Server::new();
    server.candidate("gone").acquire().await;
    // Both have read the expired lease before either writes.
    server.0.lock().unwrap().together = Some(Arc::new(Barrier::new(2)));
    let (mut a, mut b) = (server.candidate("a"), server.candidate("b"));
    let within = Duration::from_secs(25);
    let (a, b) = tokio::join!(timeout(within, a.acquire()), timeout(within, b.acquire()));
    assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
    assert_eq!(server.holder(), if a.is_ok() { "a" } else { "b" });
    assert_eq!(server.0.lock().unwrap().conflicts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_at_once_and_only_its_holder_releases_it() {
    let server = Server::new();
    let mut a = server.candidate("a");
    a.acquire().await;
    let mut b = server.candidate("b");
    b.release().await;
    assert_eq!(server.holder(), "a");
    a.release().await;
    assert_eq!(server.holder(), "");
    let start = Instant::now();
    b.acquire().await;
    assert!(start.elapsed() < Duration::from_secs(1));
}
