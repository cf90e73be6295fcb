//! RESP2 and RESP3, as far as GET and SET are answered.

use super::{Answer, Cut, Malformed, block, length, line};

/// Cuts the first answer off.
pub(super) fn cut(input: &[u8]) -> Cut<'_> {
    let Some((line, taken)) = line(input)? else { return Ok(None) };
    let (kind, rest) = line.split_first().ok_or(Malformed)?;
    match (kind, rest) {
        (b'+', b"OK") => Ok(Some((Answer::Stored, taken))),
        (b'$', b"-1") | (b'_', b"") => Ok(Some((Answer::Miss, taken))),
        (b'$', digits) => {
            let size = length(digits)?;
            Ok(block(input, taken, size)?.map(|value| (Answer::Value(value), taken + size + 2)))
        }
        (b'-', text) => Ok(Some((Answer::Refused(text), taken))),
        _ => Err(Malformed),
    }
}
