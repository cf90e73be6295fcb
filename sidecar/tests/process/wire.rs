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
