//! Redis restarted, frozen, cut off: what memory still serves, for how long, and how it comes back.

use std::time::{Duration, Instant};

use bytes::Bytes;
use synapse_core::reply::Reply;
use synapse_engine::near::NearSession;

use crate::proxy::{Gate, Proxy};
use crate::redis_server::{RedisServer, eventually};
use crate::setup::{Cache, Choice, bulk};

fn hasty(max_stale: Duration) -> Choice {
    Choice { max_stale, command_timeout: Duration::from_millis(200), ..Choice::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_served_for_max_stale_and_no_longer() {
    let mut server = RedisServer::start(&[]);
    let cache = Cache::open(&server.url(), hasty(Duration::from_millis(1500))).await;
    cache.run("set k v").await;
    server.kill();
    eventually("lost", async || !cache.near.stats().armed).await;
    let lost = Instant::now();
    assert_eq!(cache.run("get k").await, bulk("v"));
    let write = cache.run("set other v").await;
    assert!(matches!(&write, Reply::Error(text) if text.starts_with(b"REDIS")), "{write:?}");
    eventually("too old", async || cache.run("get k").await.is_error()).await;
    assert!(lost.elapsed() < Duration::from_secs(3));
    server.restart();
    cache.ready().await;
    assert_eq!(cache.run("get k").await, Reply::Nil);
    assert_eq!(cache.run("set k again").await, Reply::OK);
    assert_eq!(cache.local("k").as_deref(), Some("again"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_or_unanswered_write_leaves_no_copy() {
    let server = RedisServer::start(&[]);
    let cache = Cache::open(&server.url(), hasty(Duration::from_secs(60))).await;
    cache.run("set k v").await;
    assert!(cache.run("incr k").await.is_error());
    assert_eq!(cache.local("k"), None);
    assert_eq!(cache.run("get k").await, bulk("v"));
    assert!(cache.local("k").is_some());
    server.freeze();
    let began = Instant::now();
    assert!(cache.run("set k w").await.is_error());
    assert!(began.elapsed() < Duration::from_millis(400));
    assert_eq!(cache.local("k"), None);
    server.thaw();
    cache.ready().await;
    let now = cache.run("get k").await;
    assert!(now == bulk("w") || now == bulk("v"), "{now:?}");
    assert_eq!(now, bulk(&server.cli(&["GET", "p:k"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_in_a_gap_is_not_served_after_it() {
    let server = RedisServer::start(&[]);
    let proxy = Proxy::start(server.port).await;
    let cache = Cache::open(&proxy.url(), hasty(Duration::from_secs(60))).await;
    for round in 0..5 {
        let value = round.to_string();
        server.cli(&["SET", "p:k", &value]);
        eventually("a copy", async || cache.run("get k").await == bulk(&value) && cache.local("k").is_some())
            .await;
        proxy.close(Gate::OrderedAnswers);
        server.cli(&["SET", "p:k", "changed"]);
        proxy.cut();
        proxy.open(Gate::OrderedAnswers);
        cache.ready().await;
        assert_ne!(cache.local("k"), Some(value));
        assert_eq!(cache.run("get k").await, bulk("changed"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_went_silent_is_noticed_and_repaired() {
    let server = RedisServer::start(&[]);
    let proxy = Proxy::start(server.port).await;
    let cache = Cache::open(&proxy.url(), hasty(Duration::ZERO)).await;
    cache.run("set k v").await;
    assert!(cache.local("k").is_some());
    proxy.close(Gate::OrderedAnswers);
    eventually("the loss is noticed", async || !cache.near.stats().armed).await;
    assert_eq!(cache.local("k"), None);
    assert_eq!(cache.run("get k").await, bulk("v"));
    proxy.open(Gate::OrderedAnswers);
    cache.ready().await;
    eventually("copies again", async || {
        cache.run("get k").await;
        cache.local("k").is_some()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_whose_connection_broke_refuses_its_transaction_and_nothing_else() {
    let server = RedisServer::start(&[]);
    let cache = Cache::open(&server.url(), Choice::default()).await;
    let key = || vec![Bytes::from_static(b"k")];
    let mut session = NearSession::default();
    assert_eq!(cache.near.watch(&mut session, key()).await, Reply::OK);
    server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    cache.ready().await;
    // The loss is met once, by whoever is first.
    assert!(cache.batch(&mut session, &["get k"]).await[0].is_error());
    assert_eq!(cache.batch(&mut session, &["set k 1", "get k"]).await, [Reply::OK, bulk("1")]);
    assert_eq!(cache.near.watch(&mut session, key()).await, Reply::OK);
    let replies = cache.batch(&mut session, &["get k", "multi set k 2", "get k"]).await;
    assert_eq!(replies, [bulk("1"), Reply::NilArray, bulk("1")]);
    assert!(!session.is_watching());
    assert_eq!(cache.near.watch(&mut session, key()).await, Reply::OK);
    let replies = cache.batch(&mut session, &["multi set k 3", "get k"]).await;
    assert_eq!(replies, [Reply::Array(vec![Reply::OK]), bulk("3")]);
}
