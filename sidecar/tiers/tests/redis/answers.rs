//! What is asked of Redis and what it answers: reads, steps in their order, transactions, watches, walks.

use synapse_core::remote::{Fetched, Outcome, Remote, RemoteError, Step, Walk};
use synapse_core::reply::Reply;

use crate::redis_server::{RedisServer, eventually};
use crate::setup::{Event, key, open, options, order, run, send};

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
    let mut pending = Vec::new();
    for i in 0..200 {
        let steps = vec![run(&["SET", "k", &i.to_string()]), Step::Fetch(key("k"))];
        pending.push(remote.turn(64).await.unwrap().send(steps));
    }
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
    let answers = send(&remote, vec![atomic, bad, run(&["NOSUCH", "k"])]).await.unwrap();
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
    send(&remote, vec![run(&["SET", "own", "1"])]).await.unwrap();
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
async fn a_watch_that_is_given_up_leaves_a_connection_for_the_next() {
    let server = RedisServer::start(&[]);
    let (remote, _) = open(options(&server.url())).await;
    drop(remote.watch(vec![key("w")]).await.unwrap());
    let connections = || {
        let stats = server.cli(&["INFO", "stats"]);
        let line = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    let before = connections();
    for _ in 0..20 {
        drop(remote.watch(vec![key("w")]).await.unwrap());
    }
    // A few are those of redis-cli, and of reads that still connect.
    assert!(connections() < before + 5, "{} after {before}", connections());
    // And what was watched before is watched no more.
    let mut watch = remote.watch(vec![key("other")]).await.unwrap();
    server.cli(&["SET", "t*:w", "theirs"]);
    let atomic = Step::Atomic(vec![order(&["SET", "w", "mine"], 1..2)]);
    assert_eq!(watch.send(vec![atomic]).await.unwrap(), [Outcome::Atomic(Ok(vec![Reply::OK]))]);
}
