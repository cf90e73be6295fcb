//! The bytes that docs/protocol.md promises, read from that page itself.

use bytes::{Bytes, BytesMut};
use synapse_protocol::frame::{self, Answer, BodyError, Request};

const PAGE: &str = include_str!("../../../docs/protocol.md");

/// The hexadecimal bytes that the page shows in its row `name`.
fn vector(name: &str) -> BytesMut {
    let row = PAGE.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
    let row = row.unwrap_or_else(|| panic!("docs/protocol.md has no vector {name}"));
    let hex = row.split('`').nth(3).unwrap_or_else(|| panic!("no bytes in the row {name}"));
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("two hexadecimal digits")).collect()
}

fn decoded(name: &str) -> Request {
    let mut input = vector(name);
    let request = frame::decode(&mut input).expect("within the limit").expect("complete");
    assert!(input.is_empty(), "{name} has bytes left");
    request
}

fn encoded(answer: Answer<'_>) -> BytesMut {
    let mut out = BytesMut::new();
    frame::answer(&mut out, answer);
    out
}

#[test]
fn requests() {
    let key = Bytes::from_static(b"user:1");
    let value = Bytes::from_static(b"Ada");
    assert_eq!(decoded("get"), Request::Get { key: key.clone() });
    assert_eq!(decoded("get-empty-key"), Request::Get { key: Bytes::new() });
    let set = |ttl_seconds| Request::Set { key: key.clone(), value: value.clone(), ttl_seconds };
    assert_eq!(decoded("set"), set(0));
    assert_eq!(decoded("set-ttl"), set(60));
    assert_eq!(decoded("map"), Request::Map);
    assert_eq!(decoded("served"), Request::Served { hits: 70, sample: vec![key.clone(), Bytes::new()] });
    assert_eq!(decoded("unknown-op"), Request::Refused(BodyError::UnknownOp(9)));
    assert_eq!(decoded("short"), Request::Refused(BodyError::Short(4)));
    assert_eq!(decoded("mismatch"), Request::Refused(BodyError::Mismatch));
    assert!(frame::decode(&mut vector("too-large")).is_err());
}

#[test]
fn answers() {
    assert_eq!(encoded(Answer::Ok), vector("ok"));
    assert_eq!(encoded(Answer::Hit(b"Ada")), vector("hit"));
    assert_eq!(encoded(Answer::Hit(b"")), vector("hit-empty"));
    assert_eq!(encoded(Answer::Miss), vector("miss"));
    assert_eq!(encoded(Answer::Err(&BodyError::UnknownOp(9).to_string())), vector("err"));
}

#[test]
fn fuzzing_begins_with_them() {
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let vectors = rows.filter(|(_, rest)| rest.split('`').nth(1).is_some_and(|hex| hex.starts_with("0")));
    let mut count = 0;
    for (name, _) in vectors {
        let seed = std::fs::read(format!("{}/../../fuzz/corpus/frames/{name}", env!("CARGO_MANIFEST_DIR")));
        assert_eq!(seed.expect(name), vector(name), "{name}");
        count += 1;
    }
    assert!(count >= 15, "{count} vectors");
}
