//! What a client says, however it is cut into reads.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::sidecar::Sidecar;

#[test]
fn a_plain_request_that_the_decoder_saw_the_beginning_of_leaves_nothing_behind() {
    let sidecar = Sidecar::start(&[], &[]);
    let mut client = UnixStream::connect(sidecar.socket()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut talk = |said: &str, expected: &str| {
        client.write_all(said.as_bytes()).unwrap();
        let mut answer = vec![0; expected.len()];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), expected, "to {said:?}");
    };
    let get = "*2\r\n$3\r\nGET\r\n$1\r\na\r\n";
    for cut in 1..get.len() {
        // The decoder answers PING and sees how GET begins; the rest of it comes with another request.
        talk(&format!("PING\r\n{}", &get[..cut]), "+PONG\r\n");
        talk(&format!("{}*1\r\n$4\r\nPING\r\n", &get[cut..]), "$-1\r\n+PONG\r\n");
    }
}

/// Says all of `said`, and only then listens.
fn say_all_then_listen(sidecar: &Sidecar, said: &[u8], expected: &[u8]) {
    let mut client = UnixStream::connect(sidecar.socket()).unwrap();
    let limit = Some(Duration::from_secs(20));
    client.set_read_timeout(limit).unwrap();
    client.set_write_timeout(limit).unwrap();
    client.write_all(said).unwrap();
    let mut answered = vec![0; expected.len()];
    client.read_exact(&mut answered).unwrap();
    let differs = answered.iter().zip(expected).position(|(a, b)| a != b);
    assert_eq!(differs, None);
}

#[test]
fn who_listens_only_when_all_is_said_is_answered() {
    let sidecar = Sidecar::start(&["--memory", "64Mi"], &[]);
    // Many small answers to large requests: each of them would fill the socket on its own.
    for (size, count) in [(10, 50_000), (20_000, 2000), (200_000, 300)] {
        let set = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${size}\r\n{}\r\n", "v".repeat(size));
        say_all_then_listen(&sidecar, set.repeat(count).as_bytes(), "+OK\r\n".repeat(count).as_bytes());
    }
    // Large answers to many small requests, by both ways through the server.
    let (value, count) = ("v".repeat(1000), 60_000);
    assert_eq!(sidecar.cli(&["SET", "k", &value]), "OK");
    let bulk = format!("$1000\r\n{value}\r\n");
    for get in
        ["*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", "*4\r\n$8\r\nGETRANGE\r\n$1\r\nk\r\n$1\r\n0\r\n$3\r\n999\r\n"]
    {
        say_all_then_listen(&sidecar, get.repeat(count).as_bytes(), bulk.repeat(count).as_bytes());
    }
    let frame = [&6_u32.to_be_bytes()[..], &[1], &1_u32.to_le_bytes(), b"k"].concat();
    let hit = [&1005_u32.to_be_bytes()[..], &[1], &1000_u32.to_le_bytes(), value.as_bytes()].concat();
    say_all_then_listen(&sidecar, &frame.repeat(count), &hit.repeat(count));
}
