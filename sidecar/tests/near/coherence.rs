//! Two caches before one Redis: one sees what the other and everyone else writes; and what a read costs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use synapse_core::reply::Reply;
use synapse_engine::near::{NearSession, Rules};

use crate::redis_server::{RedisServer, eventually};
use crate::setup::{Cache, Choice, bulk};

#[tokio::test(flavor = "multi_thread")]
async fn each_sees_the_writes_of_the_other_and_of_everyone() {
    let server = RedisServer::start(&[]);
    let one = Cache::open(&server.url(), Choice::default()).await;
    let two = Cache::open(&server.url(), Choice::default()).await;
    one.run("set k 1").await;
    assert_eq!(two.run("get k").await, bulk("1"));
    // A write whose announcement is still on its way when the next is sent leaves its writer no copy.
    let both_have_copies = async || {
        eventually("both have copies", async || {
            one.run("get k").await;
            two.run("get k").await;
            one.local("k").is_some() && two.local("k").is_some()
        })
        .await;
    };
    both_have_copies().await;
    two.run("set k 2").await;
    eventually("seen", async || one.run("get k").await == bulk("2")).await;
    both_have_copies().await;
    server.cli(&["SET", "p:k", "3"]);
    eventually("seen by both", async || {
        one.run("get k").await == bulk("3") && two.run("get k").await == bulk("3")
    })
    .await;
    server.cli(&["FLUSHALL"]);
    eventually("gone for both", async || {
        one.run("get k").await == Reply::Nil && two.run("get k").await == Reply::Nil
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miss_is_one_round_trip_and_a_hit_is_none() {
    let server = RedisServer::start(&[]);
    for i in 0..50 {
        server.cli(&["SET", &format!("p:k{i}"), "v"]);
    }
    let cache = Cache::open(&server.url(), Choice::default()).await;
    let lines: Vec<String> = (0..50).map(|i| format!("get k{i}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let (transactions, gets) = (server.calls("exec"), server.calls("get"));
    let replies = cache.batch(&mut NearSession::default(), &lines).await;
    assert_eq!(replies, vec![bulk("v"); 50]);
    assert_eq!((server.calls("exec") - transactions, server.calls("get") - gets), (1, 50));
    let replies = cache.batch(&mut NearSession::default(), &lines).await;
    assert_eq!(replies, vec![bulk("v"); 50]);
    assert_eq!((server.calls("exec") - transactions, server.calls("get") - gets), (1, 50));
    let stats = cache.near.stats();
    assert_eq!((stats.hits, stats.misses), (50, 50));
    assert_eq!(cache.run("mget k1 new k2").await, Reply::Array(vec![bulk("v"), Reply::Nil, bulk("v")]));
    assert_eq!((server.calls("exec") - transactions, server.calls("get") - gets), (2, 51));
}

/// Bytes that Redis has read.
fn bytes_read(server: &RedisServer) -> u64 {
    let stats = server.cli(&["INFO", "stats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix("total_net_input_bytes:"));
    line.unwrap().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_for_a_miss_is_its_transaction_and_for_a_hit_nothing() {
    let server = RedisServer::start(&[]);
    let choice = Choice { beat: Duration::from_secs(30), ..Choice::default() };
    let cache = Cache::open(&server.url(), choice).await;
    // What the question itself costs.
    let question = bytes_read(&server);
    let question = bytes_read(&server) - question;
    let before = bytes_read(&server);
    assert_eq!(cache.run("set k v").await, Reply::OK);
    server.cli(&["SET", "p:x", "v"]);
    let begun = bytes_read(&server);
    assert!(begun > before + question);
    assert_eq!(cache.run("get x").await, bulk("v"));
    let transaction = "*1\r\n$5\r\nMULTI\r\n*2\r\n$3\r\nGET\r\n$3\r\np:x\r\n*2\r\n$4\r\nPTTL\r\n$3\r\np:x\r\n*1\r\n$4\r\nEXEC\r\n";
    let missed = bytes_read(&server);
    assert_eq!(missed - begun - question, transaction.len() as u64);
    for _ in 0..20 {
        assert_eq!(cache.run("get x").await, bulk("v"));
        assert_eq!(cache.run("mget x k").await, Reply::Array(vec![bulk("v"), bulk("v")]));
    }
    assert_eq!(bytes_read(&server) - missed, question);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_answered_in_order_and_reads_its_own_writes() {
    let server = RedisServer::start(&[]);
    let cache = Cache::open(&server.url(), Choice::default()).await;
    let mut session = NearSession::default();
    let lines = [
        "get n",
        "set n 1",
        "get n",
        "incr n",
        "get n",
        "multi incr n; get n",
        "append n 0",
        "mget n none n",
        "lpush list x",
        "get list",
        "mget list n",
        "dbsize",
        "del n list",
        "get n",
        "dbsize",
    ];
    let replies = cache.batch(&mut session, &lines).await;
    let Reply::Error(wrong_type) = &replies[9] else { panic!("{replies:?}") };
    assert_eq!(wrong_type, "WRONGTYPE Operation against a key holding the wrong kind of value");
    let expected = [
        Reply::Nil,
        Reply::OK,
        bulk("1"),
        Reply::Int(2),
        bulk("2"),
        Reply::Array(vec![Reply::Int(3), bulk("3")]),
        Reply::Int(2),
        Reply::Array(vec![bulk("30"), Reply::Nil, bulk("30")]),
        Reply::Int(1),
        replies[9].clone(),
        Reply::Array(vec![Reply::Nil, bulk("30")]),
        Reply::Int(2),
        Reply::Int(2),
        Reply::Nil,
        Reply::Int(0),
    ];
    assert_eq!(replies, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_is_never_answered_from_memory() {
    let server = RedisServer::start(&[]);
    let cache = Cache::open(&server.url(), Choice::default()).await;
    cache.run("set k 1").await;
    assert!(cache.local("k").is_some());
    let mut session = NearSession::default();
    let gets = server.calls("get");
    assert_eq!(cache.near.watch(&mut session, vec![Bytes::from_static(b"k")]).await, Reply::OK);
    assert_eq!(cache.batch(&mut session, &["get k"]).await, [bulk("1")]);
    assert_eq!(server.calls("get"), gets + 1);
    server.cli(&["SET", "p:k", "5"]);
    let replies = cache.batch(&mut session, &["multi set k 2", "get k"]).await;
    assert_eq!(replies, [Reply::NilArray, bulk("5")]);
    assert!(!session.is_watching());
    cache.near.watch(&mut session, vec![Bytes::from_static(b"k")]).await;
    let replies = cache.batch(&mut session, &["multi set k 2", "get k"]).await;
    assert_eq!(replies, [Reply::Array(vec![Reply::OK]), bulk("2")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_of_redis_is_the_deadline() {
    let server = RedisServer::start(&[]);
    let choice = Choice { copy_ttl: Some(Duration::from_millis(300)), ..Choice::default() };
    let cache = Cache::open(&server.url(), choice).await;
    cache.run("set k v PX 60000").await;
    let Reply::Int(59_000..=60_000) = cache.run("pttl k").await else { panic!("not Redis' deadline") };
    assert!(cache.local("k").is_some());
    eventually("memory's own limit", async || cache.local("k").is_none()).await;
    assert_eq!(cache.run("get k").await, bulk("v"));
    cache.run("set short v PX 150").await;
    assert!(cache.local("short").is_some());
    eventually("gone", async || cache.local("short").is_none()).await;
    cache.run("set k v PX 50").await;
    cache.run("set k w").await;
    cache.run("set later v PX 50").await;
    eventually("the first deadline has passed", async || cache.run("get later").await == Reply::Nil).await;
    assert_eq!(cache.run("get k").await, bulk("w"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_without_a_deadline_gets_the_caches_own() {
    let server = RedisServer::start(&[]);
    let rules = Rules { time_to_live: Some(Duration::from_secs(60)), flush: false };
    let cache = Cache::open(&server.url(), Choice { rules, ..Choice::default() }).await;
    let lines = [
        "set a 1",
        "mset b 1 c 2",
        "setnx d 1",
        "setnx d 2",
        "getset e 1",
        "set f 1 EX 5",
        "multi mset g 1 h 2",
    ];
    let replies = cache.batch(&mut NearSession::default(), &lines).await;
    let exec = Reply::Array(vec![Reply::OK]);
    assert_eq!(replies, [Reply::OK, Reply::OK, Reply::Int(1), Reply::Int(0), Reply::Nil, Reply::OK, exec]);
    for key in ["a", "b", "c", "d", "e", "g", "h"] {
        let left: i64 = server.cli(&["PTTL", &format!("p:{key}")]).parse().unwrap();
        assert!((55_000..=60_000).contains(&left), "{key} {left}");
    }
    assert!(["a", "b", "c", "e", "g", "h"].iter().all(|key| cache.local(key).is_some()));
    assert!(server.cli(&["PTTL", "p:f"]).parse::<i64>().unwrap() <= 5_000);
    assert!(cache.run("flushdb").await.is_error());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_outlives_a_write_of_several_keys_with_the_caches_own_deadline() {
    let server = RedisServer::start(&[]);
    let rules = Rules { time_to_live: Some(Duration::from_secs(60)), flush: false };
    let cache = Cache::open(&server.url(), Choice { rules, ..Choice::default() }).await;
    let mut session = NearSession::default();
    let watch = async |session: &mut NearSession| {
        assert_eq!(cache.near.watch(session, vec![Bytes::from_static(b"a")]).await, Reply::OK);
    };
    watch(&mut session).await;
    let replies = cache.batch(&mut session, &["get a", "mset b 1 c 2", "get b"]).await;
    assert_eq!(replies, [Reply::Nil, Reply::OK, bulk("1")]);
    assert!(session.is_watching());
    server.cli(&["SET", "p:a", "theirs"]);
    assert_eq!(cache.batch(&mut session, &["multi set a mine"]).await, [Reply::NilArray]);
    assert_eq!(server.cli(&["GET", "p:a"]), "theirs");

    // And what has nothing to do with the watch does not fail by it.
    watch(&mut session).await;
    server.cli(&["SET", "p:a", "again"]);
    assert_eq!(cache.batch(&mut session, &["mset b 3 c 4", "get c"]).await, [Reply::OK, bulk("4")]);
    assert!(server.cli(&["PTTL", "p:b"]).parse::<i64>().unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_of_very_many_keys_holds_up_no_other_writer() {
    let server = RedisServer::start(&[]);
    // Redis answers no beat while it executes this.
    let choice = Choice { beat: Duration::from_secs(30), ..Choice::default() };
    let cache = Arc::new(Cache::open(&server.url(), choice).await);
    let pairs: String = (0..40_000).map(|n| format!(" k{n} v")).collect();
    let large = Arc::clone(&cache);
    let large = tokio::spawn(async move { large.run(&format!("mset{pairs} k0 last")).await });
    let mut longest = Duration::ZERO;
    while !large.is_finished() {
        let began = Instant::now();
        assert_eq!(cache.run("set other v").await, Reply::OK);
        longest = longest.max(began.elapsed());
    }
    assert_eq!(large.await.unwrap(), Reply::OK);
    assert_eq!(cache.run("get k0").await, bulk("last"));
    assert!(longest < Duration::from_secs(3), "{longest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn walks_and_flush_mean_the_prefix() {
    let server = RedisServer::start(&[]);
    server.cli(&["SET", "foreign", "1"]);
    let cache = Cache::open(&server.url(), Choice::default()).await;
    cache.run("mset a 1 b 2").await;
    let Reply::Array(parts) = cache.run("scan 0 COUNT 1000 MATCH a*").await else { panic!("no array") };
    assert_eq!(parts, [bulk("0"), Reply::Array(vec![bulk("a")])]);
    assert!(cache.run("scan x").await.is_error());
    assert!(cache.run("scan 0 COUNT 0").await.is_error());
    assert_eq!(cache.run("flushdb").await, Reply::OK);
    assert_eq!((cache.local("a"), server.cli(&["DBSIZE"])), (None, "1".to_owned()));
}
