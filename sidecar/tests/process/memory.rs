//! What the process takes, against the capacity that it was given.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;

use crate::redis_server::eventually;
use crate::sidecar::Sidecar;

const MIB: u64 = 1 << 20;

/// Writes entries with values of `size` bytes under keys of their own, a megabyte or 500 at a time.
fn fill(sidecar: &Sidecar, phase: usize, size: usize, count: usize) {
    let at_once = (MIB as usize / size).clamp(1, 500);
    let mut stream = UnixStream::connect(sidecar.socket()).unwrap();
    let value = "v".repeat(size);
    for first in (0..count).step_by(at_once) {
        let mut batch = String::new();
        for n in first..first + at_once {
            let key = format!("{phase}:{n}");
            batch += &format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${size}\r\n{value}\r\n", key.len());
        }
        stream.write_all(batch.as_bytes()).unwrap();
        stream.read_exact(&mut vec![0; at_once * "+OK\r\n".len()]).unwrap();
    }
}

#[test]
fn values_of_all_sizes_stay_within_what_a_container_gets_for_the_capacity() {
    let capacity = 32 * MIB;
    let sidecar = Sidecar::start(&["--memory", "32Mi"], &[]);
    let mut most = 0;
    for (phase, (size, count)) in [(20, 45_000), (3000, 10_000), (700, 25_000)].into_iter().enumerate() {
        fill(&sidecar, phase, size, count);
        most = most.max(sidecar.resident());
    }
    // What the operator gives: a quarter more than the capacity, and what the process itself takes.
    let limit = capacity * 5 / 4 + 48 * MIB;
    assert!(most < limit, "{} MiB of {} MiB", most / MIB, limit / MIB);
}

#[test]
fn what_is_free_goes_back_to_the_kernel_at_once_however_it_was_built() {
    // The allocator says so itself when it is asked to.
    let mut sidecar = Command::new(env!("CARGO_BIN_EXE_synapse-sidecar"));
    let ran = sidecar.arg("--version").env("_RJEM_MALLOC_CONF", "confirm_conf:true").output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    for option in ["dirty_decay_ms:0", "muzzy_decay_ms:0", "narenas:1"] {
        assert!(said.contains(&format!("Set conf value: {option}")), "{option}: {said}");
    }
}

#[tokio::test]
async fn the_capacity_is_what_is_resident_while_sizes_shift() {
    const CAPACITY: u64 = 32 * MIB;
    let sidecar = Sidecar::start(&["--memory", "32Mi"], &[]);
    let empty = sidecar.resident();
    for cycle in 0..3 {
        for (size, count) in [(100, 200_000), (700, 50_000), (20_000, 3_000), (300_000, 500)] {
            fill(&sidecar, cycle, size, count);
            // What the last requests needed goes back in a moment, too.
            let most = empty + CAPACITY + CAPACITY / 10;
            eventually("within the capacity", async || sidecar.resident() <= most).await;
        }
    }
}

#[tokio::test]
async fn the_room_of_a_large_value_is_given_back() {
    let sidecar = Sidecar::start(&[], &[]);
    let mut stream = UnixStream::connect(sidecar.socket()).unwrap();
    let size = 30 << 20;
    write!(stream, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${size}\r\n").unwrap();
    stream.write_all(&vec![b'v'; size]).unwrap();
    stream.write_all(b"\r\n").unwrap();
    stream.read_exact(&mut [0; "+OK\r\n".len()]).unwrap();
    // The value, and what the process takes itself; neither the request that brought it nor how it grew.
    eventually("given back", async || sidecar.resident() < size as u64 + 32 * MIB).await;
    stream.write_all(b"DEL k\r\n").unwrap();
    eventually("all of it", async || sidecar.resident() < 32 * MIB).await;
}

#[test]
fn what_is_announced_takes_no_memory_before_it_comes() {
    const SIZE: usize = 4 << 20;
    let sidecar = Sidecar::start(&["--memory", "256Mi"], &[]);
    let empty = sidecar.resident();
    let begun = format!("PING\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n${SIZE}\r\n{}", "v".repeat(1000));
    let mut clients: Vec<_> = (0..20).map(|_| UnixStream::connect(sidecar.socket()).unwrap()).collect();
    for client in &mut clients {
        client.write_all(begun.as_bytes()).unwrap();
        client.read_exact(&mut [0; "+PONG\r\n".len()]).unwrap();
    }
    // When all of one has come, the others have been waiting for theirs for long.
    let rest = format!("{}\r\n", "v".repeat(SIZE - 1000));
    clients[0].write_all(rest.as_bytes()).unwrap();
    clients[0].read_exact(&mut [0; "+OK\r\n".len()]).unwrap();
    let grown = sidecar.resident() - empty;
    assert!(grown < 5 * SIZE as u64, "{} MiB for one of {} MiB", grown / MIB, SIZE as u64 / MIB);
}
