//! Before a Redis: names alone are left, and Redis is asked for what they mean now.

use std::fs;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use crate::redis_server::RedisServer;
use crate::sidecar::{Client, Sidecar};

const KEYS: usize = 3000;

fn commands(name: &str) -> Vec<[String; 2]> {
    (0..KEYS).map(|key| [name.to_owned(), key.to_string()]).collect()
}

/// Writes every key and has it in memory.
fn fill(client: &mut Client) {
    let sets: Vec<_> =
        (0..KEYS).map(|key| ["SET".to_owned(), key.to_string(), format!("old:{key}")]).collect();
    assert!(client.ask(&sets).iter().all(|answer| answer == "OK"));
}

fn until_told(sidecar: &Sidecar, what: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !sidecar.log().contains(what) {
        assert!(Instant::now() < deadline, "never told: {what}: {}", sidecar.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

const ASKED: &str = "asked Redis for what the last sidecar held";

#[test]
fn memory_is_filled_from_redis_and_never_from_the_file() {
    let server = RedisServer::start(&[]);
    let url = server.url();
    let args = ["--redis-url", &url, "--redis-prefix", "p:"];
    let mut sidecar = Sidecar::new();
    fill(&mut sidecar.start(&args));
    sidecar.end();
    let file = fs::read(&sidecar.file).unwrap();
    assert!(!file.windows(4).any(|window| window == b"old:"), "a value is in the file");
    // What nobody has told the sidecar that is away.
    server.cli(&["SET", "p:7", "new:7"]);
    server.cli(&["DEL", "p:8"]);
    server.cli(&["PEXPIRE", "p:9", "700000"]);
    server.cli(&["CONFIG", "RESETSTAT"]);
    let mut client = sidecar.start(&args);
    assert!(!sidecar.file.exists());
    until_told(&sidecar, ASKED);
    let gets = server.calls("get");
    // Some writes under way at the same time cost each other their copies.
    let forgotten = KEYS as u64 / 10;
    assert!(gets <= KEYS as u64 && gets + forgotten >= KEYS as u64, "{gets}");
    let answers = client.ask(&commands("GET"));
    for (key, answer) in answers.iter().enumerate() {
        let expected = match key {
            7 => "new:7".to_owned(),
            8 => "(nil)".to_owned(),
            key => format!("old:{key}"),
        };
        assert_eq!(*answer, expected);
    }
    let later = server.calls("get") - gets;
    assert!(later <= forgotten + 1, "{later} were not in memory");
    let left: i64 = client.one(&["PTTL", "9"]).parse().unwrap();
    assert!(left > 600_000 && left <= 700_000);
    // What changes from now on is heard of.
    server.cli(&["SET", "p:10", "new:10"]);
    let deadline = Instant::now() + Duration::from_secs(10);
    while client.one(&["GET", "10"]) != "new:10" {
        assert!(Instant::now() < deadline, "the change was not seen");
    }
    assert_eq!(sidecar.warnings(), [""; 0]);
}

#[test]
fn what_is_written_while_redis_is_asked_is_not_undone() {
    let server = RedisServer::start(&[]);
    let url = server.url();
    let args = ["--redis-url", &url, "--redis-prefix", "p:"];
    let mut sidecar = Sidecar::new();
    fill(&mut sidecar.start(&args));
    for turn in 0..3 {
        sidecar.end();
        let mut client = sidecar.start(&args);
        // Asked for and written at the same time.
        for key in (0..KEYS).step_by(3) {
            let (key, value) = (key.to_string(), format!("{turn}:{key}"));
            assert_eq!(client.ask(&[&["SET", &key, &value][..], &["GET", &key]]), ["OK", &value]);
        }
        until_told(&sidecar, ASKED);
        let answers = client.ask(&commands("GET"));
        for (key, answer) in answers.iter().enumerate() {
            let own = if key % 3 == 0 { format!("{turn}:{key}") } else { format!("old:{key}") };
            assert_eq!(*answer, own);
        }
    }
}

#[test]
fn what_others_write_while_redis_is_asked_is_seen() {
    let server = RedisServer::start(&[]);
    let url = server.url();
    let args = ["--redis-url", &url, "--redis-prefix", "p:"];
    let mut sidecar = Sidecar::new();
    fill(&mut sidecar.start(&args));
    for turn in 0..5 {
        sidecar.end();
        let socket = sidecar.socket();
        let (mut client, heard) = thread::scope(|scope| {
            // Gone with whoever waits, however that ends: then the others end, too.
            let (waiting, waits) = mpsc::channel::<()>();
            let port = server.port;
            let others = scope.spawn(move || write_until_gone(&waits, port, &socket, turn));
            let client = sidecar.start(&args);
            until_told(&sidecar, ASKED);
            drop(waiting);
            (client, others.join().unwrap())
        });
        assert!(heard > 5, "{heard} rounds were written meanwhile");
        let mut redis = Client::tcp(server.port);
        let truth =
            redis.ask(&(0..KEYS).map(|key| ["GET".to_owned(), format!("p:{key}")]).collect::<Vec<_>>());
        let deadline = Instant::now() + Duration::from_secs(5);
        while client.ask(&commands("GET")) != truth {
            assert!(Instant::now() < deadline, "a copy stayed older than what Redis holds");
        }
    }
}

/// Writes to Redis, a hundred keys at a time, until nobody waits any more. Once there is a sidecar at `socket`, each
/// hundred waits until it has heard of the one before: it cannot be flooded, however little of a core it gets. Answers
/// how many it has heard of.
fn write_until_gone(waits: &Receiver<()>, port: u16, socket: &Path, turn: usize) -> usize {
    let (mut redis, mut sidecar) = (Client::tcp(port), None);
    let (mut written, mut heard) = (0, 0);
    while waits.try_recv() == Err(TryRecvError::Empty) {
        let mut round = (written..written + 100).map(|n| (n * 7 % KEYS, format!("{turn}:{n}")));
        let sets: Vec<_> =
            round.clone().map(|(key, value)| ["SET".to_owned(), format!("p:{key}"), value]).collect();
        assert!(redis.ask(&sets).iter().all(|answer| answer == "OK"));
        written += sets.len();
        sidecar = sidecar.or_else(|| Client::unix(socket).ok());
        let (Some(sidecar), Some((key, value))) = (&mut sidecar, round.next_back()) else {
            // It may be listening to Redis already.
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while sidecar.one(&["GET", &key.to_string()]) != value {
            assert!(Instant::now() < deadline, "{value} was never seen");
        }
        heard += 1;
    }
    heard
}

#[test]
fn a_redis_that_is_away_delays_nobody_and_is_asked_later() {
    let mut server = RedisServer::start(&[]);
    let url = server.url();
    let args = ["--redis-url", &url, "--redis-prefix", "p:"];
    let mut sidecar = Sidecar::new();
    fill(&mut sidecar.start(&args));
    sidecar.end();
    server.kill();
    let began = Instant::now();
    let mut client = sidecar.start(&args);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(client.one(&["GET", "1"]).starts_with("-REDIS"));
    server.restart();
    // A Redis that has lost everything holds none of them.
    until_told(&sidecar, ASKED);
    assert!(sidecar.log().contains("\"kept\":0"), "{}", sidecar.log());
    assert_eq!(client.one(&["GET", "1"]), "(nil)");
}

#[test]
fn entries_of_a_cache_without_redis_are_never_served_before_one() {
    let server = RedisServer::start(&[]);
    let url = server.url();
    let mut sidecar = Sidecar::new();
    fill(&mut sidecar.start(&[]));
    sidecar.end();
    let args = ["--redis-url", &url, "--redis-prefix", "p:"];
    let mut client = sidecar.start(&args);
    until_told(&sidecar, ASKED);
    assert!(client.ask(&commands("GET")).iter().all(|answer| answer == "(nil)"));
    fill(&mut client);
    sidecar.end();
    // And names are nothing to a cache that has nobody to ask.
    let mut client = sidecar.start(&[]);
    assert_eq!(client.one(&["DBSIZE"]), "0");
    assert!(sidecar.log().contains("names alone"), "{}", sidecar.log());
}
