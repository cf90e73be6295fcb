//! However a stream is cut into reads, the same requests come out; and whatever the bytes are, nothing panics.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use synapse_protocol::batch::Batch;
use synapse_protocol::{detect, frame, http, resp};

/// Feeds `bytes` in the given pieces and collects everything that is decoded, as text.
type Feed = fn(&[&[u8]]) -> Vec<String>;

fn resp_feed(pieces: &[&[u8]]) -> Vec<String> {
    let (mut decoder, mut input, mut batch) =
        (resp::request::Decoder::default(), BytesMut::new(), Batch::default());
    let mut seen = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        let outcome = decoder.decode(&mut input, &mut batch);
        seen.extend(batch.iter().map(|command| format!("{command:?}")));
        batch.clear();
        if let Err(error) = outcome {
            seen.push(error.to_string());
            return seen;
        }
    }
    seen
}

fn frame_feed(pieces: &[&[u8]]) -> Vec<String> {
    let (mut input, mut seen) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match frame::decode(&mut input) {
                Ok(Some(request)) => seen.push(format!("{request:?}")),
                Ok(None) => break,
                Err(error) => {
                    seen.push(error.to_string());
                    return seen;
                }
            }
        }
    }
    seen
}

fn http_feed(pieces: &[&[u8]]) -> Vec<String> {
    let (mut decoder, mut input, mut seen) = (http::request::Decoder::default(), BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut input) {
                Ok(http::request::Step::Request(request)) => seen.push(format!("{request:?}")),
                Ok(http::request::Step::Continue) => {}
                Ok(http::request::Step::Incomplete) => break,
                Err(error) => {
                    seen.push(error.to_string());
                    return seen;
                }
            }
        }
    }
    seen
}

fn every_split(feed: Feed, bytes: &[u8]) {
    let whole = feed(&[bytes]);
    for at in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(at);
        assert_eq!(feed(&[head, tail]), whole, "cut at {at} of {}", bytes.escape_ascii());
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(feed(&single), whole, "byte by byte: {}", bytes.escape_ascii());
}

fn command() -> impl Strategy<Value = Vec<u8>> {
    let args = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..5);
    let array = args.prop_map(|args| {
        let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            bytes.extend(format!("${}\r\n", arg.len()).bytes());
            bytes.extend(arg);
            bytes.extend(b"\r\n");
        }
        bytes
    });
    let inline = "[a-zA-Z\"'\\\\ ]{0,12}\r?\n".prop_map(String::into_bytes);
    prop_oneof![3 => array, 1 => inline]
}

fn framed() -> impl Strategy<Value = Vec<u8>> {
    let body = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..24),
        (prop::collection::vec(any::<u8>(), 0..8), any::<u64>()).prop_map(|(key, ttl)| {
            let length = (key.len() as u32).to_le_bytes();
            [&[2][..], &length, &length, &ttl.to_le_bytes(), &key, &key].concat()
        }),
    ];
    body.prop_map(|body| [&(body.len() as u32).to_be_bytes()[..], &body].concat())
}

fn http_request() -> impl Strategy<Value = Vec<u8>> {
    let headers = prop::collection::vec(
        prop_oneof![
            Just("Accept: */*"),
            Just("Content-Length: 0"),
            Just("Expect: 100-continue"),
            Just("Bad header")
        ],
        0..3,
    );
    (headers, prop::collection::vec(any::<u8>(), 0..12)).prop_map(|(headers, body)| {
        let mut head = String::from("PUT /cache/a HTTP/1.1\r\nHost: x\r\n");
        for header in headers {
            head += header;
            head += "\r\n";
        }
        head += &format!("Content-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), &body].concat()
    })
}

fn some(one: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(one, 1..4).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn resp_is_the_same_at_every_split(bytes in some(command())) {
        every_split(resp_feed, &bytes);
    }

    #[test]
    fn frames_are_the_same_at_every_split(bytes in some(framed())) {
        every_split(frame_feed, &bytes);
    }

    #[test]
    fn http_is_the_same_at_every_split(bytes in some(http_request())) {
        every_split(http_feed, &bytes);
    }

    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for feed in [resp_feed as Feed, frame_feed, http_feed] {
            every_split(feed, &bytes);
        }
        detect::detect(&bytes);
    }

    #[test]
    fn nothing_panics_on_what_looks_right(bytes in "[*$0-9\r\n\"'\\\\ -]{0,60}") {
        every_split(resp_feed, bytes.as_bytes());
    }
}

#[test]
fn deep_nesting_is_an_error_not_a_stack() {
    let nested = Bytes::from("*1\r\n".repeat(100_000));
    assert_eq!(resp_feed(&[&nested]), ["Protocol error: expected '$', got '*'"]);
}
