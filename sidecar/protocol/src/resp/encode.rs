//! Replies as RESP2 and RESP3 bytes.

use bytes::{BufMut, Bytes, BytesMut};
use synapse_core::reply::Reply;

use super::Version;
use crate::sink::Sink;

/// Writes a reply.
pub fn reply(out: &mut impl Sink, version: Version, reply: &Reply) {
    let three = version == Version::Three;
    let buffer = out.buffer();
    match reply {
        Reply::Simple(text) => line(buffer, b'+', text),
        Reply::Error(text) => line(buffer, b'-', text),
        Reply::Int(value) => number(buffer, b':', *value),
        Reply::Bulk(bytes) => handle(out, bytes),
        Reply::Text(text) if three => {
            head(buffer, b'=', text.len() + 4);
            buffer.put_slice(b"txt:");
            finish(buffer, text);
        }
        Reply::Text(text) => bulk(buffer, text),
        Reply::Nil => nil(buffer, version),
        Reply::NilArray => buffer.put_slice(if three { b"_\r\n" } else { b"*-1\r\n" }),
        Reply::Array(items) => members(out, version, b'*', items),
        Reply::Set(items) => members(out, version, if three { b'~' } else { b'*' }, items),
        Reply::Map(pairs) => {
            if three {
                head(buffer, b'%', pairs.len());
            } else {
                head(buffer, b'*', pairs.len() * 2);
            }
            for (key, value) in pairs {
                self::reply(out, version, key);
                self::reply(out, version, value);
            }
        }
        Reply::Double(value) if three => line(buffer, b',', value.to_string().as_bytes()),
        Reply::Double(value) => bulk(buffer, value.to_string().as_bytes()),
    }
}

/// Writes a bulk string that need not be copied.
pub fn handle(out: &mut impl Sink, bytes: &Bytes) {
    head(out.buffer(), b'$', bytes.len());
    out.put_handle(bytes);
    out.buffer().put_slice(b"\r\n");
}

/// Writes a bulk string.
#[inline]
pub fn bulk(out: &mut BytesMut, bytes: &[u8]) {
    out.reserve(HEAD_BYTES + bytes.len() + 2);
    match SHORT_HEADS.get(bytes.len()) {
        Some(head) => {
            // A copy of a fixed size is a single store.
            let end = out.len() + usize::from(head[HEAD_BYTES - 1]);
            out.put_slice(head);
            out.truncate(end);
        }
        None => head(out, b'$', bytes.len()),
    }
    out.put_slice(bytes);
    out.put_slice(b"\r\n");
}

/// Writes the answer "done".
pub fn ok(out: &mut BytesMut) {
    out.put_slice(b"+OK\r\n");
}

/// Writes the answer "no value".
pub fn nil(out: &mut BytesMut, version: Version) {
    out.put_slice(match version {
        Version::Two => b"$-1\r\n",
        Version::Three => b"_\r\n",
    });
}

/// Writes the beginning of an array of `length` replies.
pub fn array(out: &mut BytesMut, length: usize) {
    head(out, b'*', length);
}

fn members(out: &mut impl Sink, version: Version, kind: u8, items: &[Reply]) {
    head(out.buffer(), kind, items.len());
    for item in items {
        reply(out, version, item);
    }
}

fn line(out: &mut BytesMut, kind: u8, text: &[u8]) {
    out.reserve(text.len() + 3);
    out.put_u8(kind);
    finish(out, text);
}

fn number(out: &mut BytesMut, kind: u8, value: i64) {
    line(out, kind, itoa::Buffer::new().format(value).as_bytes());
}

fn head(out: &mut BytesMut, kind: u8, length: usize) {
    line(out, kind, itoa::Buffer::new().format(length).as_bytes());
}

/// What stands before the bytes of a short bulk string.
static SHORT_HEADS: [[u8; HEAD_BYTES]; 1000] = {
    let (mut heads, mut length) = ([[0; HEAD_BYTES]; 1000], 0);
    while length < heads.len() {
        heads[length] = short_head(length);
        length += 1;
    }
    heads
};

/// Room for the head of a short bulk string, and how long it is.
const HEAD_BYTES: usize = 8;

/// The head of a bulk string of less than a thousand bytes; the last byte says how many the head has.
const fn short_head(length: usize) -> [u8; HEAD_BYTES] {
    let digits = if length < 10 { 1 } else { 2 + (length >= 100) as usize };
    let (mut head, mut place, mut left) = ([0; HEAD_BYTES], digits, length);
    while place > 0 {
        head[place] = b'0' + (left % 10) as u8;
        left /= 10;
        place -= 1;
    }
    (head[0], head[digits + 1], head[digits + 2]) = (b'$', b'\r', b'\n');
    head[HEAD_BYTES - 1] = digits as u8 + 3;
    head
}

#[inline]
fn finish(out: &mut BytesMut, bytes: &[u8]) {
    out.reserve(bytes.len() + 2);
    out.put_slice(bytes);
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(value: &Reply) -> [String; 2] {
        [Version::Two, Version::Three].map(|version| {
            let mut out = BytesMut::new();
            reply(&mut out, version, value);
            String::from_utf8(out.to_vec()).unwrap()
        })
    }

    #[test]
    fn scalars() {
        assert_eq!(both(&Reply::OK), ["+OK\r\n"; 2]);
        assert_eq!(both(&Reply::error("ERR no")), ["-ERR no\r\n"; 2]);
        assert_eq!(both(&Reply::Int(i64::MIN)), [":-9223372036854775808\r\n"; 2]);
        assert_eq!(both(&Reply::text("a\r\nb")), ["$4\r\na\r\nb\r\n"; 2]);
        assert_eq!(both(&Reply::Text("ab".into())), ["$2\r\nab\r\n", "=6\r\ntxt:ab\r\n"]);
        assert_eq!(both(&Reply::Double(1.5)), ["$3\r\n1.5\r\n", ",1.5\r\n"]);
        assert_eq!(both(&Reply::Nil), ["$-1\r\n", "_\r\n"]);
        assert_eq!(both(&Reply::NilArray), ["*-1\r\n", "_\r\n"]);
    }

    #[test]
    fn bulks_of_every_length() {
        for length in (0..1100).chain([9999, 10_000, 123_456]) {
            let mut out = BytesMut::from(&b"before"[..]);
            bulk(&mut out, &vec![b'v'; length]);
            assert_eq!(out, format!("before${length}\r\n{}\r\n", "v".repeat(length)));
        }
    }

    #[test]
    fn aggregates() {
        let one = || Reply::Int(1);
        assert_eq!(
            both(&Reply::Array(vec![one(), Reply::Nil])),
            ["*2\r\n:1\r\n$-1\r\n", "*2\r\n:1\r\n_\r\n"]
        );
        assert_eq!(both(&Reply::Set(vec![one()])), ["*1\r\n:1\r\n", "~1\r\n:1\r\n"]);
        assert_eq!(both(&Reply::Map(vec![(one(), one())])), ["*2\r\n:1\r\n:1\r\n", "%1\r\n:1\r\n:1\r\n"]);
    }
}
