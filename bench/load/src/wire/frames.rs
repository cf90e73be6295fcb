//! Synapse frames, version 1: the answers.

use super::{Answer, Cut, Malformed};

/// What a frame holds beside a value: its kind and the value's length.
const HEAD: usize = 5;

/// Cuts the first answer off.
pub(super) fn cut(input: &[u8]) -> Cut<'_> {
    let Some((prefix, rest)) = input.split_first_chunk::<4>() else { return Ok(None) };
    let size = u32::from_be_bytes(*prefix) as usize;
    if size == 0 || size > crate::sizes::LARGEST + HEAD {
        return Err(Malformed);
    }
    let Some(body) = rest.get(..size) else { return Ok(None) };
    let answer = match body {
        [0] => Answer::Stored,
        [2] => Answer::Miss,
        [kind @ (1 | 3), lengths @ ..] => {
            let (length, bytes) = lengths.split_first_chunk::<4>().ok_or(Malformed)?;
            match bytes {
                _ if bytes.len() != u32::from_le_bytes(*length) as usize => return Err(Malformed),
                _ if *kind == 1 => Answer::Value(bytes),
                _ => Answer::Refused(bytes),
            }
        }
        _ => return Err(Malformed),
    };
    Ok(Some((answer, 4 + size)))
}
