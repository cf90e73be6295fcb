//! Synapse frames, version 1: a big-endian length, then a body of little-endian fields.

pub mod client;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::limits::{MAX_FRAME_BYTES, MAX_SAMPLE};
use crate::plain::{Look, Plain};
use crate::sink::{Sink, Source};

const OP_GET: u8 = 1;
const OP_SET: u8 = 2;
const OP_MAP: u8 = 3;
const OP_SERVED: u8 = 4;
const ANSWER_OK: u8 = 0;
const ANSWER_HIT: u8 = 1;
const ANSWER_MISS: u8 = 2;
const ANSWER_ERR: u8 = 3;
/// Bytes of a body before its payload.
const HEAD_BYTES: usize = 5;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Read a key.
    Get {
        /// The key.
        key: Bytes,
    },
    /// Store a value.
    Set {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
        /// Seconds to live; 0 is for ever.
        ttl_seconds: u64,
    },
    /// Hand over the memory, to be read without asking: the answer OK comes with its descriptor.
    Map,
    /// A reader of that memory was served.
    Served {
        /// Keys that it found since it last said so.
        hits: u64,
        /// Some of them, each as often as it was noted.
        sample: Vec<Bytes>,
    },
    /// A whole frame whose body says nothing known; it is answered with the reason and the stream goes on.
    Refused(BodyError),
}

/// Why a body is not a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// No operation at all.
    #[error("empty frame")]
    Empty,
    /// An operation that this version does not have.
    #[error("unknown operation {0}")]
    UnknownOp(u8),
    /// The body ends inside its fixed fields.
    #[error("frame of {0} bytes is too short for its operation")]
    Short(usize),
    /// The lengths named inside do not add up to the body.
    #[error("lengths in the frame do not match its size")]
    Mismatch,
    /// More keys than a sample may name.
    #[error("a sample of {0} keys, at most {MAX_SAMPLE} are taken")]
    TooMany(u32),
}

/// A length above [`MAX_FRAME_BYTES`]: the next frame cannot be found any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("frame of {0} bytes exceeds the limit of {MAX_FRAME_BYTES}")]
pub struct TooLarge(pub u32);

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    /// It was stored.
    Ok,
    /// The value.
    Hit(&'a [u8]),
    /// There is no value.
    Miss,
    /// It did not work, and why.
    Err(&'a str),
}

/// Looks at the front of `input`, which is where a frame begins.
#[inline]
pub fn look(input: &[u8]) -> Look<'_> {
    const GET_BYTES: usize = 9;
    const SET_BYTES: usize = 21;
    // Most are reads, and whole. Of those that are not, only writes go on to be plain.
    if let Some(&[a, b, c, d, OP_GET, w, x, y, z]) = input.first_chunk::<GET_BYTES>() {
        let (length, key) =
            (u32::from_be_bytes([a, b, c, d]) as usize, u32::from_le_bytes([w, x, y, z]) as usize);
        if length <= MAX_FRAME_BYTES
            && length == key + 5
            && let Some(key) = input.get(GET_BYTES..4 + length)
        {
            return Look::Whole(Plain::Get(key), 4 + length);
        }
    }
    let Some((prefix, body)) = input.split_first_chunk::<4>() else { return Look::Part(4 - input.len()) };
    let Ok(length) = usize::try_from(u32::from_be_bytes(*prefix)) else { return Look::Other };
    let end = 4 + length;
    if length > MAX_FRAME_BYTES || !matches!(body.first(), None | Some(&(OP_GET | OP_SET))) {
        return Look::Other;
    }
    if input.len() < end {
        return Look::Part(end - input.len());
    }
    let number = |at: usize| input.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes) as usize);
    let plain = match body.first() {
        Some(&OP_SET) if length >= 17 && input[13..SET_BYTES] == [0; 8] => {
            let (Some(key), Some(value)) = (number(5), number(9)) else { return Look::Other };
            if key.checked_add(value) != Some(end - SET_BYTES) {
                return Look::Other;
            }
            let (key, value) = input[SET_BYTES..end].split_at(key);
            Plain::Set(key, value)
        }
        _ => return Look::Other,
    };
    Look::Whole(plain, end)
}

/// Takes the first request off `input`; `None` while it is incomplete.
///
/// # Errors
/// When the frame's length is above the limit; nothing was taken.
pub fn decode(input: &mut impl Source) -> Result<Option<Request>, TooLarge> {
    let Some(prefix) = input.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*prefix);
    let end = match usize::try_from(length) {
        Ok(length) if length <= MAX_FRAME_BYTES => 4 + length,
        _ => return Err(TooLarge(length)),
    };
    if input.len() < end {
        return Ok(None);
    }
    let mut frame = input.cut(end);
    frame.advance(4);
    Ok(Some(request(frame).unwrap_or_else(Request::Refused)))
}

fn request(mut body: Bytes) -> Result<Request, BodyError> {
    let size = body.len();
    let op = body.try_get_u8().map_err(|_| BodyError::Empty)?;
    let short = |_| BodyError::Short(size);
    match op {
        OP_GET => {
            let key_len = body.try_get_u32_le().map_err(short)?;
            let key = take(&mut body, key_len)?;
            finished(&body, Request::Get { key })
        }
        OP_SET => {
            let key_len = body.try_get_u32_le().map_err(short)?;
            let value_len = body.try_get_u32_le().map_err(short)?;
            let ttl_seconds = body.try_get_u64_le().map_err(short)?;
            let key = take(&mut body, key_len)?;
            let value = take(&mut body, value_len)?;
            finished(&body, Request::Set { key, value, ttl_seconds })
        }
        OP_MAP => finished(&body, Request::Map),
        OP_SERVED => {
            let hits = body.try_get_u64_le().map_err(short)?;
            let count = body.try_get_u32_le().map_err(short)?;
            if count > MAX_SAMPLE {
                return Err(BodyError::TooMany(count));
            }
            let mut sample = Vec::new();
            for _ in 0..count {
                let key_len = body.try_get_u32_le().map_err(short)?;
                sample.push(take(&mut body, key_len)?);
            }
            finished(&body, Request::Served { hits, sample })
        }
        other => Err(BodyError::UnknownOp(other)),
    }
}

fn take(body: &mut Bytes, length: u32) -> Result<Bytes, BodyError> {
    match usize::try_from(length) {
        Ok(length) if length <= body.len() => Ok(body.split_to(length)),
        _ => Err(BodyError::Mismatch),
    }
}

fn finished(body: &Bytes, request: Request) -> Result<Request, BodyError> {
    if body.is_empty() { Ok(request) } else { Err(BodyError::Mismatch) }
}

/// Writes an answer. A value or text too long for a frame becomes an error that says so.
#[inline]
pub fn answer(out: &mut BytesMut, answer: Answer<'_>) {
    match answer {
        Answer::Ok => out.put_slice(&[0, 0, 0, 1, ANSWER_OK]),
        Answer::Miss => out.put_slice(&[0, 0, 0, 1, ANSWER_MISS]),
        Answer::Hit(value) => bytes(out, ANSWER_HIT, value),
        Answer::Err(text) => bytes(out, ANSWER_ERR, text.as_bytes()),
    }
}

/// As [`answer`] of a [`Answer::Hit`], for a value that need not be copied.
pub fn hit(out: &mut impl Sink, value: &Bytes) {
    if head(out.buffer(), ANSWER_HIT, value.len()) {
        out.put_handle(value);
    }
}

#[inline]
fn bytes(out: &mut BytesMut, kind: u8, payload: &[u8]) {
    out.reserve(payload.len() + 4 + HEAD_BYTES);
    if head(out, kind, payload.len()) {
        out.put_slice(payload);
    }
}

/// Writes what stands before a payload; where that is too long for a frame, an error in its place, and answers false.
#[inline]
fn head(out: &mut BytesMut, kind: u8, payload: usize) -> bool {
    match (u32::try_from(payload + HEAD_BYTES), u32::try_from(payload)) {
        (Ok(frame), Ok(length)) if payload + HEAD_BYTES <= MAX_FRAME_BYTES => {
            let ([a, b, c, d], [w, x, y, z]) = (frame.to_be_bytes(), length.to_le_bytes());
            out.put_slice(&[a, b, c, d, kind, w, x, y, z]);
            true
        }
        _ => {
            does_not_fit(out);
            false
        }
    }
}

#[cold]
fn does_not_fit(out: &mut BytesMut) {
    answer(out, Answer::Err("the value does not fit into a frame"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(body: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        out.put_u32(body.len() as u32);
        out.put_slice(body);
        out
    }

    fn refusal(body: &[u8]) -> Request {
        decode(&mut framed(body)).unwrap().unwrap()
    }

    #[test]
    fn bodies_that_say_nothing_known_are_refused_one_by_one() {
        assert_eq!(refusal(b""), Request::Refused(BodyError::Empty));
        assert_eq!(refusal(b"\x09abc"), Request::Refused(BodyError::UnknownOp(9)));
        assert_eq!(refusal(b"\x01\x01\x00\x00"), Request::Refused(BodyError::Short(4)));
        assert_eq!(refusal(b"\x01\xff\xff\xff\xff"), Request::Refused(BodyError::Mismatch));
        assert_eq!(refusal(b"\x01\x01\x00\x00\x00ab"), Request::Refused(BodyError::Mismatch));
        assert_eq!(refusal(b"\x02\x01\x00\x00\x00\x01\x00\x00\x00"), Request::Refused(BodyError::Short(9)));
    }

    #[test]
    fn hostile_lengths_are_refused_before_anything_is_read() {
        assert_eq!(decode(&mut BytesMut::from(&b"\xff\xff\xff\xff"[..])), Err(TooLarge(u32::MAX)));
        assert_eq!(decode(&mut BytesMut::from(&b"\x04\x00\x00\x01"[..])), Err(TooLarge(0x0400_0001)));
        assert_eq!(decode(&mut BytesMut::from(&b"\x04\x00\x00\x00"[..])), Ok(None));
    }

    #[test]
    fn a_value_too_long_for_a_frame_becomes_an_error() {
        let mut out = BytesMut::new();
        answer(&mut out, Answer::Hit(&vec![0; MAX_FRAME_BYTES - 4]));
        assert_eq!(out[4], ANSWER_ERR);
    }
}
