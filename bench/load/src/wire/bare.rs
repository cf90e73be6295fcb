//! What the bare server answers: a little-endian length and that many bytes; no bytes at all say "stored".

use super::{Answer, Cut, Malformed};

/// Cuts the first answer off.
pub(super) fn cut(input: &[u8]) -> Cut<'_> {
    let Some((prefix, rest)) = input.split_first_chunk::<4>() else { return Ok(None) };
    let size = u32::from_le_bytes(*prefix) as usize;
    if size > crate::sizes::LARGEST {
        return Err(Malformed);
    }
    let Some(bytes) = rest.get(..size) else { return Ok(None) };
    let answer = if size == 0 { Answer::Stored } else { Answer::Value(bytes) };
    Ok(Some((answer, 4 + size)))
}
