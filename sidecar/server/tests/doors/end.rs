//! The end of a server: it stops accepting, finishes what it accepted, and leaves.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use synapse_server::listener::Limits;

use crate::world::{LIMITS, PATIENCE, World, eventually, expect, rest};

#[test]
fn accepted_writes_are_answered_before_the_end() {
    let world = World::start();
    let mut clients: Vec<_> = (0..20).map(|_| world.connect()).collect();
    for client in &mut clients {
        client.write_all(b"PING\r\n").expect("it reads");
        expect(client, "+PONG\r\n");
    }
    for client in &mut clients {
        client.write_all(&b"INCR done\r\n".repeat(500)).expect("it reads");
    }
    world.signal.drain();
    let mut highest = 0;
    for client in &mut clients {
        let answers = rest(client);
        assert_eq!(answers.lines().count(), 500);
        highest = highest.max(answers.lines().filter_map(|line| line[1..].parse().ok()).max().unwrap_or(0));
    }
    assert_eq!(highest, 20 * 500);
    let World { path, serving, runtime, .. } = world;
    runtime.block_on(serving).expect("it ended well");
    assert!(UnixStream::connect(&path).is_err());
}

#[test]
fn idle_clients_do_not_hold_up_the_end() {
    let world = World::start();
    let mut idle = world.connect();
    let begun = Instant::now();
    world.signal.drain();
    world.runtime.block_on(world.serving).expect("it ended well");
    assert!(begun.elapsed() < LIMITS.grace);
    assert_eq!(rest(&mut idle), "");
}

#[test]
fn a_client_that_does_not_read_is_cut_after_the_grace_period() {
    let limits = Limits { grace: Duration::from_millis(200), ..LIMITS };
    let world = World::with(limits, 64 << 20);
    world.ask(&[&b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1000000\r\n"[..], &[b'x'; 1_000_000], b"\r\n"].concat());
    let mut client = world.connect();
    client.write_all(&b"GET a\r\n".repeat(100)).expect("it reads");
    world.signal.drain();
    let begun = Instant::now();
    world.runtime.block_on(world.serving).expect("it ended well");
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn one_connection_too_many_is_told_so() {
    let world = World::with(Limits { connections: 2, ..LIMITS }, 1 << 20);
    let (mut one, mut two) = (world.connect(), world.connect());
    for client in [&mut one, &mut two] {
        client.write_all(b"PING\r\n").expect("it reads");
        expect(client, "+PONG\r\n");
    }
    assert_eq!(rest(&mut world.connect()), "-ERR max number of clients reached\r\n");
    drop(one);
    eventually("a place is free", || {
        let mut third = world.connect();
        third.write_all(b"PING\r\nQUIT\r\n").is_ok() && rest(&mut third).starts_with("+PONG")
    });
}
