//! Large values through whole sessions: cut anywhere, slowly read, overwritten while they are sent.

use std::sync::Arc;

use synapse_core::clock::{Clock, SystemClock};
use synapse_engine::arena_tier::ArenaTier;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::Session;
use crate::backend::{Backend, Kind, lock};
use crate::client::Client;
use crate::client::registry::Registry;
use crate::drain::{self, Signal};
use crate::execute::Executor;
use crate::rooms::Rooms;

/// Above what the arena takes of a cache of this size, so that it is kept as it came.
const LARGE: usize = 300_000;

const CAPACITY: u64 = 64 << 20;

struct World {
    backend: Arc<Backend>,
    registry: Arc<Registry>,
    /// Sessions end when it goes.
    signal: Signal,
    drain: drain::Drain,
}

impl World {
    fn new() -> Self {
        let tier = ArenaTier::new(CAPACITY).unwrap();
        let backend = Arc::new(Backend::memory(SystemClock::start(), tier, None));
        let (signal, drain) = drain::channel();
        Self { backend, registry: Arc::default(), signal, drain }
    }

    fn connect(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(16 << 10);
        let client = Client::new(Registry::enter(&self.registry), Arc::default());
        let executor = Executor::new(Arc::clone(&self.backend), client);
        let share = self.backend.unfinished.share();
        tokio::spawn(Session::new(far, executor, share, &self.drain).run());
        near
    }

    /// The size of the room in which a value of so many bytes came.
    fn has_free_room(&self, request: usize) -> bool {
        let size = (0..16).map(|n| Rooms::size_for(request + n * 32));
        size.into_iter().any(|size| self.backend.rooms.take(size).is_some())
    }
}

fn value(seed: usize) -> Vec<u8> {
    (0..LARGE).map(|n| ((n >> 6) ^ n ^ seed) as u8).collect()
}

fn command(args: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend(format!("${}\r\n", arg.len()).bytes());
        bytes.extend_from_slice(arg);
        bytes.extend(b"\r\n");
    }
    bytes
}

fn bulk(value: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
}

/// Lets the sessions take what was sent so far.
async fn let_them_read() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

async fn expect(client: &mut DuplexStream, expected: &[u8], what: &str) {
    let mut answered = vec![0; expected.len()];
    client.read_exact(&mut answered).await.unwrap();
    let differs = answered.iter().zip(expected).position(|(a, b)| a != b);
    assert_eq!(differs, None, "{what}: {}", answered[..answered.len().min(60)].escape_ascii());
}

#[tokio::test]
async fn a_large_argument_may_be_cut_anywhere() {
    let value = value(1);
    for with_options in [false, true] {
        let set = match with_options {
            false => command(&[b"SET", b"large", &value]),
            true => command(&[b"SET", b"large", &value, b"EX", b"60"]),
        };
        let sent =
            [command(&[b"GET", b"none"]), set, command(&[b"GET", b"large"]), b"PING\r\n".to_vec()].concat();
        let expected = [b"$-1\r\n+OK\r\n".to_vec(), bulk(&value), b"+PONG\r\n".to_vec()].concat();
        let end = sent.len() - b"PING\r\n".len();
        let cuts = (0..90).chain(LARGE..LARGE + 90).chain(end - 90..sent.len());
        let world = World::new();
        for cut in cuts.filter(|cut| *cut < sent.len()) {
            let mut client = world.connect();
            let (head, tail) = sent.split_at(cut);
            let (mut read, mut write) = tokio::io::split(&mut client);
            let write = async {
                write.write_all(head).await.unwrap();
                let_them_read().await;
                write.write_all(tail).await.unwrap();
            };
            let mut answered = vec![0; expected.len()];
            let (_, answer) = tokio::join!(write, read.read_exact(&mut answered));
            answer.unwrap();
            assert!(answered == expected, "cut at {cut}");
        }
        drop(world.signal);
    }
}

#[tokio::test]
async fn answers_keep_their_order_and_wait_for_who_does_not_read() {
    let (world, one, two) = (World::new(), value(1), value(2));
    let mut client = world.connect();
    for (key, value) in [(b"1", &one), (b"2", &two)] {
        client.write_all(&command(&[b"SET", key, value])).await.unwrap();
        expect(&mut client, b"+OK\r\n", "set").await;
    }
    let asked = [
        command(&[b"GET", b"1"]),
        command(&[b"GET", b"none"]),
        command(&[b"MGET", b"2", b"none", b"1"]),
        command(&[b"ECHO", b"between"]),
        command(&[b"MULTI"]),
        command(&[b"GET", b"2"]),
        command(&[b"STRLEN", b"1"]),
        command(&[b"EXEC"]),
        command(&[b"GETDEL", b"2"]),
        command(&[b"GET", b"2"]),
    ];
    client.write_all(&asked.concat()).await.unwrap();
    let_them_read().await;
    // The session stands at the first answer: what comes later in its pipeline is not executed yet.
    let mut other = world.connect();
    other.write_all(&command(&[b"STRLEN", b"2"])).await.unwrap();
    expect(&mut other, format!(":{LARGE}\r\n").as_bytes(), "not yet deleted").await;
    let answers = [
        bulk(&one),
        b"$-1\r\n*3\r\n".to_vec(),
        bulk(&two),
        b"$-1\r\n".to_vec(),
        bulk(&one),
        bulk(b"between"),
        b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n".to_vec(),
        bulk(&two),
        format!(":{LARGE}\r\n").into_bytes(),
        bulk(&two),
        b"$-1\r\n".to_vec(),
    ];
    for (turn, answer) in answers.iter().enumerate() {
        expect(&mut client, answer, &format!("answer {turn}")).await;
    }
}

#[tokio::test]
async fn a_value_that_is_overwritten_or_evicted_while_it_is_sent_arrives_whole() {
    let (world, old) = (World::new(), value(1));
    let (mut writer, mut slow) = (world.connect(), world.connect());
    let set = command(&[b"SET", b"large", &old]);
    writer.write_all(&set).await.unwrap();
    expect(&mut writer, b"+OK\r\n", "set").await;
    slow.write_all(&command(&[b"GET", b"large"])).await.unwrap();
    let_them_read().await;
    for turn in 0..CAPACITY as usize / LARGE + 10 {
        let (key, new) = (format!("{}", turn % 300), value(turn + 2));
        let key = if turn == 0 { "large" } else { &key };
        writer.write_all(&command(&[b"SET", key.as_bytes(), &new])).await.unwrap();
        expect(&mut writer, b"+OK\r\n", "set").await;
    }
    assert!(world.backend.figures().memory.evictions > 0);
    expect(&mut slow, &bulk(&old), "the old value").await;
}

#[tokio::test]
async fn the_room_of_a_value_serves_again_when_nobody_holds_it() {
    let (world, old) = (World::new(), value(1));
    let mut client = world.connect();
    let set = command(&[b"SET", b"large", &old]);
    client.write_all(&set).await.unwrap();
    expect(&mut client, b"+OK\r\n", "set").await;
    assert!(!world.has_free_room(set.len()), "the value lies in it");
    for clear in [&b"FLUSHALL"[..], b"DBSIZE"] {
        client.write_all(&command(&[clear])).await.unwrap();
        let answer: &[u8] = if clear == b"DBSIZE" { b":0\r\n" } else { b"+OK\r\n" };
        expect(&mut client, answer, "cleared").await;
    }
    client.write_all(&command(&[b"SET", b"other", b"small"])).await.unwrap();
    expect(&mut client, b"+OK\r\n", "set").await;
    assert!(world.has_free_room(set.len()));
}

#[tokio::test]
async fn large_values_that_the_arena_keeps_are_sent_from_a_copy() {
    let (world, value) = (World::new(), [5; 66_000]);
    let mut client = world.connect();
    client.write_all(&command(&[b"SET", b"key", &value])).await.unwrap();
    expect(&mut client, b"+OK\r\n", "set").await;
    let Kind::Memory(store) = &*world.backend.current() else { panic!("memory alone") };
    let mut is_kept_as_it_came = None;
    lock(store).read(&[b"key"], world.backend.clock.now(), |_, found| {
        is_kept_as_it_came = found.map(|found| found.handle.is_some());
    });
    assert_eq!(is_kept_as_it_came, Some(CAPACITY / 1024 < 66_000));
    for _ in 0..3 {
        client.write_all(&command(&[b"GET", b"key"])).await.unwrap();
        expect(&mut client, &bulk(&value), "get").await;
    }
}

#[tokio::test]
async fn frames_and_http_carry_large_values_too() {
    let (world, value) = (World::new(), value(1));
    let mut frames = world.connect();
    let (key, length) = (b"large", (LARGE as u32).to_le_bytes());
    let body = [&[2][..], &5_u32.to_le_bytes(), &length, &60_u64.to_le_bytes(), key, &value].concat();
    frames.write_all(&[&(body.len() as u32).to_be_bytes()[..], &body].concat()).await.unwrap();
    expect(&mut frames, b"\0\0\0\x01\0", "set").await;
    frames.write_all(b"\0\0\0\x0a\x01\x05\0\0\0large").await.unwrap();
    let hit = [&(LARGE as u32 + 5).to_be_bytes()[..], b"\x01", &length, &value].concat();
    expect(&mut frames, &hit, "get").await;

    let mut http = world.connect();
    let head = format!("PUT /cache/http HTTP/1.1\r\nHost: x\r\nContent-Length: {LARGE}\r\n\r\n");
    http.write_all(&[head.as_bytes(), &value].concat()).await.unwrap();
    let mut answered = Vec::new();
    while !answered.ends_with(b"}") {
        http.read_buf(&mut answered).await.unwrap();
    }
    assert!(answered.starts_with(b"HTTP/1.1 200"), "{}", answered.escape_ascii());
    let head = "GET /cache/http HTTP/1.1\r\nHost: x\r\nAccept: application/octet-stream\r\nConnection: close\r\n\r\n";
    http.write_all(head.as_bytes()).await.unwrap();
    let mut answered = Vec::new();
    http.read_to_end(&mut answered).await.unwrap();
    assert!(answered.ends_with(&[b"\r\n\r\n", &value[..]].concat()));
}
