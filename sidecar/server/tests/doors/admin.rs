//! The admin door.

use std::io::Write;
use std::net::TcpStream;

use crate::world::{PATIENCE, World, eventually, rest};

fn get(world: &World, target: &str) -> String {
    let mut stream = TcpStream::connect(world.admin).expect("it accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("it reads");
    rest(&mut stream)
}

#[test]
fn metrics_count_what_was_asked() {
    let world = World::start();
    world.ask(
        b"SET a 1\r\nGET a\r\nGET a\r\nGET b\r\nMGET a b\r\nINCR x y\r\nNOPE\r\nMULTI\r\nGET a\r\nEXEC\r\n",
    );
    world.ask(b"\x00\x00\x00\x06\x01\x01\x00\x00\x00a");
    let metrics = get(&world, "/metrics");
    let batches = metrics.lines().find_map(|line| line.strip_prefix("synapse_batch_duration_seconds_count "));
    let batches: u32 = batches.and_then(|count| count.parse().ok()).expect("a count");
    assert!(batches > 1, "{metrics}");
    for line in [
        "synapse_requests_total{command=\"set\",outcome=\"ok\"} 1",
        "synapse_requests_total{command=\"get\",outcome=\"hit\"} 4",
        "synapse_requests_total{command=\"get\",outcome=\"miss\"} 1",
        "synapse_requests_total{command=\"mget\",outcome=\"ok\"} 1",
        "synapse_requests_total{command=\"exec\",outcome=\"ok\"} 1",
        "synapse_requests_total{command=\"incr\",outcome=\"error\"} 1",
        "synapse_requests_total{command=\"unknown\",outcome=\"error\"} 1",
        "synapse_lookups_total{tier=\"memory\",outcome=\"hit\"} 5",
        "synapse_lookups_total{tier=\"memory\",outcome=\"miss\"} 2",
        "synapse_connections_total{protocol=\"resp\"} 1",
        "synapse_connections_total{protocol=\"frames\"} 1",
        "synapse_memory_entries 1",
        "synapse_memory_evictions_total 0",
        "# TYPE synapse_batch_duration_seconds histogram",
        &format!("synapse_batch_duration_seconds_bucket{{le=\"+Inf\"}} {batches}"),
        "# EOF",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    eventually("the connections are closed", || {
        get(&world, "/metrics").contains("synapse_connections_open 0")
    });
}

#[test]
fn the_admin_door_waits_for_no_body() {
    let world = World::start();
    let mut stream = TcpStream::connect(world.admin).expect("it accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
        .write_all(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 60000000\r\n\r\n")
        .expect("it reads");
    assert!(rest(&mut stream).starts_with("HTTP/1.1 413"));
}

#[test]
fn readiness_ends_when_the_server_drains_and_liveness_does_not() {
    let world = World::start();
    assert!(get(&world, "/livez").starts_with("HTTP/1.1 200 OK"));
    assert!(get(&world, "/readyz").starts_with("HTTP/1.1 200 OK"));
    assert!(get(&world, "/readyz?verbose").contains("redis: none"));
    assert!(get(&world, "/elsewhere").starts_with("HTTP/1.1 404"));
    world.signal.drain();
    assert!(get(&world, "/readyz").starts_with("HTTP/1.1 503"));
    assert!(get(&world, "/livez").starts_with("HTTP/1.1 200 OK"));
}
