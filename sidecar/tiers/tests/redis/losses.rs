//! Redis gone, frozen, busy: what that costs, and how it comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use synapse_core::feed::{FeedSink, Mark};
use synapse_core::remote::{Fetched, Remote, RemoteError};
use synapse_tiers::redis::{Options, RedisRemote};

use crate::redis_server::{RedisServer, eventually};
use crate::setup::{Event, Recorder, key, open, options, ready, run, send};

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
        send(&remote, vec![run(&["SET", "a", "1"])]),
        remote.count(),
    );
    assert!(read.is_err() && write.is_err() && walk.is_err());
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    eventually("lost", async || sink.count(&Event::Lost) == 1).await;
    let began = Instant::now();
    let error = send(&remote, vec![run(&["SET", "a", "1"])]).await.unwrap_err();
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
    assert!(matches!(send(&remote, vec![run(&["DEL", "a"])]).await, Err(RemoteError::Away { .. })));
    assert!(remote.watch(vec![key("a")]).await.is_err());
    assert!(began.elapsed() < Duration::from_millis(700));
    eventually("the reason is known", async || {
        remote.health().is_err_and(|reason| reason.contains("refused"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_before_the_first_connection_waits_for_it() {
    let server = RedisServer::start(&[]);
    for _ in 0..20 {
        let sink = Arc::new(Recorder::default());
        let remote = RedisRemote::start(options(&server.url()), Arc::clone(&sink) as Arc<dyn FeedSink>);
        let (write, read) =
            tokio::join!(send(&remote, vec![run(&["SET", "a", "1"])]), remote.fetch(vec![key("none")]));
        assert_eq!((write.is_ok(), read), (true, Ok(vec![Fetched::Missing])));
        assert_eq!(sink.count(&Event::Armed), 1, "what is kept begins before the first write");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_operations_at_a_time_wait_for_room_instead_of_being_refused() {
    let server = RedisServer::start(&[]);
    let patient = Options {
        room: 1 << 20,
        command_timeout: Duration::from_secs(60),
        beat: Duration::from_secs(30),
        ..options(&server.url())
    };
    let (remote, _) = open(patient).await;
    let remote = Arc::new(remote);
    let tasks: Vec<_> = (0..5000)
        .map(|turn| {
            let remote = Arc::clone(&remote);
            tokio::spawn(async move {
                match turn % 2 {
                    0 => remote.fetch(vec![key("a")]).await.is_ok(),
                    _ => send(&remote, vec![run(&["SET", "b", &"x".repeat(4000)])]).await.is_ok(),
                }
            })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_finds_no_room_is_refused_within_its_deadline() {
    let server = RedisServer::start(&[]);
    let patient = Options { beat: Duration::from_secs(30), room: 1 << 20, ..options(&server.url()) };
    let (remote, _) = open(patient).await;
    server.freeze();
    let large = "x".repeat(300 << 10);
    let mut turns = Vec::new();
    for _ in 0..3 {
        turns.push(remote.turn(large.len()).await.unwrap().send(vec![run(&["SET", "a", &large])]));
    }
    let began = Instant::now();
    assert_eq!(send(&remote, vec![run(&["SET", "a", &large])]).await, Err(RemoteError::Busy));
    assert!(began.elapsed() < Duration::from_millis(290), "{:?}", began.elapsed());
    server.thaw();
    drop(turns);
}

/// A feed that fails once.
#[derive(Default)]
struct Failing {
    recorder: Recorder,
    has_failed: AtomicBool,
}

impl FeedSink for Failing {
    fn invalidate(&self, key: &[u8]) {
        self.recorder.invalidate(key);
    }
    fn invalidate_all(&self) {
        self.recorder.invalidate_all();
    }
    fn armed(&self) {
        self.recorder.armed();
    }
    fn mark(&self) -> Mark {
        self.recorder.mark()
    }
    fn heard(&self, mark: Mark) {
        self.recorder.heard(mark);
        assert!(self.has_failed.swap(true, Ordering::SeqCst), "a failure that is meant");
    }
    fn lost(&self) {
        self.recorder.lost();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_while_a_connection_is_kept_is_a_loss_and_not_the_end() {
    let server = RedisServer::start(&[]);
    let sink = Arc::new(Failing::default());
    let remote = RedisRemote::start(options(&server.url()), Arc::clone(&sink) as Arc<dyn FeedSink>);
    let count = |event: &Event| sink.recorder.count(event);
    eventually("lost and armed again", async || count(&Event::Armed) == 2).await;
    assert_eq!(count(&Event::Lost), 1);
    eventually("beats are heard", async || count(&Event::Heard) > 2).await;
    assert!(send(&remote, vec![run(&["SET", "a", "1"])]).await.is_ok());
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
