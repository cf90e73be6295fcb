//! memcached's text protocol: the answers to `get` of one key and to `set`.

use super::{Answer, Cut, Malformed, block, length, line};

const END: &[u8] = b"END\r\n";

/// Cuts the first answer off.
pub(super) fn cut(input: &[u8]) -> Cut<'_> {
    let Some((line, taken)) = line(input)? else { return Ok(None) };
    match line {
        b"STORED" => Ok(Some((Answer::Stored, taken))),
        b"END" => Ok(Some((Answer::Miss, taken))),
        b"ERROR" => Ok(Some((Answer::Refused(line), taken))),
        _ => {
            let (word, rest) = word(line);
            match word {
                b"VALUE" => value(input, rest, taken),
                b"SERVER_ERROR" | b"CLIENT_ERROR" => Ok(Some((Answer::Refused(rest), taken))),
                _ => Err(Malformed),
            }
        }
    }
}

/// `VALUE` was read: the rest of its line is the key, flags and the length; `END` follows the value.
fn value<'a>(input: &'a [u8], line: &'a [u8], taken: usize) -> Cut<'a> {
    let (key, rest) = word(line);
    let (_, digits) = word(rest);
    let size = length(digits)?;
    let Some(value) = block(input, taken, size)? else { return Ok(None) };
    let after = taken + size + 2;
    let end = &input[after..input.len().min(after + END.len())];
    match end {
        _ if end == END => Ok(Some((Answer::Named(key, value), after + END.len()))),
        _ if END.starts_with(end) => Ok(None),
        _ => Err(Malformed),
    }
}

fn word(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b' ', line) {
        Some(end) => (&line[..end], &line[end + 1..]),
        None => (line, b""),
    }
}
