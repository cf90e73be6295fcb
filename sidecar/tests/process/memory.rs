//! What the process takes, against the capacity that it was given.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::redis_server::eventually;
use crate::sidecar::Sidecar;

const MIB: u64 = 1 << 20;

/// Writes entries with values of `size` bytes under keys of their own, many at a time.
fn fill(sidecar: &Sidecar, phase: usize, size: usize, count: usize) {
    const AT_ONCE: usize = 500;
    let mut stream = UnixStream::connect(sidecar.socket()).unwrap();
    let value = "v".repeat(size);
    for first in (0..count).step_by(AT_ONCE) {
        let mut batch = String::new();
        for n in first..first + AT_ONCE {
            let key = format!("{phase}:{n}");
            batch += &format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${size}\r\n{value}\r\n", key.len());
        }
        stream.write_all(batch.as_bytes()).unwrap();
        stream.read_exact(&mut [0; AT_ONCE * "+OK\r\n".len()]).unwrap();
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
