//! The store against a real redis-server: answers, announcements, losses, deadlines, entry.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

#[path = "support/redis_server.rs"]
mod redis_server;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use redis_server::{RedisServer, eventually};
use synapse_core::feed::{FeedSink, Mark};
use synapse_core::remote::{Fetched, KeySpan, Order, Outcome, Remote, RemoteError, Step, Walk};
use synapse_core::reply::Reply;
use synapse_tiers::redis::endpoint::{Endpoint, Location};
use synapse_tiers::redis::{Options, RedisRemote};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[derive(Debug, Clone, PartialEq)]
enum Event {
    Changed(String),
    All,
    Armed,
    Heard,
    Lost,
}

#[derive(Default)]
struct Recorder(Mutex<Vec<Event>>);

impl Recorder {
    fn push(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }

    fn count(&self, event: &Event) -> usize {
        self.0.lock().unwrap().iter().filter(|seen| *seen == event).count()
    }
}

impl FeedSink for Recorder {
    fn invalidate(&self, key: &[u8]) {
        self.push(Event::Changed(String::from_utf8_lossy(key).into_owned()));
    }
    fn invalidate_all(&self) {
        self.push(Event::All);
    }
    fn armed(&self) {
        self.push(Event::Armed);
    }
    fn mark(&self) -> Mark {
        Mark { sequence: 0, mono_ms: 0 }
    }
    fn heard(&self, _: Mark) {
        self.push(Event::Heard);
    }
    fn lost(&self) {
        self.push(Event::Lost);
    }
}

fn options(url: &str) -> Options {
    Options {
        endpoint: Endpoint { location: Location::Url(url.to_owned()), ca_file: None },
        prefix: Bytes::from_static(b"t*:"),
        tracking: true,
        connect_timeout: Duration::from_millis(500),
        command_timeout: Duration::from_millis(300),
        beat: Duration::from_millis(100),
    }
}

async fn open(options: Options) -> (RedisRemote, Arc<Recorder>) {
    let sink = Arc::new(Recorder::default());
    let feed: Arc<dyn FeedSink> = Arc::clone(&sink) as _;
    let remote = RedisRemote::start(options, feed);
    ready(&remote).await;
    (remote, sink)
}

async fn ready(remote: &RedisRemote) {
    eventually("the store answers on every link", async || {
        remote.health().is_ok() && {
            let reads = [remote.fetch(vec![]), remote.fetch(vec![])];
            let mut all = true;
            for read in reads {
                all &= read.await.is_ok();
            }
            all
        }
    })
    .await;
}

fn order(args: &[&str], keys: std::ops::Range<usize>) -> Order {
    let args = args.iter().map(|arg| Bytes::copy_from_slice(arg.as_bytes())).collect();
    Order { args, keys: KeySpan { range: keys, step: 1 } }
}

fn run(args: &[&str]) -> Step {
    Step::Run(order(args, 1..2))
}

fn key(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_one_transaction_with_value_and_remaining_time() {
    let server = RedisServer::start(&[]);
    server.cli(&["SET", "t*:a", "1"]);
    server.cli(&["SET", "t*:b", "2", "PX", "60000"]);
    server.cli(&["LPUSH", "t*:list", "x"]);
    let (remote, _) = open(options(&server.url())).await;
    let before = server.calls("exec");
    let found = remote.fetch(vec![key("a"), key("b"), key("none"), key("list")]).await.unwrap();
    assert_eq!(server.calls("exec") - before, 1);
    assert_eq!(found[0], Fetched::Value(key("1"), None));
    assert!(matches!(&found[1], Fetched::Value(v, Some(59_000..=60_000)) if v == "2"), "{found:?}");
    assert_eq!(found[2], Fetched::Missing);
    let Fetched::Refused(Reply::Error(text)) = &found[3] else { panic!("{found:?}") };
    assert_eq!(text, "WRONGTYPE Operation against a key holding the wrong kind of value");
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_are_executed_in_the_order_of_the_calls() {
    let server = RedisServer::start(&[]);
    let (remote, _) = open(options(&server.url())).await;
    let pending: Vec<_> = (0..200)
        .map(|i| remote.send(vec![run(&["SET", "k", &i.to_string()]), Step::Fetch(key("k"))]))
        .collect();
    for (i, answers) in pending.into_iter().enumerate().rev() {
        let expected = Fetched::Value(i.to_string().into(), None);
        assert_eq!(answers.await.unwrap(), [Outcome::Reply(Reply::OK), Outcome::Fetched(expected)]);
    }
    assert_eq!(server.cli(&["GET", "t*:k"]), "199");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_one_piece_and_errors_of_redis_are_answers() {
    let server = RedisServer::start(&[]);
    let (remote, _) = open(options(&server.url())).await;
    let atomic = Step::Atomic(vec![
        order(&["SET", "n", "x"], 1..2),
        order(&["INCR", "n"], 1..2),
        order(&["PING"], 0..0),
    ]);
    let bad = Step::Atomic(vec![order(&["GET"], 0..0)]);
    let answers = remote.send(vec![atomic, bad, run(&["NOSUCH", "k"])]).await.unwrap();
    let Outcome::Atomic(Ok(replies)) = &answers[0] else { panic!("{answers:?}") };
    assert_eq!(replies[0], Reply::OK);
    assert_eq!(replies[1], Reply::error("ERR value is not an integer or out of range"));
    assert_eq!(replies[2], Reply::status("PONG"));
    assert!(matches!(&answers[1], Outcome::Atomic(Err(Reply::Error(_)))), "{answers:?}");
    assert!(matches!(&answers[2], Outcome::Reply(Reply::Error(_))), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_by_others_are_announced_and_own_ones_are_not() {
    let server = RedisServer::start(&[]);
    let (remote, sink) = open(options(&server.url())).await;
    remote.send(vec![run(&["SET", "own", "1"])]).await.unwrap();
    server.cli(&["SET", "t*:theirs", "1"]);
    server.cli(&["SET", "tt:foreign", "1"]);
    eventually("announced", async || sink.count(&Event::Changed("theirs".into())) == 1).await;
    assert_eq!(sink.count(&Event::Changed("own".into())), 0);
    server.cli(&["FLUSHALL"]);
    eventually("all announced", async || sink.count(&Event::All) == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_sees_changes_of_others_and_connections_are_bounded() {
    let server = RedisServer::start(&[]);
    let (remote, _) = open(options(&server.url())).await;
    let atomic = || vec![Step::Atomic(vec![order(&["SET", "w", "mine"], 1..2)])];
    let mut watch = remote.watch(vec![key("w")]).await.unwrap();
    server.cli(&["SET", "t*:w", "theirs"]);
    assert_eq!(watch.send(atomic()).await.unwrap(), [Outcome::Atomic(Err(Reply::NilArray))]);
    assert_eq!(watch.send(atomic()).await.unwrap(), [Outcome::Atomic(Ok(vec![Reply::OK]))]);
    drop(watch);
    let mut held = Vec::new();
    let refused = loop {
        match remote.watch(vec![key("w")]).await {
            Ok(watch) => held.push(watch),
            Err(error) => break error,
        }
    };
    assert_eq!((refused, held.len()), (RemoteError::Busy, 16));
    drop(held);
    assert!(remote.watch(vec![key("w")]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn walks_stay_under_the_prefix() {
    let server = RedisServer::start(&[]);
    for name in ["t*:a", "t*:b[1]", "tx:c", "t:d", "other"] {
        server.cli(&["SET", name, "1"]);
    }
    let (remote, _) = open(options(&server.url())).await;
    let all = Walk { count: Some(1 << 40), ..Walk::default() };
    let (cursor, mut keys) = remote.scan(all.clone()).await.unwrap();
    keys.sort();
    assert_eq!((cursor, keys), (0, vec![key("a"), key("b[1]")]));
    let (_, keys) = remote.scan(Walk { pattern: Some(key("b*")), ..all }).await.unwrap();
    assert_eq!(keys, [key("b[1]")]);
    assert_eq!(remote.count().await.unwrap(), 2);
    assert_eq!(remote.clear().await.unwrap(), 2);
    assert_eq!(server.cli(&["DBSIZE"]), "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_a_loss_and_then_armed_again() {
    let mut server = RedisServer::start(&[]);
    let (remote, sink) = open(options(&server.url())).await;
    server.restart();
    eventually("armed again", async || sink.count(&Event::Armed) == 2).await;
    assert_eq!(sink.count(&Event::Lost), 1);
    ready(&remote).await;
    server.cli(&["SET", "t*:later", "1"]);
    eventually("announced", async || sink.count(&Event::Changed("later".into())) == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_costs_a_deadline_and_then_microseconds() {
    let server = RedisServer::start(&[]);
    let (remote, sink) = open(options(&server.url())).await;
    let connections = || server.cli(&["CLIENT", "LIST"]).lines().count();
    let before = connections();
    server.freeze();
    let began = Instant::now();
    let (read, write, walk) = tokio::join!(
        remote.fetch(vec![key("a")]),
        remote.send(vec![run(&["SET", "a", "1"])]),
        remote.count(),
    );
    assert!(read.is_err() && write.is_err() && walk.is_err());
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    eventually("lost", async || sink.count(&Event::Lost) == 1).await;
    let began = Instant::now();
    let error = remote.send(vec![run(&["SET", "a", "1"])]).await.unwrap_err();
    assert!(matches!(error, RemoteError::Away { .. }), "{error:?}");
    assert!(began.elapsed() < Duration::from_millis(50), "{:?}", began.elapsed());
    // Long enough for several attempts to connect: none of them may pile up.
    tokio::time::sleep(Duration::from_secs(2)).await;
    server.thaw();
    ready(&remote).await;
    eventually("connections as before", async || connections() <= before).await;
    assert_eq!(sink.count(&Event::Lost), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_every_call_ends_at_once() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let sink: Arc<dyn FeedSink> = Arc::new(Recorder::default());
    let remote = RedisRemote::start(options(&format!("redis://127.0.0.1:{port}")), sink);
    let began = Instant::now();
    assert!(matches!(remote.fetch(vec![key("a")]).await, Err(RemoteError::Away { .. })));
    assert!(matches!(remote.send(vec![run(&["DEL", "a"])]).await, Err(RemoteError::Away { .. })));
    assert!(remote.watch(vec![key("a")]).await.is_err());
    assert!(began.elapsed() < Duration::from_millis(700));
    eventually("the reason is known", async || {
        remote.health().is_err_and(|reason| reason.contains("refused"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_operations_are_refused_at_once() {
    let server = RedisServer::start(&[]);
    let patient = Options { beat: Duration::from_secs(30), ..options(&server.url()) };
    let (remote, _) = open(patient).await;
    server.freeze();
    let pending: Vec<_> = (0..1100).map(|_| remote.send(vec![run(&["SET", "a", "1"])])).collect();
    let mut busy = 0;
    for answer in pending {
        busy += usize::from(answer.await == Err(RemoteError::Busy));
    }
    assert_eq!(busy, 1100 - 1024);
    server.thaw();
    ready(&remote).await;
    server.freeze();
    let large = "x".repeat(30 << 20);
    let pending: Vec<_> = (0..6).map(|_| remote.send(vec![run(&["SET", "a", &large])])).collect();
    let mut busy = 0;
    for answer in pending {
        busy += usize::from(answer.await == Err(RemoteError::Busy));
    }
    server.thaw();
    assert_eq!(busy, 2, "128 MiB may be under way");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_reads_at_a_time_wait_for_room_instead_of_being_refused() {
    let server = RedisServer::start(&[]);
    let (remote, _) = open(options(&server.url())).await;
    let pending: Vec<_> = (0..5000).map(|_| remote.fetch(vec![key("a")])).collect();
    for answer in pending.into_iter().map(tokio::spawn).collect::<Vec<_>>() {
        assert_eq!(answer.await.unwrap(), Ok(vec![Fetched::Missing]));
    }
}

/// Thirty sidecars lose their server: how often they try, and when.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_meets_no_storm() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let sink: Arc<dyn FeedSink> = Arc::new(Recorder::default());
    let began = Instant::now();
    let remotes: Vec<_> = (0..30).map(|_| RedisRemote::start(options(&url), Arc::clone(&sink))).collect();
    let mut attempts = Vec::new();
    while let Ok(Ok(_)) =
        tokio::time::timeout_at((began + Duration::from_secs(6)).into(), listener.accept()).await
    {
        attempts.push(began.elapsed().as_millis());
    }
    drop(remotes);
    let links = 30 * 3;
    assert!(attempts.len() <= links * 10, "{} attempts in 6 s", attempts.len());
    // Later than 3 s the pauses lie between 1 and 2 s: no tenth of a second sees more than a few of the links.
    let late = attempts.iter().filter(|at| **at > 3_000);
    let mut tenths = std::collections::BTreeMap::<_, usize>::new();
    late.for_each(|at| *tenths.entry(at / 100).or_default() += 1);
    let most = tenths.values().copied().max().unwrap_or(0);
    assert!((1..=links / 3).contains(&most), "{most} of {links} links in one tenth of a second: {tenths:?}");
}

/// A server that says it is older than it is: what Redis answers, with the major version lowered.
async fn old_server(redis: u16) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = tokio::net::TcpStream::connect(("127.0.0.1", redis)).await.unwrap();
            tokio::spawn(async move {
                let (mut buffer, mut answer) = ([0; 4096], [0; 4096]);
                loop {
                    tokio::select! {
                        Ok(count @ 1..) = client.read(&mut buffer) => server.write_all(&buffer[..count]).await.unwrap(),
                        Ok(count @ 1..) = server.read(&mut answer) => {
                            let text = String::from_utf8_lossy(&answer[..count]).replace("\r\n7.", "\r\n6.");
                            client.write_all(text.as_bytes()).await.unwrap();
                        }
                        else => return,
                    }
                }
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_too_old_is_refused_clearly() {
    let server = RedisServer::start(&[]);
    let port = old_server(server.port).await;
    let sink: Arc<dyn FeedSink> = Arc::new(Recorder::default());
    let remote = RedisRemote::start(options(&format!("redis://127.0.0.1:{port}")), sink);
    eventually("refused", async || {
        remote.health().is_err_and(|reason| reason.contains("too old: 7.0 or newer is needed"))
    })
    .await;
    let error = remote.send(vec![run(&["SET", "a", "1"])]).await.unwrap_err().to_string();
    assert!(error.starts_with("REDISDOWN") && error.contains("too old"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acl_user_enters_and_rotated_credentials_are_taken_up() {
    let server = RedisServer::start(&[
        "--user",
        "default",
        "on",
        "nopass",
        "+@all",
        "~*",
        "--user",
        "app",
        "on",
        ">old",
        "+@all",
        "~t*:*",
        "resetchannels",
    ]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("url");
    let url = |password: &str| format!("redis://app:{password}@127.0.0.1:{}\n", server.port);
    std::fs::write(&file, url("wrong")).unwrap();
    let mut options = options(&server.url());
    options.endpoint.location = Location::File(file.clone());
    let sink: Arc<dyn FeedSink> = Arc::new(Recorder::default());
    let remote = RedisRemote::start(options, sink);
    eventually("refused", async || remote.health().is_err_and(|reason| reason.contains("WRONGPASS"))).await;
    assert!(!remote.health().unwrap_err().contains("wrong@"));
    std::fs::write(&file, url("old")).unwrap();
    ready(&remote).await;
    let refused = remote.keep_alive(key("elsewhere"), key("1"), 5).await.unwrap();
    assert!(matches!(&refused, Reply::Error(text) if text.starts_with(b"NOPERM")), "{refused:?}");
    assert_eq!(remote.send(vec![run(&["SET", "a", "1"])]).await.unwrap(), [Outcome::Reply(Reply::OK)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_an_authority_of_its_own() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(vec![]).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "test authority");
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let leaf_key = rcgen::KeyPair::generate().unwrap();
    let mut leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    leaf.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
    let leaf_pem = leaf.signed_by(&leaf_key, &issuer).unwrap().pem();
    let ca_file = write("ca", &ca_pem);
    let (cert, key_file) = (write("cert", &leaf_pem), write("key", &leaf_key.serialize_pem()));
    let server = RedisServer::start(&[
        "--port",
        "0",
        "--tls-port",
        "{port}",
        "--tls-auth-clients",
        "no",
        "--tls-cert-file",
        cert.to_str().unwrap(),
        "--tls-key-file",
        key_file.to_str().unwrap(),
        "--tls-ca-cert-file",
        ca_file.to_str().unwrap(),
    ]);
    let mut options = options(&format!("rediss://localhost:{}", server.port));
    options.endpoint.ca_file = Some(ca_file);
    let (remote, sink) = open(options.clone()).await;
    assert_eq!(remote.send(vec![run(&["SET", "a", "1"])]).await.unwrap(), [Outcome::Reply(Reply::OK)]);
    server.cli(&["SET", "t*:b", "1"]);
    eventually("announced", async || sink.count(&Event::Changed("b".into())) == 1).await;

    let other_key = rcgen::KeyPair::generate().unwrap();
    let stranger = rcgen::CertificateParams::new(vec![]).unwrap().self_signed(&other_key).unwrap().pem();
    options.endpoint.ca_file = Some(write("stranger", &stranger));
    let distrusting = RedisRemote::start(options, Arc::new(Recorder::default()));
    eventually("distrusted", async || distrusting.health().is_err_and(|r| r.contains("ertificate"))).await;
}
