//! Steps of replicas, against a scripted API server that notes what was served when something was written.

use std::convert::Infallible;
use std::sync::Mutex;

use axum::http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::Value;

use super::*;

const NOW: i64 = 1_800_000_000;

/// What the API server holds, and what was written, in order.
#[derive(Default)]
struct Held {
    secret: Option<Value>,
    bundles: [String; 2],
    writes: Vec<String>,
    /// A Secret that another leader creates in the moment before ours arrives.
    rival: Option<Value>,
    /// The API server refuses to publish.
    refuses: bool,
}

struct Server(Arc<Mutex<Held>>);

struct Replica {
    keeper: Keeper,
    leading: watch::Sender<bool>,
    _ready: watch::Receiver<bool>,
}

// === impl Server ===

impl Server {
    fn new() -> Self {
        Self(Arc::default())
    }

    fn replica(&self, leads: bool) -> Replica {
        let (held, serving) = (Arc::clone(&self.0), Arc::new(Serving::default()));
        let served = Arc::clone(&serving);
        let service = tower::service_fn(move |request: Request<Body>| {
            let (held, served) = (Arc::clone(&held), Arc::clone(&served));
            async move {
                let (parts, body) = request.into_parts();
                let sent = body.collect().await.unwrap().to_bytes();
                let sent = serde_json::from_slice(&sent).unwrap_or_default();
                let (code, body) =
                    answer(&mut held.lock().unwrap(), &parts.method, parts.uri.path(), sent, &served);
                let body = Body::from(body.to_string().into_bytes());
                Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
            }
        });
        let names = Names {
            namespace: "synapse-system".into(),
            secret: "tls".into(),
            service: "webhook".into(),
            configuration: "injector".into(),
        };
        let (leading, led) = watch::channel(leads);
        let (ready, is_ready) = watch::channel(false);
        let keeper = Keeper::new(Client::new(service, "synapse-system"), names, serving, led, ready);
        Replica { keeper, leading, _ready: is_ready }
    }

    fn writes(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().writes)
    }

    fn edit(&self, change: impl FnOnce(&mut Held)) {
        change(&mut self.0.lock().unwrap());
    }
}

fn answer(
    held: &mut Held,
    method: &Method,
    path: &str,
    sent: Value,
    served: &Serving,
) -> (StatusCode, Value) {
    let failure = |code: StatusCode, reason: &str| {
        (
            code,
            json!({"kind": "Status", "status": "Failure", "reason": reason, "message": "", "code": code.as_u16()}),
        )
    };
    let configuration = |held: &Held| {
        let entry = |name: &str, bundle: &String| {
            json!({"name": name, "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "clientConfig": {"caBundle": STANDARD.encode(bundle)}})
        };
        let entries = [entry("pod", &held.bundles[0]), entry("namespace", &held.bundles[1])];
        (StatusCode::OK, json!({"metadata": {"name": "injector"}, "webhooks": entries}))
    };
    match (method, path.ends_with("/injector")) {
        (&Method::GET, true) => configuration(held),
        (&Method::PATCH, true) if held.refuses => failure(StatusCode::FORBIDDEN, "Forbidden"),
        (&Method::PATCH, true) => {
            held.writes.push(format!("publish, {served:?}"));
            for (at, entry) in sent["webhooks"].as_array().unwrap().iter().enumerate() {
                let bundle = entry["clientConfig"]["caBundle"].as_str().unwrap();
                held.bundles[at] = String::from_utf8(STANDARD.decode(bundle).unwrap()).unwrap();
            }
            configuration(held)
        }
        (&Method::GET, false) => match &held.secret {
            Some(secret) => (StatusCode::OK, secret.clone()),
            None => failure(StatusCode::NOT_FOUND, "NotFound"),
        },
        (&Method::POST, false) if held.rival.is_some() => {
            held.secret = held.rival.take();
            failure(StatusCode::CONFLICT, "AlreadyExists")
        }
        (&Method::POST | &Method::PUT, false) => {
            held.writes.push(format!("secret, {served:?}"));
            held.secret = Some(sent.clone());
            (StatusCode::OK, sent)
        }
        _ => panic!("nobody should send {method} {path}"),
    }
}

// === impl Replica ===

impl Replica {
    async fn step(&mut self) -> Result<bool, KeepError> {
        self.keeper.step(NOW).await
    }

    /// Whether the API server accepts what this replica serves, by the bundles of `server`.
    fn is_accepted(&self, server: &Server) -> bool {
        let served = self.keeper.served.as_ref().unwrap();
        let bundles = server.0.lock().unwrap().bundles.clone();
        bundles.iter().all(|bundle| self.keeper.is_accepted(served, bundle, NOW))
    }
}

const NOT_YET: &str = "Serving { has_certificate: false }";
const SERVES: &str = "Serving { has_certificate: true }";

#[tokio::test]
async fn the_leader_publishes_before_it_serves_and_rests_then() {
    let server = Server::new();
    let mut leader = server.replica(true);
    assert!(leader.step().await.unwrap());
    assert_eq!(server.writes(), [format!("secret, {NOT_YET}"), format!("publish, {NOT_YET}")]);
    assert!(leader.step().await.unwrap() && leader.is_accepted(&server));
    assert!(server.writes().is_empty());
    server.edit(|held| held.bundles[1].clear());
    assert!(leader.step().await.unwrap());
    assert_eq!(server.writes(), [format!("publish, {SERVES}")]);
}

#[tokio::test]
async fn a_follower_writes_nothing_and_is_ready_when_the_bundle_verifies_what_it_serves() {
    let server = Server::new();
    let (mut leader, mut follower) = (server.replica(true), server.replica(false));
    assert!(!follower.step().await.unwrap());
    leader.step().await.unwrap();
    server.writes();
    assert!(follower.step().await.unwrap());
    server.edit(|held| held.bundles[0].clear());
    assert!(!follower.step().await.unwrap());
    assert!(server.writes().is_empty());
    follower.leading.send_replace(true);
    assert!(follower.step().await.unwrap());
}

#[tokio::test]
async fn what_is_made_anew_leaves_every_replica_accepted_at_every_moment() {
    let server = Server::new();
    let (mut leader, mut follower) = (server.replica(true), server.replica(false));
    leader.step().await.unwrap();
    follower.step().await.unwrap();
    server.edit(|held| {
        held.secret = None;
        held.bundles[0].push_str("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n");
    });
    assert!(leader.step().await.unwrap());
    // The follower has not looked yet: it serves what the old authority signed.
    assert!(leader.is_accepted(&server) && follower.is_accepted(&server));
    assert_ne!(leader.keeper.served, follower.keeper.served);
    assert!(follower.step().await.unwrap());
    assert_eq!(leader.keeper.served, follower.keeper.served);
    // An hour later the old authority goes.
    let later = NOW + crate::certificates::OVERLAP;
    assert!(leader.keeper.step(later).await.unwrap());
    assert_eq!(leader.keeper.served.as_ref().unwrap().authorities.len(), 1);
}

#[tokio::test]
async fn a_leader_that_ends_before_it_publishes_takes_nobody_with_it() {
    let server = Server::new();
    let (mut leader, mut follower) = (server.replica(true), server.replica(false));
    leader.step().await.unwrap();
    follower.step().await.unwrap();
    server.edit(|held| (held.secret, held.refuses) = (None, true));
    assert!(leader.step().await.is_err());
    assert!(follower.step().await.unwrap() && follower.is_accepted(&server) && leader.is_accepted(&server));
    server.edit(|held| held.refuses = false);
    follower.leading.send_replace(true);
    assert!(follower.step().await.unwrap() && follower.is_accepted(&server));
}

#[tokio::test]
async fn of_two_that_make_a_secret_one_takes_the_others() {
    let server = Server::new();
    let (mut first, other) = (server.replica(true), Server::new());
    other.replica(true).step().await.unwrap();
    let rival = other.0.lock().unwrap().secret.clone();
    server.edit(|held| held.rival = rival);
    assert!(matches!(first.step().await, Err(KeepError::Api("create the certificates' Secret", _))));
    assert!(first.step().await.unwrap());
    assert_eq!(server.writes(), [format!("publish, {NOT_YET}")]);
}

#[test]
fn what_is_written_into_the_secret_is_read_back() {
    let hosts = vec!["a.b.svc".to_owned()];
    let one = Material::follow(None, Plan::Make, &hosts, NOW).unwrap();
    let two = Material::follow(Some(&one), Plan::AddAuthority, &hosts, NOW).unwrap();
    for material in [one, two] {
        let secret = Secret { data: Some(data(&material)), ..Secret::default() };
        let read = read_secret(&secret).unwrap();
        assert_eq!(read.bundle().replace("\r\n", "\n"), material.bundle().replace("\r\n", "\n"));
        assert_eq!(plan(Some(&read), &hosts, NOW), plan(Some(&material), &hosts, NOW));
    }
}

#[test]
fn a_secret_that_lacks_a_part_counts_as_none() {
    let secret = Secret { data: Some(BTreeMap::new()), ..Secret::default() };
    assert!(read_secret(&secret).is_none());
    assert!(read_secret(&Secret::default()).is_none());
}
