//! What clients may cost: memory, files, labels; and what an end may take.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::redis_server::{RedisServer, eventually};
use crate::sidecar::{Sidecar, http};

const MIB: u64 = 1 << 20;

fn connect(sidecar: &Sidecar) -> UnixStream {
    let stream = UnixStream::connect(sidecar.socket()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// The first line of the answer to what was said.
fn line(stream: &mut UnixStream, said: &[u8]) -> String {
    stream.write_all(said).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    answer
}

fn set(key: &str, value: &[u8]) -> Vec<u8> {
    let head = format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${}\r\n", key.len(), value.len());
    [head.as_bytes(), value, b"\r\n"].concat()
}

/// What the smallest cache takes in one request: it has 6 MiB for unfinished ones.
const BIG: usize = 5 << 20;

/// A sidecar before a Redis that holds [`BIG`] bytes under `big`, in memory too where `memory` has room for it.
async fn before_redis(memory: &str) -> (RedisServer, Sidecar) {
    let server = RedisServer::start(&[]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.yaml");
    let text = format!("redis: {{url: '{}', commandTimeout: 30s}}", server.url());
    std::fs::write(&file, text).unwrap();
    let sidecar = Sidecar::start(&["--memory", memory, "--config", file.to_str().unwrap()], &[]);
    let value = vec![b'v'; BIG];
    eventually("stored", async || line(&mut connect(&sidecar), &set("big", &value)) == "+OK\r\n").await;
    (server, sidecar)
}

#[tokio::test]
async fn answers_before_a_redis_are_bounded_whether_memory_or_redis_gives_them() {
    for memory in ["64Mi", "4Mi"] {
        let (_server, sidecar) = before_redis(memory).await;
        let mut greedy = connect(&sidecar);
        greedy.write_all(&b"GET big\r\n".repeat(3)).unwrap();
        let mut answers = vec![0; 3 * (BIG + 12)];
        greedy.read_exact(&mut answers).unwrap();
        let before = sidecar.resident();
        greedy.write_all(&b"GET big\r\n".repeat(100)).unwrap();
        // Nobody takes the answers: what it makes of them at once has to lie in its memory.
        let until = Instant::now() + Duration::from_millis(500);
        while Instant::now() < until {
            let grown = sidecar.resident().saturating_sub(before);
            assert!(grown < 100 * MIB, "{memory}: {} MiB more for 500 MiB of answers", grown / MIB);
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut some = vec![0; 20 * (BIG + 12)];
        greedy.read_exact(&mut some).unwrap();
    }
}

#[tokio::test]
async fn one_reply_has_its_limit_before_a_redis_too() {
    for memory in ["64Mi", "4Mi"] {
        let (_server, sidecar) = before_redis(memory).await;
        let mget = format!("MGET{}\r\n", " big".repeat(30));
        assert!(line(&mut connect(&sidecar), mget.as_bytes()).contains("exceeds 128 MiB"), "{memory}");
        let exec = format!("MULTI\r\n{}EXEC\r\n", "GET big\r\n".repeat(30));
        let mut client = BufReader::new(connect(&sidecar));
        client.get_mut().write_all(exec.as_bytes()).unwrap();
        let mut answers = Vec::new();
        for _ in 0..32 {
            let mut answer = String::new();
            client.read_line(&mut answer).unwrap();
            answers.push(answer);
        }
        assert!(answers[31].contains("exceed 128 MiB"), "{memory} {answers:?}");
    }
}

#[test]
fn many_arguments_cost_nothing_once_they_are_answered() {
    let sidecar = Sidecar::start(&[], &[]);
    let del = [&b"*1048576\r\n$3\r\nDEL\r\n"[..], &b"$0\r\n\r\n".repeat((1 << 20) - 1)].concat();
    assert_eq!(line(&mut connect(&sidecar), &del), ":0\r\n");
    let before = sidecar.resident();
    let mut idle: Vec<_> = (0..6).map(|_| connect(&sidecar)).collect();
    for client in &mut idle {
        assert_eq!(line(client, &del), ":0\r\n");
    }
    let grown = sidecar.resident().saturating_sub(before);
    assert!(grown < 150 * MIB, "{} MiB for six idle clients", grown / MIB);
    // Queued, the empty arguments count as well.
    let mut client = connect(&sidecar);
    assert_eq!(line(&mut client, b"MULTI\r\n"), "+OK\r\n");
    assert!(line(&mut client, &del).contains("transaction exceeds"));
    assert!(line(&mut client, b"EXEC\r\n").starts_with("-EXECABORT"));
    let name = format!("CLIENT SETNAME {}\r\n", "n".repeat(2000));
    assert!(line(&mut client, name.as_bytes()).starts_with("-ERR Client names"));
    for batch in 0..4 {
        let keys: String = (0..20_000).map(|key| format!("$8\r\n{:08}\r\n", batch * 20_000 + key)).collect();
        let answer = line(&mut client, format!("*20001\r\n$5\r\nWATCH\r\n{keys}").as_bytes());
        assert_eq!(answer.starts_with("+OK"), batch < 3, "{answer}");
    }
}

#[test]
fn ten_thousand_idle_clients_cost_a_bounded_amount_and_one_more_is_told_so() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    if maximum.is_some_and(|files| files < 11_000) {
        panic!("this test needs 11,000 open files; the hard limit is {maximum:?}");
    }
    let sidecar = Sidecar::start(&[], &[]);
    let before = sidecar.resident();
    let mut clients: Vec<_> = (0..10_000).map(|_| connect(&sidecar)).collect();
    for client in &mut clients {
        assert_eq!(line(client, b"PING\r\n"), "+PONG\r\n");
    }
    let each = (sidecar.resident() - before) / clients.len() as u64;
    assert!(each < 12 << 10, "{each} bytes for an idle client");
    let mut one_more = connect(&sidecar);
    let mut answer = String::new();
    one_more.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "-ERR max number of clients reached\r\n");
    assert_eq!(line(&mut clients[5000], b"SET k v\r\n"), "+OK\r\n");
}

#[test]
fn labels_do_not_grow_with_what_clients_say() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let sidecar = Sidecar::start(&["--http", &format!("127.0.0.1:{port}")], &[]);
    let series = || http(port, "/metrics").lines().filter(|line| !line.starts_with('#')).count();
    let before = series();
    let mut client = connect(&sidecar);
    for turn in 0..2_000 {
        let said = format!("SET key{turn} v\r\nNOSUCH{turn} x\r\nCLIENT SETNAME name{turn}\r\n");
        client.write_all(said.as_bytes()).unwrap();
    }
    client.write_all(b"QUIT\r\n").unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
    let _ = http(port, "/elsewhere/1");
    // Rows exist from the start, or for each command that was ever called: never for a name or a key.
    let after = series();
    assert!(after <= before + 8, "{before} series became {after}");
    assert!(!http(port, "/metrics").contains("NOSUCH"), "a name became a label");
}

#[test]
fn a_client_that_does_not_read_does_not_hold_up_the_end() {
    let mut sidecar = Sidecar::start(&[], &[]);
    let mut client = connect(&sidecar);
    assert_eq!(line(&mut client, &set("k", &vec![b'x'; 4 << 20])), "+OK\r\n");
    client.write_all(&b"GET k\r\n".repeat(50)).unwrap();
    client.read_exact(&mut [0; 100]).unwrap();
    let (status, took) = sidecar.signal("-TERM");
    assert!(status.success() && took < Duration::from_secs(5), "{status} {took:?}");
}

#[tokio::test]
async fn writes_under_way_are_answered_before_the_end_and_within_their_deadline() {
    let server = RedisServer::start(&[]);
    let mut sidecar = Sidecar::start(&["--redis-url", &server.url()], &[]);
    eventually("stored", async || sidecar.cli(&["SET", "k", "v"]) == "OK").await;
    let mut clients: Vec<_> = (0..20).map(|_| connect(&sidecar)).collect();
    for client in &mut clients {
        assert_eq!(line(client, b"PING\r\n"), "+PONG\r\n", "accepted");
    }
    for client in &mut clients {
        client.write_all(b"INCR done\r\n").unwrap();
    }
    let mut highest = 0;
    let begun = Instant::now();
    let (status, _) = sidecar.signal("-TERM");
    assert!(status.success() && begun.elapsed() < Duration::from_secs(5), "{status}");
    for client in &mut clients {
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        let number: i64 = answer.trim().trim_start_matches(':').parse().unwrap();
        highest = highest.max(number);
    }
    assert_eq!((highest, server.cli(&["GET", "synapse:cache:done"])), (20, "20".to_owned()));

    // A Redis that is frozen does not hold up the end either: the write ends with its own deadline.
    let mut sidecar = Sidecar::start(&["--redis-url", &server.url()], &[]);
    eventually("stored", async || sidecar.cli(&["SET", "k", "v"]) == "OK").await;
    let mut client = connect(&sidecar);
    assert_eq!(line(&mut client, b"PING\r\n"), "+PONG\r\n", "accepted");
    server.freeze();
    client.write_all(b"INCR done\r\n").unwrap();
    let (status, took) = sidecar.signal("-TERM");
    server.thaw();
    assert!(status.success() && took < Duration::from_secs(5), "{status} {took:?}");
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("-REDISTIMEOUT") || answer.starts_with("-REDISLOST"), "{answer}");
}

#[tokio::test]
async fn no_log_metric_or_answer_holds_a_password() {
    let user = ["--user", "app", "on", ">hunter2", "~*", "&*", "+@all"];
    let server = RedisServer::start(&user);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (password, works) in [("hunter2", true), ("hunter2wrong", false)] {
        let url = format!("redis://app:{password}@127.0.0.1:{}", server.port);
        let args = ["--http", &format!("127.0.0.1:{port}"), "--log-level", "trace", "--redis-url", &url];
        let mut sidecar = Sidecar::start(&args, &[]);
        if works {
            eventually("stored", async || sidecar.cli(&["SET", "k", "v"]) == "OK").await;
        }
        let mut said = sidecar.cli(&["SET", "k", "v"]);
        assert_eq!(said == "OK", works, "{said}");
        said += &http(port, "/readyz?verbose");
        said += &http(port, "/metrics");
        said += &sidecar.cli(&["INFO"]);
        said += &sidecar.cli(&["CONFIG", "GET", "*"]);
        assert!(sidecar.signal("-TERM").0.success());
        said += &sidecar.log();
        assert!(said.contains("\"level\":\"TRACE\"") || said.contains("\"level\":\"INFO\""), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}
