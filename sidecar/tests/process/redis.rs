//! Unmodified clients, two sidecars, one Redis: what one writes the other reads; and Redis going away.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::redis_server::{RedisServer, eventually};
use crate::sidecar::Sidecar;

#[tokio::test]
async fn two_sidecars_and_redis_cli_see_each_other() {
    let server = RedisServer::start(&[]);
    let args = ["--redis-url", &server.url(), "--redis-prefix", "p:"];
    let (one, two) = (Sidecar::start(&args, &[]), Sidecar::start(&args, &[]));
    eventually("connected", async || one.cli(&["SET", "k", "1"]) == "OK").await;
    eventually("read by the other", async || two.cli(&["GET", "k"]) == "1").await;
    for turn in 0..20 {
        let value = format!("v{turn}");
        let writer = if turn % 2 == 0 { &one } else { &two };
        assert_eq!(writer.cli(&["SET", "k", &value]), "OK");
        assert_eq!(writer.cli(&["GET", "k"]), value);
        eventually("seen by both", async || {
            one.cli(&["GET", "k"]) == value && two.cli(&["GET", "k"]) == value
        })
        .await;
        server.cli(&["SET", "p:k", "plain"]);
        eventually("the plain write is seen by both", async || {
            one.cli(&["GET", "k"]) == "plain" && two.cli(&["GET", "k"]) == "plain"
        })
        .await;
    }
    assert_eq!(one.cli(&["INCR", "n"]), "1");
    assert_eq!(two.cli(&["INCR", "n"]), "2");
    assert_eq!(server.cli(&["GET", "p:n"]), "2");
    assert_eq!(two.cli(&["DBSIZE"]), "2");
    assert!(two.cli(&["FLUSHDB"]).contains("refused"));
}

#[tokio::test]
async fn a_hit_asks_redis_nothing() {
    let server = RedisServer::start(&[]);
    let sidecar = Sidecar::start(&["--redis-url", &server.url(), "--redis-prefix", "p:"], &[]);
    server.cli(&["SET", "p:k", "v"]);
    let calls = || ["get", "pttl", "mget", "exec", "evalsha"].map(|name| server.calls(name));
    eventually("a copy", async || {
        let before = calls();
        sidecar.cli(&["GET", "k"]) == "v" && before == calls()
    })
    .await;
    let before = calls();
    for _ in 0..50 {
        assert_eq!(sidecar.cli(&["GET", "k"]), "v");
    }
    assert_eq!(calls(), before);
}

#[tokio::test]
async fn redis_frozen_and_gone_costs_deadlines_and_nothing_grows() {
    let mut server = RedisServer::start(&[]);
    let sidecar = Sidecar::start(&["--redis-url", &server.url()], &[]);
    eventually("a copy", async || {
        sidecar.cli(&["SET", "k", "v"]) == "OK" && sidecar.cli(&["GET", "k"]) == "v"
    })
    .await;
    let before = sidecar.footprint();
    server.freeze();
    let began = Instant::now();
    for command in [&["SET", "k2", "v"][..], &["INCR", "n"], &["GET", "missing"], &["DBSIZE"], &["SCAN", "0"]]
    {
        let began = Instant::now();
        let answer = sidecar.cli(command);
        assert!(answer.contains("REDIS"), "{command:?} {answer}");
        assert!(began.elapsed() < Duration::from_millis(900), "{command:?} took {:?}", began.elapsed());
        assert!(sidecar.probe("ready"));
    }
    if began.elapsed() < Duration::from_secs(4) {
        assert_eq!(sidecar.cli(&["GET", "k"]), "v", "a copy is served within maxStale");
    }
    eventually("copies are too old", async || sidecar.cli(&["GET", "k"]).contains("REDIS")).await;
    server.thaw();
    eventually("again", async || sidecar.cli(&["SET", "k", "w"]) == "OK").await;
    server.kill();
    eventually("told so", async || sidecar.cli(&["SET", "k", "x"]).contains("REDISDOWN")).await;
    for _ in 0..100 {
        let began = Instant::now();
        assert!(sidecar.cli(&["SET", "k", "x"]).contains("REDISDOWN"));
        assert!(began.elapsed() < Duration::from_millis(300));
    }
    assert!(sidecar.probe("ready"));
    server.restart();
    eventually("again", async || sidecar.cli(&["SET", "k", "y"]) == "OK").await;
    assert_eq!(sidecar.cli(&["GET", "k"]), "y");
    eventually("as before", async || {
        let now = sidecar.footprint();
        now.0 <= before.0 + 1 && now.1 <= before.1 + 1
    })
    .await;
}

#[tokio::test]
async fn what_a_refused_transaction_says_about_the_connection_has_no_effect() {
    let server = RedisServer::start(&[]);
    let sidecar = Sidecar::start(&["--redis-url", &server.url()], &[]);
    let mut client = UnixStream::connect(sidecar.socket()).unwrap();
    let mut talk = |said: &[u8], expected: &str| {
        client.write_all(said).unwrap();
        let mut answer = vec![0; expected.len()];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), expected);
    };
    talk(b"WATCH k\r\n", "+OK\r\n");
    server.cli(&["SET", "synapse:cache:k", "theirs"]);
    talk(b"MULTI\r\nHELLO 3\r\nGET k\r\nEXEC\r\nGET no\r\n", "+OK\r\n+QUEUED\r\n+QUEUED\r\n*-1\r\n$-1\r\n");
    talk(
        b"MULTI\r\nGET no\r\nCLIENT SETNAME n\r\nPING\r\nGET k\r\nEXEC\r\nCLIENT GETNAME\r\n",
        "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*4\r\n$-1\r\n+OK\r\n+PONG\r\n$6\r\ntheirs\r\n$1\r\nn\r\n",
    );
}

#[tokio::test]
async fn a_transaction_answers_in_the_protocol_in_which_it_was_executed() {
    let server = RedisServer::start(&[]);
    let sidecar = Sidecar::start(&["--redis-url", &server.url()], &[]);
    let mut client = UnixStream::connect(sidecar.socket()).unwrap();
    let said =
        b"MULTI\r\nGET no\r\nEXEC\r\nHELLO 3\r\nMULTI\r\nGET no\r\nHELLO 2\r\nGET no\r\nEXEC\r\nQUIT\r\n";
    client.write_all(said).unwrap();
    let mut answers = String::new();
    client.read_to_string(&mut answers).unwrap();
    assert!(answers.starts_with("+OK\r\n+QUEUED\r\n*1\r\n$-1\r\n%7\r\n"), "{answers}");
    assert!(answers.contains("+QUEUED\r\n*3\r\n_\r\n*14\r\n"), "{answers}");
    assert!(answers.ends_with("$-1\r\n+OK\r\n"), "{answers}");
}

#[tokio::test]
async fn raw_bytes_over_http_come_from_memory_alone() {
    let server = RedisServer::start(&[]);
    let sidecar = Sidecar::start(&["--redis-url", &server.url()], &[]);
    assert_eq!(sidecar.cli(&["SET", "k", "v", "EX", "1000"]), "OK");
    let get_key = |key: &str, accept: &str| {
        let mut stream = UnixStream::connect(sidecar.socket()).unwrap();
        let head =
            format!("GET /cache/{key} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let get = |accept: &str| get_key("k", accept);
    assert!(get("application/json").ends_with("\"value\":\"v\",\"ttl\":1000}"));
    server.cli(&["LPUSH", "synapse:cache:k2", "x"]);
    assert!(get_key("k2", "text/plain").starts_with("HTTP/1.1 409"));
    let before = ["get", "pttl"].map(|name| server.calls(name));
    for _ in 0..20 {
        assert!(get("text/plain").ends_with("\r\n\r\nv"));
    }
    assert_eq!(["get", "pttl"].map(|name| server.calls(name)), before);
    server.freeze();
    let begun = Instant::now();
    assert!(get("text/plain").ends_with("\r\n\r\nv"));
    assert!(begun.elapsed() < Duration::from_millis(200), "{:?}", begun.elapsed());
    assert!(get("application/json").ends_with("\"value\":\"v\",\"ttl\":null}"), "nobody knows the time left");
    server.thaw();
}
