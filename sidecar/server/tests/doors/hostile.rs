//! Clients that mean harm: they get an error or a closed connection, and nobody else notices.

use std::io::{Read, Write};
use std::time::Duration;

use crate::world::{World, expect};

#[test]
fn hostile_bytes_end_their_own_connection_alone() {
    let world = World::start();
    let mut bystander = world.connect();
    for (said, answer) in [
        (&b"\x04\x00\x00\x01"[..], "exceeds the limit"),
        (b"\x00\x00\x00\x01\x09\x00\x00\x00\x01\x09", "unknown operation 9"),
        (b"*1048577\r\n", "-ERR Protocol error: invalid multibulk length"),
        (b"*1\r\n$67108865\r\n", "-ERR Protocol error: invalid bulk length"),
        (
            b"PUT /cache/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "HTTP/1.1 400",
        ),
        (b"PUT /cache/a HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", "HTTP/1.1 413"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "-ERR unknown command"),
    ] {
        let got = world.ask(said);
        assert!(got.contains(answer), "{}: {got:?}", said.escape_ascii());
    }
    let nested = world.ask("*1\r\n".repeat(100_000).as_bytes());
    assert!(nested.contains("expected '$'"), "{nested}");
    bystander.write_all(b"PING\r\n").expect("it reads");
    expect(&mut bystander, "+PONG\r\n");
}

#[test]
fn an_http_request_smuggled_into_resp_closes_the_connection() {
    let world = World::start();
    assert_eq!(world.ask(b"PING\r\nPOST / x\r\nSET a 1\r\n"), "+PONG\r\n");
    assert_eq!(world.ask(b"GET a\r\n"), "$-1\r\n");
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody_but_itself() {
    let world = World::start();
    world.ask(&[&b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1000000\r\n"[..], &[b'x'; 1_000_000], b"\r\n"].concat());
    let mut greedy = world.connect();
    // 50 GB of answers: the server stops reading this client long before it holds them.
    greedy.set_write_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    let _ = greedy.write_all(&b"GET a\r\n".repeat(50_000));
    assert_eq!(world.ask(b"STRLEN a\r\n"), ":1000000\r\n");
    let held = resident_bytes();
    assert!(held < 400 << 20, "{held} bytes are resident");
    let mut chunk = [0; 1 << 16];
    assert!(greedy.read(&mut chunk).expect("an answer") > 0);
}

#[test]
fn a_watch_ends_with_its_connection() {
    let world = World::start();
    let mut watcher = world.connect();
    watcher.write_all(b"WATCH a\r\nMULTI\r\nSET a mine\r\n").expect("it reads");
    expect(&mut watcher, "+OK\r\n+OK\r\n+QUEUED\r\n");
    assert_eq!(world.ask(b"SET a theirs\r\n"), "+OK\r\n");
    watcher.write_all(b"EXEC\r\nGET a\r\n").expect("it reads");
    expect(&mut watcher, "*-1\r\n$6\r\ntheirs\r\n");
    drop(watcher);
    assert_eq!(
        world.ask(b"WATCH a\r\nMULTI\r\nGET a\r\nEXEC\r\n"),
        "+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n$6\r\ntheirs\r\n"
    );
}

/// Memory of this process, which is the server as well.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = status.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}
