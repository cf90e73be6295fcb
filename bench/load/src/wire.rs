//! The languages of caches, from the client's side: what comes back, cut out of what was read.

mod bare;
mod frames;
mod memcached;
mod resp;

use clap::ValueEnum;

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wire {
    /// What Redis, Valkey and Synapse speak
    Resp,
    /// Synapse frames, version 1
    Frames,
    /// memcached's text protocol
    Memcached,
    /// What `synapse-load bare` speaks: a server that keeps nothing
    Bare,
}

/// One answer, borrowed from the bytes that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer<'a> {
    /// To a SET: it was stored.
    Stored,
    /// To a GET: the value.
    Value(&'a [u8]),
    /// The same, with the key that it belongs to.
    Named(&'a [u8], &'a [u8]),
    /// To a GET: there is no value.
    Miss,
    /// The server says what did not work.
    Refused(&'a [u8]),
}

/// The bytes are no answer of this language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// An answer and how many bytes it took; `None` while it is incomplete.
pub(crate) type Cut<'a> = Result<Option<(Answer<'a>, usize)>, Malformed>;

// === impl Wire ===

impl Wire {
    /// Cuts the first answer off `input`.
    ///
    /// # Errors
    /// When it does not begin with an answer.
    pub(crate) fn cut(self, input: &[u8]) -> Cut<'_> {
        match self {
            Self::Resp => resp::cut(input),
            Self::Frames => frames::cut(input),
            Self::Memcached => memcached::cut(input),
            Self::Bare => bare::cut(input),
        }
    }
}

/// A line up to its CR LF, and how many bytes both took; `None` while it is incomplete.
fn line(input: &[u8]) -> Result<Option<(&[u8], usize)>, Malformed> {
    const LONGEST: usize = 4096;
    match memchr::memchr(b'\n', &input[..input.len().min(LONGEST)]) {
        Some(end) => match input[..end].split_last() {
            Some((b'\r', line)) => Ok(Some((line, end + 1))),
            _ => Err(Malformed),
        },
        None if input.len() >= LONGEST => Err(Malformed),
        None => Ok(None),
    }
}

/// A length in decimal digits, at most that of the largest value.
fn length(digits: &[u8]) -> Result<usize, Malformed> {
    let mut length = 0;
    for digit in digits {
        if !digit.is_ascii_digit() || length > crate::sizes::LARGEST {
            return Err(Malformed);
        }
        length = length * 10 + usize::from(digit - b'0');
    }
    if digits.is_empty() || length > crate::sizes::LARGEST { Err(Malformed) } else { Ok(length) }
}

/// `size` bytes from `start` on and the CR LF after them; `None` while they are incomplete.
fn block(input: &[u8], start: usize, size: usize) -> Result<Option<&[u8]>, Malformed> {
    match input.get(start..start + size + 2) {
        Some(bytes) if bytes.ends_with(b"\r\n") => Ok(Some(&bytes[..size])),
        Some(_) => Err(Malformed),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer as a server would write it.
    fn spell(wire: Wire, answer: Answer<'_>) -> Vec<u8> {
        match (wire, answer) {
            (Wire::Resp, Answer::Stored) => b"+OK\r\n".to_vec(),
            (Wire::Resp, Answer::Value(value)) => {
                [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
            }
            (Wire::Resp, Answer::Refused(text)) => [b"-", text, b"\r\n"].concat(),
            (Wire::Resp, _) => b"$-1\r\n".to_vec(),
            (Wire::Frames, Answer::Stored) => vec![0, 0, 0, 1, 0],
            (Wire::Frames, Answer::Value(bytes) | Answer::Refused(bytes)) => {
                let kind = if matches!(answer, Answer::Value(_)) { 1 } else { 3 };
                let length = bytes.len() as u32;
                [&(length + 5).to_be_bytes()[..], &[kind], &length.to_le_bytes(), bytes].concat()
            }
            (Wire::Frames, _) => vec![0, 0, 0, 1, 2],
            (Wire::Memcached, Answer::Stored) => b"STORED\r\n".to_vec(),
            (Wire::Memcached, Answer::Named(key, value)) => {
                let size = format!(" 0 {}\r\n", value.len());
                [b"VALUE ", key, size.as_bytes(), value, b"\r\nEND\r\n"].concat()
            }
            (Wire::Memcached, Answer::Refused(text)) => [b"SERVER_ERROR ", text, b"\r\n"].concat(),
            (Wire::Memcached, _) => b"END\r\n".to_vec(),
            (Wire::Bare, Answer::Value(value)) => [&(value.len() as u32).to_le_bytes()[..], value].concat(),
            (Wire::Bare, _) => vec![0; 4],
        }
    }

    fn stream() -> impl Strategy<Value = (Wire, Vec<(u8, Vec<u8>)>)> {
        let wire = prop::sample::select(Wire::value_variants());
        let answer = (0..4_u8, prop::collection::vec(any::<u8>(), 1..200));
        (wire, prop::collection::vec(answer, 1..20))
    }

    fn answer<'a>(wire: Wire, kind: u8, bytes: &'a [u8], text: &'a [u8]) -> Answer<'a> {
        match (kind, wire) {
            (0, _) => Answer::Stored,
            (1, Wire::Memcached) => Answer::Named(b"key:0042", bytes),
            (1, _) | (2 | 3, Wire::Bare) => Answer::Value(bytes),
            (2, _) => Answer::Miss,
            _ => Answer::Refused(text),
        }
    }

    proptest! {
        #[test]
        fn answers_are_cut_one_by_one_and_never_before_they_are_whole((wire, answers) in stream()) {
            let answers: Vec<_> = answers.iter().map(|(kind, bytes)| answer(wire, *kind, bytes, b"ERR no")).collect();
            let spelled: Vec<_> = answers.iter().map(|answer| spell(wire, *answer)).collect();
            let all = spelled.concat();
            let mut rest = &all[..];
            for (answer, spelled) in answers.iter().zip(&spelled) {
                for cut in 0..spelled.len() {
                    prop_assert_eq!(wire.cut(&rest[..cut]), Ok(None), "{} of {}", cut, spelled.len());
                }
                prop_assert_eq!(wire.cut(rest), Ok(Some((*answer, spelled.len()))));
                rest = &rest[spelled.len()..];
            }
        }

        #[test]
        fn no_bytes_make_it_fall(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            for wire in Wire::value_variants() {
                if let Ok(Some((_, taken))) = wire.cut(&bytes) {
                    prop_assert!(taken <= bytes.len() && taken > 0);
                }
            }
        }
    }

    #[test]
    fn what_is_no_answer_is_malformed() {
        for (wire, bytes) in [
            (Wire::Resp, &b"+PONG\r\n"[..]),
            (Wire::Resp, b":1\r\n"),
            (Wire::Resp, b"$x\r\n"),
            (Wire::Resp, b"$99999999999999999999\r\n"),
            (Wire::Resp, b"$1\r\nabc"),
            (Wire::Resp, b"+OK\n"),
            (Wire::Frames, b"\xff\xff\xff\xff"),
            (Wire::Frames, b"\0\0\0\0"),
            (Wire::Frames, b"\0\0\0\x01\x09"),
            (Wire::Frames, b"\0\0\0\x02\0\0"),
            (Wire::Frames, b"\0\0\0\x06\x01\x05\0\0\0a"),
            (Wire::Memcached, b"VALUE k\r\n"),
            (Wire::Memcached, b"VALUE k 0 1\r\nabc"),
            (Wire::Memcached, b"VALUE k 0 1\r\na\r\nVALUE"),
            (Wire::Memcached, b"NOT_STORED\r\n"),
            (Wire::Bare, b"\xff\xff\xff\xff"),
        ] {
            assert_eq!(wire.cut(bytes), Err(Malformed), "{wire:?} {}", bytes.escape_ascii());
        }
    }
}
