//! GET and SET as clients write them. Whatever is written in another way is left to the decoder, which knows them all.

use std::ops::Range;

use crate::limits::{MAX_BULK_BYTES, MAX_REQUEST_BYTES};
use crate::plain::{Look, Plain};

/// What stands before the digits of the key's length, the name in capitals.
const HEADS: [&[u8; HEAD_BYTES]; 2] = [b"*2\r\n$3\r\nGET\r\n$", b"*3\r\n$3\r\nSET\r\n$"];
const HEAD_BYTES: usize = 14;
/// Where the name stands in it.
const NAME: Range<usize> = 8..11;
const GET: u128 = number(HEADS[0]);
const SET: u128 = number(HEADS[1]);
/// Turns the three letters of a name into capitals, and leaves of 16 bytes those of the head.
const CAPITALS: u128 = number(&[0xff; HEAD_BYTES]) & !(0x20_2020 << (8 * NAME.start));
/// Digits of the largest length.
const MOST_DIGITS: usize = 8;

/// Looks at the front of `input`, which is where a request begins.
#[inline]
pub fn look(input: &[u8]) -> Look<'_> {
    let Some(head) = input.first_chunk::<16>() else { return beginning(input) };
    let is_set = match u128::from_le_bytes(*head) & CAPITALS {
        GET => false,
        SET => true,
        _ => return Look::Other,
    };
    let (key, end) = match argument(input, HEAD_BYTES) {
        Ok(found) => found,
        Err(look) => return look,
    };
    if !is_set {
        return Look::Whole(Plain::Get(key), end);
    }
    match input.get(end) {
        Some(b'$') => {}
        Some(_) => return Look::Other,
        None => return Look::Part(1),
    }
    match argument(input, end + 1) {
        Ok((value, end)) => Look::Whole(Plain::Set(key, value), end),
        Err(look) => look,
    }
}

/// The argument whose length begins at `at`, and where what follows it begins.
#[inline(always)]
fn argument(input: &[u8], at: usize) -> Result<(&[u8], usize), Look<'_>> {
    // Most lengths have one or two digits.
    let (length, start) = match *input[at..].first_chunk::<4>().unwrap_or(&[0; 4]) {
        [ten @ b'1'..=b'9', one @ b'0'..=b'9', b'\r', b'\n'] => {
            (usize::from(ten - b'0') * 10 + usize::from(one - b'0'), at + 4)
        }
        [one @ b'0'..=b'9', b'\r', b'\n', _] => (usize::from(one - b'0'), at + 3),
        _ => length(input, at)?,
    };
    // The two bytes after an argument are skipped unread, as by the decoder.
    let end = start + length;
    match input.get(start..end + 2) {
        Some(argument) => Ok((&argument[..length], end + 2)),
        None => Err(Look::Part(end + 2 - input.len())),
    }
}

/// The length of the argument that is written at `at`, and where the argument begins.
fn length(input: &[u8], at: usize) -> Result<(usize, usize), Look<'_>> {
    let digits = &input[at..];
    let (mut length, mut count) = (0, 0);
    while let Some(digit) = digits.get(count).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10)
    {
        if count == MOST_DIGITS || (count == 1 && length == 0) {
            return Err(Look::Other);
        }
        length = length * 10 + usize::from(digit);
        count += 1;
    }
    match digits.get(count..count + 2) {
        Some(b"\r\n") if count > 0 => {}
        Some(_) => return Err(Look::Other),
        None => return Err(cut(&digits[count..], count > 0)),
    }
    let start = at + count + 2;
    if length > MAX_BULK_BYTES || start + length > MAX_REQUEST_BYTES {
        return Err(Look::Other);
    }
    Ok((length, start))
}

/// What a line that the input cuts off may become.
fn cut(rest: &[u8], has_digits: bool) -> Look<'_> {
    if rest.is_empty() || (rest == b"\r" && has_digits) { Look::Part(1) } else { Look::Other }
}

/// What so few bytes may become.
fn beginning(input: &[u8]) -> Look<'_> {
    let head = &input[..input.len().min(HEAD_BYTES)];
    let begins = |expected: &[u8; HEAD_BYTES]| {
        head.iter().zip(expected).enumerate().all(|(at, (byte, expected))| {
            if NAME.contains(&at) { byte.eq_ignore_ascii_case(expected) } else { byte == expected }
        })
    };
    match HEADS.into_iter().any(begins) {
        false => Look::Other,
        true if head.len() < HEAD_BYTES => Look::Part(HEAD_BYTES - head.len()),
        // Of a whole request, nothing is as short.
        true => argument(input, HEAD_BYTES).map_or_else(|look| look, |_| Look::Other),
    }
}

/// The bytes of a head in a number, the first one lowest.
const fn number(head: &[u8; HEAD_BYTES]) -> u128 {
    let (mut number, mut at) = (0, 0);
    while at < HEAD_BYTES {
        number |= (head[at] as u128) << (8 * at);
        at += 1;
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_reads_and_writes_are_seen_where_they_lie() {
        let get = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\nrest";
        assert_eq!(look(get), Look::Whole(Plain::Get(b"a"), get.len() - 4));
        assert_eq!(look(b"*2\r\n$3\r\ngEt\r\n$0\r\n\r\n"), Look::Whole(Plain::Get(b""), 19));
        let set = b"*3\r\n$3\r\nset\r\n$2\r\nab\r\n$10\r\n0123456789\r\n";
        assert_eq!(look(set), Look::Whole(Plain::Set(b"ab", b"0123456789"), set.len()));
        for whole in [&get[..get.len() - 4], set] {
            for end in 0..whole.len() {
                let Look::Part(missing) = look(&whole[..end]) else {
                    panic!("{:?}", whole[..end].escape_ascii())
                };
                assert!((1..=whole.len() - end).contains(&missing), "{end}: {missing}");
            }
        }
    }

    #[test]
    fn everything_else_is_the_decoders() {
        for other in [
            &b"PING\r\n"[..],
            b"GET a\r\n",
            b"*2\r\n$3\r\nDEL\r\n$1\r\na\r\n",
            b"*3\r\n$3\r\nGET\r\n$1\r\na\r\n$1\r\nb\r\n",
            b"*2\r\n$3\r\nSET\r\n$1\r\na\r\n",
            b"*5\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n$2\r\nEX\r\n$1\r\n1\r\n",
            b"*2\r\n$3\r\nGET\r\n$01\r\na\r\n",
            b"*2\r\n$3\r\nGET\r\n$-1\r\n\r\n",
            b"*2\r\n$3\r\nGET\r\n$\r\n\r\n",
            b"*2\r\n$3\r\nGET\r\n$1x",
            b"*2\r\n$3\r\nGET\r\n$x",
            b"*2\r\n$3\r\nGET\r\n$67108865\r\n",
            b"*2\r\n$3\r\nGET\r\n$100000000\r\n",
            b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n:1\r\n",
            b"*2\r\n$4",
            b"+",
        ] {
            assert_eq!(look(other), Look::Other, "{}", other.escape_ascii());
        }
        // Together above the limit of a request.
        let key = vec![b'k'; 2 << 20];
        let head = [b"*3\r\n$3\r\nSET\r\n$2097152\r\n", &key[..], b"\r\n$67108864\r\n"].concat();
        assert_eq!(look(&head), Look::Other);
    }
}
