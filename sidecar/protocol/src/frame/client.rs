//! The other side of the frames: what a client writes and reads.

use bytes::{BufMut, BytesMut};

use super::{ANSWER_ERR, ANSWER_HIT, ANSWER_MISS, ANSWER_OK, OP_GET, OP_MAP, OP_SERVED, OP_SET};
use crate::limits::MAX_FRAME_BYTES;

/// An answer as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered<'a> {
    /// It was done.
    Ok,
    /// The value.
    Hit(&'a [u8]),
    /// There is no value.
    Miss,
    /// It did not work, and why.
    Err(&'a [u8]),
}

/// Why what came is no answer; nothing after it can be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what came over the socket is no answer in Synapse frames")]
pub struct NoAnswer;

/// A request does not fit into a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("key and value have {0} bytes together, a frame holds less than {MAX_FRAME_BYTES}")]
pub struct TooLong(pub usize);

/// Asks for a value.
///
/// # Errors
/// When the key is too long; nothing is written.
pub fn get(out: &mut BytesMut, key: &[u8]) -> Result<(), TooLong> {
    let body = 5 + key.len();
    begin(out, body, OP_GET)?;
    bytes(out, key);
    Ok(())
}

/// Asks to store a value, for so many seconds; 0 is for ever.
///
/// # Errors
/// When key and value are too long; nothing is written.
pub fn set(out: &mut BytesMut, key: &[u8], value: &[u8], ttl_seconds: u64) -> Result<(), TooLong> {
    begin(out, 17 + key.len() + value.len(), OP_SET)?;
    out.put_u32_le(length(key));
    out.put_u32_le(length(value));
    out.put_u64_le(ttl_seconds);
    out.put_slice(key);
    out.put_slice(value);
    Ok(())
}

/// Asks for the memory.
pub fn map(out: &mut BytesMut) {
    out.put_slice(&[0, 0, 0, 1, OP_MAP]);
}

/// Tells how many keys were found in the memory, and some of them.
///
/// # Errors
/// When the sample is too long; nothing is written.
pub fn served(out: &mut BytesMut, hits: u64, sample: &[Vec<u8>]) -> Result<(), TooLong> {
    begin(out, 13 + sample.iter().map(|key| 4 + key.len()).sum::<usize>(), OP_SERVED)?;
    out.put_u64_le(hits);
    out.put_u32_le(u32::try_from(sample.len()).unwrap_or(u32::MAX));
    for key in sample {
        bytes(out, key);
    }
    Ok(())
}

/// The first answer in `input`, and the bytes that it takes; `None` while it is incomplete.
///
/// # Errors
/// When it is none.
pub fn answered(input: &[u8]) -> Result<Option<(Answered<'_>, usize)>, NoAnswer> {
    let Some((prefix, rest)) = input.split_first_chunk::<4>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*prefix)).map_err(|_| NoAnswer)?;
    if length > MAX_FRAME_BYTES {
        return Err(NoAnswer);
    }
    let Some(body) = rest.get(..length) else { return Ok(None) };
    let answered = match body {
        [ANSWER_OK] => Answered::Ok,
        [ANSWER_MISS] => Answered::Miss,
        [ANSWER_HIT, rest @ ..] => Answered::Hit(text(rest)?),
        [ANSWER_ERR, rest @ ..] => Answered::Err(text(rest)?),
        _ => return Err(NoAnswer),
    };
    Ok(Some((answered, 4 + length)))
}

fn begin(out: &mut BytesMut, body: usize, op: u8) -> Result<(), TooLong> {
    let length = u32::try_from(body).ok().filter(|_| body <= MAX_FRAME_BYTES).ok_or(TooLong(body))?;
    out.reserve(4 + body);
    out.put_u32(length);
    out.put_u8(op);
    Ok(())
}

fn bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32_le(length(bytes));
    out.put_slice(bytes);
}

/// Of something that was found to fit into a frame.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn text(rest: &[u8]) -> Result<&[u8], NoAnswer> {
    let (prefix, text) = rest.split_first_chunk::<4>().ok_or(NoAnswer)?;
    let whole = usize::try_from(u32::from_le_bytes(*prefix)).is_ok_and(|length| length == text.len());
    if whole { Ok(text) } else { Err(NoAnswer) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Answer, Request, answer, decode};

    #[test]
    fn what_a_client_asks_is_what_the_server_reads() {
        let mut out = BytesMut::new();
        get(&mut out, b"a").unwrap();
        set(&mut out, b"a", b"1", 60).unwrap();
        map(&mut out);
        served(&mut out, 70, &[b"a".to_vec(), b"".to_vec()]).unwrap();
        let mut next = || decode(&mut out).unwrap().unwrap();
        assert_eq!(next(), Request::Get { key: "a".into() });
        assert_eq!(next(), Request::Set { key: "a".into(), value: "1".into(), ttl_seconds: 60 });
        assert_eq!(next(), Request::Map);
        assert_eq!(next(), Request::Served { hits: 70, sample: vec!["a".into(), "".into()] });
        assert!(out.is_empty());
        assert_eq!(set(&mut out, b"a", &vec![0; MAX_FRAME_BYTES], 0), Err(TooLong(MAX_FRAME_BYTES + 18)));
        assert!(out.is_empty());
    }

    #[test]
    fn answers_are_read_at_every_cut_and_nothing_else_is_taken_for_one() {
        for (said, expected) in [
            (Answer::Ok, Answered::Ok),
            (Answer::Hit(b"Ada"), Answered::Hit(b"Ada")),
            (Answer::Hit(b""), Answered::Hit(b"")),
            (Answer::Miss, Answered::Miss),
            (Answer::Err("no"), Answered::Err(b"no")),
        ] {
            let mut out = BytesMut::new();
            answer(&mut out, said);
            for cut in 0..out.len() {
                assert_eq!(answered(&out[..cut]), Ok(None));
            }
            assert_eq!(answered(&out), Ok(Some((expected, out.len()))));
        }
        for wrong in
            [&b"\0\0\0\0"[..], b"\0\0\0\x02\0\0", b"\0\0\0\x05\x01\x01\0\0\0", b"\0\0\0\x01\x07", b"+OK\r\n"]
        {
            assert_eq!(answered(wrong), Err(NoAnswer), "{}", wrong.escape_ascii());
        }
    }
}
