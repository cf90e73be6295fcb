//! Inline commands: a line cut into arguments by Redis' quoting rules.

use bytes::Bytes;

/// A quote that does not close, or closes in the middle of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unbalanced quotes")]
pub struct UnbalancedQuotes;

/// Cuts a line, without its line end, into arguments.
///
/// Words stand between blanks. Double quotes know `\n \r \t \b \a \xHH`, single quotes only `\'`; a quote may begin
/// inside a word and must close before a blank or the end. A zero byte ends the line.
pub fn split(line: &[u8]) -> Result<Vec<Bytes>, UnbalancedQuotes> {
    let end = memchr::memchr(0, line).unwrap_or(line.len());
    let mut rest = &line[..end];
    let mut args = Vec::new();
    loop {
        while let [first, tail @ ..] = rest
            && is_space(*first)
        {
            rest = tail;
        }
        if rest.is_empty() {
            return Ok(args);
        }
        let (word, tail) = take_word(rest)?;
        args.push(Bytes::from(word));
        rest = tail;
    }
}

/// `isspace` of the C locale.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

fn take_word(mut rest: &[u8]) -> Result<(Vec<u8>, &[u8]), UnbalancedQuotes> {
    let mut word = Vec::new();
    loop {
        match rest {
            [] => return Ok((word, rest)),
            [b' ' | b'\n' | b'\r' | b'\t', tail @ ..] => return Ok((word, tail)),
            [b'"', tail @ ..] => {
                let tail = take_double(tail, &mut word)?;
                return closed(word, tail);
            }
            [b'\'', tail @ ..] => {
                let tail = take_single(tail, &mut word)?;
                return closed(word, tail);
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

/// Ends a quoted word: nothing may stick to its closing quote.
fn closed(word: Vec<u8>, rest: &[u8]) -> Result<(Vec<u8>, &[u8]), UnbalancedQuotes> {
    match rest {
        [next, ..] if !is_space(*next) => Err(UnbalancedQuotes),
        _ => Ok((word, rest)),
    }
}

fn take_double<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        let (byte, tail) = match rest {
            [] => return Err(UnbalancedQuotes),
            [b'"', tail @ ..] => return Ok(tail),
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex(*high) << 4 | hex(*low), tail)
            }
            [b'\\', escaped, tail @ ..] => (unescape(*escaped), tail),
            [byte, tail @ ..] => (*byte, tail),
        };
        word.push(byte);
        rest = tail;
    }
}

fn take_single<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        let (byte, tail) = match rest {
            [] => return Err(UnbalancedQuotes),
            [b'\'', tail @ ..] => return Ok(tail),
            [b'\\', b'\'', tail @ ..] => (b'\'', tail),
            [byte, tail @ ..] => (*byte, tail),
        };
        word.push(byte);
        rest = tail;
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20).wrapping_sub(b'a').wrapping_add(10),
    }
}

fn unescape(escaped: u8) -> u8 {
    match escaped {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[u8]) -> Vec<Vec<u8>> {
        split(line).unwrap().iter().map(|word| word.to_vec()).collect()
    }

    #[test]
    fn words_stand_between_blanks() {
        assert_eq!(words(b"  SET\t a  b "), [b"SET".to_vec(), b"a".into(), b"b".into()]);
        assert!(words(b"   ").is_empty());
        assert!(words(b"").is_empty());
    }

    #[test]
    fn quotes_hold_blanks_and_escapes() {
        assert_eq!(
            words(br#"SET "a b" "\x41\n\"" 'c\'d' "" "#)[1..],
            [b"a b".to_vec(), b"A\n\"".into(), b"c'd".into(), b"".into()]
        );
        assert_eq!(words(br#"a"b c""#), [b"ab c".to_vec()]);
        assert_eq!(words(br#""\xZZ""#), [b"xZZ".to_vec()]);
    }

    #[test]
    fn open_and_sticking_quotes_are_refused() {
        for line in [&b"\"a"[..], b"'a", b"\"a\"b", b"'a'b", b"\"a\\", b"\"a\\\"", b"a \"\0\""] {
            assert_eq!(split(line), Err(UnbalancedQuotes), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn a_zero_byte_ends_the_line() {
        assert_eq!(words(b"PING\0 rest"), [b"PING".to_vec()]);
    }
}
