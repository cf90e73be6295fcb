//! Topics on a real Redis: claims, groups, retention that respects readers, drift, deletion.

#![expect(clippy::unwrap_used, reason = "a test panics on purpose")]

#[path = "support/redis_server.rs"]
mod redis_server;

use std::time::Duration;

use redis_server::RedisServer;
use synapse_api::topic::Drift;
use synapse_controllers::broker::error::BrokerError;
use synapse_controllers::broker::pool::{Address, Pool};
use synapse_controllers::broker::provision::{Provisioned, provision};
use synapse_controllers::broker::{Deleted, Stream};
use synapse_desired::topic::status::{Held, Outcome};
use synapse_desired::topic::{Difference, Limits, Owner, Seen, Wanted};

fn owner(name: &str) -> Owner {
    Owner { cluster: "c1".into(), namespace: "apps".into(), name: name.into() }
}

fn stream(server: &RedisServer, owner: Owner) -> Stream {
    let address = Address { url: server.url(), authorities: None };
    Stream::new(Pool::default().connection(&address).unwrap(), "events", owner, "u1")
}

fn wanted(groups: &[&str], limits: Option<Limits>) -> Wanted {
    Wanted {
        stream: "events".into(),
        groups: groups.iter().map(|g| ((*g).to_owned(), "0".to_owned())).collect(),
        limits,
        drift: Drift::Enforce,
        adopt: false,
    }
}

fn entries(most: u64) -> Option<Limits> {
    Some(Limits { entries: Some(most), age: None, protect: true })
}

fn older_than(age: Duration) -> Option<Limits> {
    Some(Limits { entries: None, age: Some(age), protect: true })
}

async fn brought(stream: &Stream, wanted: &Wanted) -> Provisioned {
    provision(stream, wanted, |_| async { false }).await.unwrap()
}

fn worked(provisioned: Provisioned) -> (Seen, Vec<Difference>, Option<Held>) {
    match provisioned.outcome {
        Outcome::Worked { seen, differences, held, .. } => (seen, differences, held),
        other => panic!("not worked: {other:?}"),
    }
}

fn held(group: &str, why: &str) -> Option<Held> {
    Some(Held { group: group.into(), why: why.into() })
}

#[tokio::test]
async fn a_topic_becomes_a_stream_with_groups_and_a_second_visit_changes_nothing() {
    let server = RedisServer::start();
    let ours = stream(&server, owner("a"));
    let made = brought(&ours, &wanted(&["g1", "g2"], entries(10))).await;
    assert!(made.created);
    let names: Vec<String> = worked(made).0.groups.into_iter().map(|g| g.name).collect();
    assert_eq!(names, ["g1", "g2"]);
    let before = server.cli(&["DEBUG", "DIGEST"]);
    assert!(!brought(&ours, &wanted(&["g1", "g2"], entries(10))).await.created);
    assert_eq!(server.cli(&["DEBUG", "DIGEST"]), before);
}

#[tokio::test]
async fn a_topic_without_groups_is_an_empty_stream() {
    let server = RedisServer::start();
    let (seen, ..) = worked(brought(&stream(&server, owner("a")), &wanted(&[], None)).await);
    assert!(seen.exists && seen.groups.is_empty() && seen.entries == 0);
}

#[tokio::test]
async fn retention_stops_at_what_is_pending_and_names_the_group() {
    let server = RedisServer::start();
    let (ours, wanted) = (stream(&server, owner("a")), wanted(&["g"], entries(3)));
    brought(&ours, &wanted).await;
    let ids = server.add("events", 10);
    server.cli(&["XREADGROUP", "GROUP", "g", "c", "COUNT", "10", "STREAMS", "events", ">"]);
    for id in ids.iter().filter(|id| **id != ids[4]) {
        server.cli(&["XACK", "events", "g", id]);
    }
    let (seen, _, blocked) = worked(brought(&ours, &wanted).await);
    assert_eq!(
        (seen.entries, seen.first.as_ref()),
        (6, Some(&ids[4])),
        "the pending entry and all after it stay"
    );
    assert_eq!(blocked, held("g", "pending"));
    server.cli(&["XACK", "events", "g", &ids[4]]);
    let (seen, _, blocked) = worked(brought(&ours, &wanted).await);
    assert_eq!((seen.entries, blocked), (3, None));
}

#[tokio::test]
async fn retention_stops_at_what_was_not_delivered() {
    let server = RedisServer::start();
    let (ours, wanted) = (stream(&server, owner("a")), wanted(&["fast", "slow"], entries(2)));
    brought(&ours, &wanted).await;
    let ids = server.add("events", 8);
    server.cli(&["XREADGROUP", "GROUP", "fast", "c", "NOACK", "COUNT", "8", "STREAMS", "events", ">"]);
    server.cli(&["XREADGROUP", "GROUP", "slow", "c", "NOACK", "COUNT", "3", "STREAMS", "events", ">"]);
    let (seen, _, blocked) = worked(brought(&ours, &wanted).await);
    assert_eq!((seen.entries, seen.first.as_ref()), (5, Some(&ids[3])));
    assert_eq!(blocked, held("slow", "not delivered"));
}

#[tokio::test]
async fn retention_by_age_stops_at_the_same_entry() {
    let server = RedisServer::start();
    let (ours, wanted) = (stream(&server, owner("a")), wanted(&["g"], older_than(Duration::from_secs(3600))));
    brought(&ours, &wanted).await;
    for id in ["1000-1", "1000-2", "2000-1", "3000-1"] {
        server.cli(&["XADD", "events", id, "k", "v"]);
    }
    server.cli(&["XREADGROUP", "GROUP", "g", "c", "NOACK", "COUNT", "2", "STREAMS", "events", ">"]);
    let (seen, _, blocked) = worked(brought(&ours, &wanted).await);
    assert_eq!((seen.entries, seen.first.as_deref()), (2, Some("2000-1")));
    assert_eq!(blocked, held("g", "not delivered"));
    server.cli(&["XREADGROUP", "GROUP", "g", "c", "NOACK", "COUNT", "2", "STREAMS", "events", ">"]);
    let (seen, _, blocked) = worked(brought(&ours, &wanted).await);
    assert_eq!((seen.entries, blocked), (0, None));
}

#[tokio::test]
async fn unread_trim_removes_it_anyway() {
    let server = RedisServer::start();
    let limits = Some(Limits { entries: Some(2), age: None, protect: false });
    let (ours, wanted) = (stream(&server, owner("a")), wanted(&["g"], limits));
    brought(&ours, &wanted).await;
    server.add("events", 9);
    let (seen, _, blocked) = worked(brought(&ours, &wanted).await);
    assert_eq!((seen.entries, blocked), (2, None));
}

#[tokio::test]
async fn an_unlisted_group_counts_while_it_is_active() {
    let server = RedisServer::start();
    let (ours, wanted) = (stream(&server, owner("a")), wanted(&[], entries(1)));
    brought(&ours, &wanted).await;
    server.add("events", 4);
    server.cli(&["XGROUP", "CREATE", "events", "theirs", "0"]);
    let (seen, _, blocked) = worked(brought(&ours, &wanted).await);
    assert_eq!((seen.entries, blocked), (4, held("theirs", "not delivered")));
}

#[tokio::test]
async fn a_long_backlog_is_trimmed_in_bounded_steps_to_the_exact_length() {
    let server = RedisServer::start();
    let (ours, wanted) = (stream(&server, owner("a")), wanted(&["g"], entries(100)));
    brought(&ours, &wanted).await;
    let ids = server.add("events", 3000);
    server.cli(&["XGROUP", "SETID", "events", "g", &ids[2950]]);
    let (seen, _, blocked) = worked(brought(&ours, &wanted).await);
    assert_eq!((seen.entries, blocked), (100, None), "the group needs only what is within the limit");
}

#[tokio::test]
async fn the_first_claim_wins_and_the_other_learns_whose_it_is() {
    let server = RedisServer::start();
    let (first, second) = (stream(&server, owner("a")), stream(&server, owner("b")));
    brought(&first, &wanted(&["g"], None)).await;
    assert_eq!(brought(&second, &wanted(&["h"], None)).await.outcome, Outcome::Taken(owner("a")));
    let (seen, ..) = worked(brought(&first, &wanted(&["g"], None)).await);
    assert_eq!(seen.groups.len(), 1, "the loser touched nothing");
    assert!(first.release().await.unwrap());
    assert_eq!(brought(&second, &wanted(&["h"], None)).await.outcome, Outcome::NotAdopted);
}

#[tokio::test]
async fn a_claim_whose_object_is_gone_is_void_and_the_stream_still_has_to_be_adopted() {
    let server = RedisServer::start();
    brought(&stream(&server, owner("gone")), &wanted(&["g"], None)).await;
    let heir = stream(&server, owner("heir"));
    let is_void = |owner: Owner| async move { owner.name == "gone" };
    let refused = provision(&heir, &wanted(&["g"], None), is_void).await.unwrap();
    assert_eq!(refused.outcome, Outcome::NotAdopted);
    let adopting = Wanted { adopt: true, ..wanted(&["g"], None) };
    let (seen, ..) = worked(provision(&heir, &adopting, is_void).await.unwrap());
    assert_eq!(seen.groups.len(), 1);
}

#[tokio::test]
async fn an_operator_that_was_killed_recognises_its_own_claim() {
    let server = RedisServer::start();
    let killed = stream(&server, owner("a"));
    killed.claim(false).await.unwrap();
    let (seen, ..) = worked(brought(&stream(&server, owner("a")), &wanted(&["g"], None)).await);
    assert_eq!(seen.groups.len(), 1);
}

#[tokio::test]
async fn a_stream_that_exists_is_taken_only_where_adoption_is_asked_for() {
    let server = RedisServer::start();
    server.add("events", 3);
    let ours = stream(&server, owner("a"));
    assert_eq!(brought(&ours, &wanted(&["g"], None)).await.outcome, Outcome::NotAdopted);
    let adopting = Wanted { adopt: true, ..wanted(&["g"], None) };
    let (seen, ..) = worked(brought(&ours, &adopting).await);
    assert_eq!((seen.entries, seen.groups.len()), (3, 1));
}

#[tokio::test]
async fn a_key_of_another_type_is_left_alone() {
    let server = RedisServer::start();
    server.cli(&["SET", "events", "text"]);
    let ours = stream(&server, owner("a"));
    assert_eq!(brought(&ours, &wanted(&["g"], None)).await.outcome, Outcome::NotAStream("string".into()));
    assert_eq!(server.cli(&["GET", "events"]), "text");
}

#[tokio::test]
async fn a_destroyed_group_comes_back_where_it_was_and_is_given_again_what_was_pending() {
    let server = RedisServer::start();
    let (ours, wanted) = (stream(&server, owner("a")), wanted(&["g"], None));
    brought(&ours, &wanted).await;
    let ids = server.add("events", 6);
    server.cli(&["XREADGROUP", "GROUP", "g", "c", "COUNT", "4", "STREAMS", "events", ">"]);
    for id in &ids[..3] {
        server.cli(&["XACK", "events", "g", id]);
    }
    brought(&ours, &wanted).await;
    server.cli(&["XGROUP", "DESTROY", "events", "g"]);
    server.cli(&["XGROUP", "CREATE", "events", "theirs", "$"]);
    let (seen, differences, _) = worked(brought(&ours, &wanted).await);
    assert_eq!(differences, [Difference::GroupMissing("g".into())]);
    assert_eq!(seen.groups.len(), 2, "a group that is not ours stays");
    let again = server.cli(&["XREADGROUP", "GROUP", "g", "c", "COUNT", "1", "STREAMS", "events", ">"]);
    assert!(again.contains(&ids[3]), "{again} should begin with {}", ids[3]);
}

#[tokio::test]
async fn reported_drift_is_left_as_it_is() {
    let server = RedisServer::start();
    let ours = stream(&server, owner("a"));
    let wanted = Wanted { drift: Drift::Report, ..wanted(&["g"], None) };
    brought(&ours, &wanted).await;
    server.cli(&["XGROUP", "DESTROY", "events", "g"]);
    let (seen, differences, _) = worked(brought(&ours, &wanted).await);
    assert_eq!((seen.groups.len(), differences), (0, vec![Difference::GroupMissing("g".into())]));
}

#[tokio::test]
async fn a_drained_deletion_waits_for_the_last_acknowledgement() {
    let server = RedisServer::start();
    let ours = stream(&server, owner("a"));
    brought(&ours, &wanted(&["g"], None)).await;
    let ids = server.add("events", 1);
    assert_eq!(ours.delete(true).await.unwrap(), Deleted::Waiting(held("g", "not delivered").unwrap()));
    server.cli(&["XREADGROUP", "GROUP", "g", "c", "STREAMS", "events", ">"]);
    assert_eq!(ours.delete(true).await.unwrap(), Deleted::Waiting(held("g", "pending").unwrap()));
    server.cli(&["XACK", "events", "g", &ids[0]]);
    assert_eq!(ours.delete(true).await.unwrap(), Deleted::Gone);
    assert_eq!(server.cli(&["EXISTS", "events", "synapse:owner:events"]), "0");
}

#[tokio::test]
async fn only_the_owner_deletes() {
    let server = RedisServer::start();
    brought(&stream(&server, owner("a")), &wanted(&["g"], None)).await;
    assert_eq!(stream(&server, owner("b")).delete(false).await.unwrap(), Deleted::Foreign);
    assert_eq!(server.cli(&["EXISTS", "events", "synapse:owner:events"]), "2");
}

#[tokio::test]
async fn a_broker_that_is_gone_is_an_answer_and_one_that_returns_is_used_again() {
    let mut server = RedisServer::start();
    let ours = stream(&server, owner("a"));
    brought(&ours, &wanted(&["g"], None)).await;
    server.stop();
    let error = ours.observe().await.unwrap_err();
    assert!(matches!(error, BrokerError::Unreachable(_)), "{error:?}");
    server.restart();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while provision(&ours, &wanted(&["g"], None), |_| async { false }).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "the connection does not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_trim_looks_at_a_bounded_part_whatever_the_limit_is() {
    let server = RedisServer::start();
    let ours = stream(&server, owner("a"));
    server.add("events", 1000);
    let adopting = Wanted { adopt: true, ..wanted(&[], None) };
    brought(&ours, &adopting).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    for limits in [
        older_than(Duration::from_millis(1)).unwrap(),
        Limits { entries: Some(10), age: None, protect: false },
    ] {
        let trimmed = ours.trim(limits, &[]).await.unwrap();
        assert_eq!((trimmed.removed, trimmed.more), (256, true), "{limits:?}");
    }
    let all = Wanted { limits: older_than(Duration::from_millis(1)), ..adopting };
    let (seen, ..) = worked(brought(&ours, &all).await);
    assert_eq!(seen.entries, 0);
}

#[tokio::test]
async fn a_url_that_cannot_be_used_does_not_show_its_password() {
    let address = Address { url: "redis://user:secret@:::".into(), authorities: None };
    let error = Pool::default().connection(&address).err().unwrap();
    assert!(matches!(error, BrokerError::Url(_)) && !error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn tls_is_trusted_by_the_authorities_that_are_given_and_by_no_others() {
    // Another test of this process may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (authority, certificate, key) = certificates();
    let (_server, port, _files) = tls_server(&certificate, &key);
    let url = format!("rediss://localhost:{port}");
    let claim = async |authorities: String| {
        let address = Address { url: url.clone(), authorities: Some(authorities) };
        Stream::new(Pool::default().connection(&address).unwrap(), "events", owner("a"), "u1")
            .claim(false)
            .await
    };
    assert!(claim(authority).await.is_ok());
    let (another, ..) = certificates();
    assert!(matches!(claim(another).await.unwrap_err(), BrokerError::Unreachable(_)));
}

#[tokio::test]
async fn what_a_user_may_not_do_is_a_refusal_and_a_wrong_password_too() {
    let server = RedisServer::start();
    server.cli(&["ACL", "SETUSER", "reader", "on", ">pw", "~*", "+@read", "+@connection"]);
    server.cli(&["ACL", "SETUSER", "owner", "on", ">pw", "~*", "+@all"]);
    let claim = async |user: &str, password: &str| {
        let url = format!("{}?user={user}&pass={password}", server.url());
        let address = Address { url, authorities: None };
        Stream::new(Pool::default().connection(&address).unwrap(), "events", owner("a"), "u1")
            .claim(false)
            .await
    };
    assert!(claim("owner", "pw").await.is_ok());
    assert!(matches!(claim("reader", "pw").await.unwrap_err(), BrokerError::Refused(_)));
    let error = claim("owner", "wrong-secret").await.unwrap_err();
    assert!(matches!(error, BrokerError::Unauthenticated(_)), "{error:?}");
    assert!(!error.to_string().contains("secret"));
}

/// A server on a port that nobody else has; one that was free a moment ago may be taken by now.
fn tls_server(certificate: &str, key: &str) -> (RedisServer, u16, tempfile::TempDir) {
    let files = tempfile::TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (certificate, key) = (file("cert.pem", certificate), file("key.pem", key));
    let tried = (0..20).find_map(|_| {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let arguments = ["--tls-port", &port.to_string(), "--tls-cert-file", &certificate];
        let arguments = [&arguments[..], &["--tls-key-file", &key, "--tls-auth-clients", "no"]].concat();
        Some((RedisServer::start_with(&arguments)?, port))
    });
    let (server, port) = tried.unwrap();
    (server, port, files)
}

/// An authority, and a certificate for localhost with its key, all as PEM.
fn certificates() -> (String, String, String) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(vec![]).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "an authority");
    let text = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    leaf.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
    let certificate = leaf.signed_by(&key, &issuer).unwrap().pem();
    (text, certificate, key.serialize_pem())
}
