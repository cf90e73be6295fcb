//! Answers, announcements and writes that overtake one another: memory never keeps what is old.

use std::sync::Arc;
use std::time::Duration;

use synapse_core::reply::Reply;

use crate::proxy::{Gate, Proxy};
use crate::redis_server::{RedisServer, eventually};
use crate::setup::{Cache, Choice, bulk};

/// Beats that cannot be missed while a gate is closed.
fn patient() -> Choice {
    Choice { beat: Duration::from_secs(30), ..Choice::default() }
}

async fn begin() -> (RedisServer, Proxy, Arc<Cache>) {
    let server = RedisServer::start(&[]);
    let proxy = Proxy::start(server.port).await;
    let cache = Arc::new(Cache::open(&proxy.url(), patient()).await);
    (server, proxy, cache)
}

fn spawn(cache: &Arc<Cache>, line: &'static str) -> tokio::task::JoinHandle<Reply> {
    let cache = Arc::clone(cache);
    tokio::spawn(async move { cache.run(line).await })
}

async fn a_copy_of(cache: &Cache, value: &str) {
    eventually("a copy", async || cache.run("get k").await == bulk(value) && cache.local("k").is_some())
        .await;
}

async fn executed(server: &RedisServer, command: &str, times: u64) {
    eventually("Redis has executed it", async || server.calls(command) >= times).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_announced_as_old_on_its_way_is_not_kept() {
    let (server, proxy, cache) = begin().await;
    server.cli(&["SET", "p:k", "old"]);
    // Its announcement has come when a later write on the same connection is answered.
    assert_eq!(cache.run("set fence 0").await, Reply::OK);
    proxy.close(Gate::ReadAnswers);
    let gets = server.calls("get");
    let read = spawn(&cache, "get k");
    executed(&server, "get", gets + 1).await;
    server.cli(&["SET", "p:k", "new"]);
    server.cli(&["SET", "p:probe", "1"]);
    // Announcements are not held back; a write whose answer comes after them shows that they were heard.
    assert_eq!(cache.run("set fence 1").await, Reply::OK);
    proxy.open(Gate::ReadAnswers);
    assert_eq!(read.await.unwrap(), bulk("old"));
    assert_eq!(cache.local("k"), None);
    assert_eq!(cache.run("get k").await, bulk("new"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_whose_announcement_is_late_is_dropped_when_it_comes() {
    let (server, proxy, cache) = begin().await;
    server.cli(&["SET", "p:k", "old"]);
    a_copy_of(&cache, "old").await;
    proxy.close(Gate::OrderedAnswers);
    server.cli(&["SET", "p:k", "new"]);
    assert_eq!(cache.local("k").as_deref(), Some("old"));
    proxy.open(Gate::OrderedAnswers);
    eventually("dropped", async || cache.local("k").is_none()).await;
    assert_eq!(cache.run("get k").await, bulk("new"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_sent_before_a_write_is_not_kept_after_it() {
    let (server, proxy, cache) = begin().await;
    server.cli(&["SET", "p:k", "old"]);
    // Its answer comes behind the announcement of what was set above.
    assert_eq!(cache.run("set other x").await, Reply::OK);
    proxy.close(Gate::ReadAnswers);
    let gets = server.calls("get");
    let read = spawn(&cache, "get k");
    executed(&server, "get", gets + 1).await;
    assert_eq!(cache.run("set k mine").await, Reply::OK);
    assert_eq!(cache.local("k").as_deref(), Some("mine"));
    proxy.open(Gate::ReadAnswers);
    assert_eq!(read.await.unwrap(), bulk("old"));
    assert_eq!(cache.local("k").as_deref(), Some("mine"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_overtakes_a_write_under_way_is_not_kept() {
    let (server, proxy, cache) = begin().await;
    server.cli(&["SET", "p:k", "old"]);
    a_copy_of(&cache, "old").await;
    proxy.close(Gate::OrderedRequests);
    let write = spawn(&cache, "append k er");
    eventually("the write is under way", async || cache.local("k").is_none()).await;
    // Executed before the write, which Redis has not seen yet, although that was sent before the read.
    assert_eq!(cache.run("get k").await, bulk("old"));
    assert_eq!(cache.local("k"), None);
    proxy.open(Gate::OrderedRequests);
    assert_eq!(write.await.unwrap(), Reply::Int(5));
    assert_eq!(cache.local("k"), None);
    assert_eq!(cache.run("get k").await, bulk("older"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_executed_before_a_write_and_answered_after_it_is_not_kept() {
    let (server, proxy, cache) = begin().await;
    server.cli(&["SET", "p:k", "old"]);
    a_copy_of(&cache, "old").await;
    proxy.close(Gate::OrderedRequests);
    let write = spawn(&cache, "append k er");
    eventually("the write is under way", async || cache.local("k").is_none()).await;
    proxy.close(Gate::ReadAnswers);
    let gets = server.calls("get");
    let read = spawn(&cache, "get k");
    executed(&server, "get", gets + 1).await;
    proxy.open(Gate::OrderedRequests);
    assert_eq!(write.await.unwrap(), Reply::Int(5));
    proxy.open(Gate::ReadAnswers);
    assert_eq!(read.await.unwrap(), bulk("old"));
    assert_eq!(cache.local("k"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_from_before_a_flush_is_not_kept() {
    let (server, proxy, cache) = begin().await;
    server.cli(&["SET", "p:k", "old"]);
    proxy.close(Gate::ReadAnswers);
    let gets = server.calls("get");
    let read = spawn(&cache, "get k");
    executed(&server, "get", gets + 1).await;
    server.cli(&["FLUSHALL"]);
    assert_eq!(cache.run("set fence 1").await, Reply::OK);
    proxy.open(Gate::ReadAnswers);
    assert_eq!(read.await.unwrap(), bulk("old"));
    assert_eq!(cache.local("k"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_writes_under_way_the_later_one_is_kept() {
    let (server, proxy, cache) = begin().await;
    proxy.close(Gate::OrderedAnswers);
    let mut writes = Vec::new();
    for line in ["set k 1", "set k 2", "set k 3"] {
        writes.push(spawn(&cache, line));
        tokio::task::yield_now().await;
    }
    proxy.open(Gate::OrderedAnswers);
    for write in writes {
        assert_eq!(write.await.unwrap(), Reply::OK);
    }
    let kept = cache.local("k").unwrap();
    assert_eq!(server.cli(&["GET", "p:k"]), kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_write_after_ours_wins_over_our_copy() {
    let (server, proxy, cache) = begin().await;
    proxy.close(Gate::OrderedAnswers);
    let sets = server.calls("set");
    let write = spawn(&cache, "set k mine");
    executed(&server, "set", sets + 1).await;
    server.cli(&["SET", "p:k", "theirs"]);
    proxy.open(Gate::OrderedAnswers);
    assert_eq!(write.await.unwrap(), Reply::OK);
    eventually("their value", async || cache.run("get k").await == bulk("theirs")).await;
    assert_ne!(cache.local("k").as_deref(), Some("mine"));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_write_whose_end_nobody_saw_nothing_is_kept_until_a_beat_proves_it_done() {
    let server = RedisServer::start(&[]);
    let proxy = Proxy::start(server.port).await;
    let choice = Choice {
        beat: Duration::from_secs(2),
        command_timeout: Duration::from_millis(200),
        ..Choice::default()
    };
    let cache = Arc::new(Cache::open(&proxy.url(), choice).await);
    server.cli(&["SET", "p:k", "old"]);
    proxy.close(Gate::OrderedRequests);
    let Reply::Error(text) = cache.run("append k er").await else { panic!("no answer was possible") };
    assert!(text.starts_with(b"REDISTIMEOUT"), "{text:?}");
    // The write is still on its way: what is read now is older than it, and must not stay.
    assert_eq!(cache.run("get k").await, bulk("old"));
    assert_eq!(cache.local("k"), None);
    proxy.open(Gate::OrderedRequests);
    eventually("copies are kept again", async || {
        cache.run("get k").await == bulk("older") && cache.local("k").as_deref() == Some("older")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_caller_went_away_leaves_nothing_old_behind() {
    let (server, proxy, cache) = begin().await;
    server.cli(&["SET", "p:k", "old"]);
    a_copy_of(&cache, "old").await;
    proxy.close(Gate::OrderedRequests);
    let write = spawn(&cache, "append k er");
    eventually("sent", async || cache.local("k").is_none()).await;
    write.abort();
    let _ = write.await;
    assert_eq!(cache.run("get k").await, bulk("old"));
    assert_eq!(cache.local("k"), None);
    proxy.open(Gate::OrderedRequests);
    drop(proxy);
}

/// Many writers through two caches and past them, with cuts in between: at the end every memory agrees with Redis.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_storm_ends_in_agreement() {
    let server = RedisServer::start(&[]);
    let proxy = Proxy::start(server.port).await;
    let mut caches = Vec::new();
    for _ in 0..2 {
        caches.push(Arc::new(Cache::open(&proxy.url(), Choice::default()).await));
    }
    let mut tasks = Vec::new();
    for (writer, cache) in caches.iter().cycle().take(8).enumerate() {
        let cache = Arc::clone(cache);
        tasks.push(tokio::spawn(async move {
            for turn in 0..400 {
                let key = (turn * 7 + writer) % 5;
                match (turn + writer) % 4 {
                    0 => cache.run(&format!("set k{key} {writer}-{turn}")).await,
                    1 => cache.run(&format!("append k{key} x")).await,
                    _ => cache.run(&format!("get k{key}")).await,
                };
            }
        }));
    }
    for turn in 0..40 {
        server.cli(&["SET", &format!("p:k{}", turn % 5), &format!("cli-{turn}")]);
        if turn % 15 == 14 {
            proxy.cut();
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    for cache in &caches {
        cache.ready().await;
        for key in 0..5 {
            let truth = server.cli(&["GET", &format!("p:k{key}")]);
            eventually("memory agrees", async || {
                let read = cache.run(&format!("get k{key}")).await;
                let local = cache.local(&format!("k{key}"));
                read == bulk(&truth) && local.as_ref() == Some(&truth)
            })
            .await;
        }
    }
}
