//! The RESP request decoder: arrays of bulk strings and inline commands, resumed where the last read ended.

use std::ops::Range;

use bytes::Bytes;
use memchr::memchr;

use super::inline;
use crate::batch::Batch;
use crate::limits::{KEPT_ARGS, MAX_ARGS, MAX_BULK_BYTES, MAX_LINE_BYTES, MAX_REQUEST_BYTES};
use crate::sink::Source;

/// Why a stream of requests cannot go on. The text of each, after `ERR `, is the last reply before the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// An inline command longer than [`MAX_LINE_BYTES`].
    #[error("Protocol error: too big inline request")]
    LongInline,
    /// Quotes that do not close.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// The line after `*` does not end.
    #[error("Protocol error: too big mbulk count string")]
    LongCount,
    /// The number after `*` is none, or above [`MAX_ARGS`].
    #[error("Protocol error: invalid multibulk length")]
    BadCount,
    /// The line after `$` does not end.
    #[error("Protocol error: too big bulk count string")]
    LongLength,
    /// Something else stands where `$` belongs.
    #[error("Protocol error: expected '$', got '{}'", char::from(*.0))]
    NoDollar(u8),
    /// The number after `$` is none, or above [`MAX_BULK_BYTES`].
    #[error("Protocol error: invalid bulk length")]
    BadLength,
    /// The arguments together are above [`MAX_REQUEST_BYTES`].
    #[error("Protocol error: request too large")]
    TooLarge,
}

/// Decodes one connection's requests. What an incomplete request has shown so far is kept, so that each byte is
/// looked at once however the reads are cut.
#[derive(Debug, Default)]
pub struct Decoder {
    partial: Partial,
    found: Vec<Piece>,
}

/// The request at the head of the input.
#[derive(Debug, Default)]
struct Partial {
    /// Arguments read so far, as ranges counted from the beginning of the request.
    args: Vec<Range<usize>>,
    /// Arguments still to come; 0 when the request's first line has not been read.
    missing: usize,
    /// The length of the argument whose bytes come next, when its line has been read.
    length: Option<usize>,
    /// Bytes understood so far.
    at: usize,
}

/// What was found in the input, before the input is cut.
#[derive(Debug)]
enum Piece {
    Arg(Range<usize>),
    Owned(Bytes),
    End,
}

impl Decoder {
    /// Moves every complete request from `input` to `batch` and leaves the rest.
    ///
    /// # Errors
    /// When the stream cannot be understood any further. The requests before the error are in the batch.
    pub fn decode(&mut self, input: &mut impl Source, batch: &mut Batch) -> Result<(), RequestError> {
        let mut consumed = 0;
        let outcome = loop {
            let rest = &input[consumed..];
            if rest.is_empty() {
                break Ok(());
            }
            let step = match self.partial.missing == 0 && rest[0] != b'*' {
                true => self.inline(rest),
                false => self.array(rest, consumed),
            };
            match step {
                Ok(Some(length)) => consumed += length,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let read = input.cut(consumed);
        for piece in self.found.drain(..) {
            match piece {
                Piece::Arg(range) => batch.push_arg(read.slice(range)),
                Piece::Owned(bytes) => batch.push_arg(bytes),
                Piece::End => batch.end_command(),
            }
        }
        self.found.shrink_to(KEPT_ARGS);
        if self.partial.args.is_empty() {
            self.partial.args.shrink_to(KEPT_ARGS);
        }
        outcome
    }

    /// Bytes that the argument under way still lacks when `held` bytes of its request have come; 0 where its length is not
    /// known.
    pub fn missing(&self, held: usize) -> usize {
        self.partial.length.map_or(0, |length| (self.partial.at + length + 2).saturating_sub(held))
    }

    /// Forgets what an incomplete request has shown so far: the input begins with a request again, or with more of the
    /// same one.
    pub fn reset(&mut self) {
        self.partial.args.clear();
        (self.partial.missing, self.partial.length, self.partial.at) = (0, None, 0);
    }

    fn inline(&mut self, rest: &[u8]) -> Result<Option<usize>, RequestError> {
        let window = &rest[..rest.len().min(MAX_LINE_BYTES + 1)];
        let Some(end) = memchr(b'\n', window) else {
            return if rest.len() > MAX_LINE_BYTES { Err(RequestError::LongInline) } else { Ok(None) };
        };
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        let words = inline::split(line).map_err(|_| RequestError::UnbalancedQuotes)?;
        if !words.is_empty() {
            self.found.extend(words.into_iter().map(Piece::Owned));
            self.found.push(Piece::End);
        }
        Ok(Some(end + 1))
    }

    /// `offset` is where `rest` begins in the input.
    fn array(&mut self, rest: &[u8], offset: usize) -> Result<Option<usize>, RequestError> {
        if !self.partial.advance(rest)? {
            return Ok(None);
        }
        let length = self.partial.at;
        if !self.partial.args.is_empty() {
            let args = self.partial.args.drain(..);
            self.found.extend(args.map(|range| Piece::Arg(range.start + offset..range.end + offset)));
            self.found.push(Piece::End);
        }
        self.partial.at = 0;
        Ok(Some(length))
    }
}

impl Partial {
    /// Reads on in the request that begins at `request[0]`; true when it is complete.
    fn advance(&mut self, request: &[u8]) -> Result<bool, RequestError> {
        if self.at == 0 {
            let Some(count) = self.line(request, RequestError::LongCount)? else { return Ok(false) };
            let count = number(&count[1..]).ok_or(RequestError::BadCount)?;
            if count > MAX_ARGS as i64 {
                return Err(RequestError::BadCount);
            }
            self.missing = usize::try_from(count).unwrap_or(0);
        }
        while self.missing > 0 {
            if !self.argument(request)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads one argument; false when it is not there in full.
    fn argument(&mut self, request: &[u8]) -> Result<bool, RequestError> {
        let length = match self.length {
            Some(length) => length,
            None => {
                let Some(line) = self.line(request, RequestError::LongLength)? else { return Ok(false) };
                match line {
                    [b'$', digits @ ..] => {
                        let length = number(digits).and_then(|n| usize::try_from(n).ok());
                        length.filter(|n| *n <= MAX_BULK_BYTES).ok_or(RequestError::BadLength)?
                    }
                    // An empty line: what stands in the place of `$` is the line end itself.
                    line => return Err(RequestError::NoDollar(line.first().copied().unwrap_or(b'\r'))),
                }
            }
        };
        let end = self.at + length;
        if end > MAX_REQUEST_BYTES {
            return Err(RequestError::TooLarge);
        }
        // The two bytes after the argument are skipped unread, as Redis does.
        if request.len() < end + 2 {
            self.length = Some(length);
            return Ok(false);
        }
        self.args.push(self.at..end);
        self.at = end + 2;
        self.length = None;
        self.missing -= 1;
        Ok(true)
    }

    /// The line at `self.at` without its end, which is CR and any one byte.
    fn line<'a>(
        &mut self,
        request: &'a [u8],
        too_long: RequestError,
    ) -> Result<Option<&'a [u8]>, RequestError> {
        let rest = &request[self.at.min(request.len())..];
        let window = &rest[..rest.len().min(MAX_LINE_BYTES + 1)];
        match memchr(b'\r', window) {
            None if rest.len() > MAX_LINE_BYTES => Err(too_long),
            Some(end) if rest.len() > end + 1 => {
                self.at += end + 2;
                Ok(Some(&rest[..end]))
            }
            _ => Ok(None),
        }
    }
}

/// A decimal number as Redis reads lengths: no blanks, no plus, no leading zeros, the whole of the text.
fn number(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !canonical {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    fn decode(bytes: &[u8]) -> (Vec<Vec<Bytes>>, usize, Result<(), RequestError>) {
        let (mut input, mut batch) = (BytesMut::from(bytes), Batch::default());
        let outcome = Decoder::default().decode(&mut input, &mut batch);
        (batch.iter().map(<[Bytes]>::to_vec).collect(), input.len(), outcome)
    }

    #[test]
    fn arrays_and_inline_commands_may_be_mixed() {
        let (commands, left, outcome) =
            decode(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\nPING\r\n\r\n*0\r\n*-1\r\n*1\r\n$4\r\nPI");
        assert_eq!(outcome, Ok(()));
        assert_eq!(commands, [vec!["GET", "a"], vec!["PING"]]);
        assert_eq!(left, "*1\r\n$4\r\nPI".len());
    }

    #[test]
    fn what_cannot_be_understood_is_named_and_what_came_before_is_kept() {
        for (bytes, error) in [
            (&b"*x\r\n"[..], RequestError::BadCount),
            (b"*1048577\r\n", RequestError::BadCount),
            (b"*99999999999999999999\r\n", RequestError::BadCount),
            (b"*1\r\nGET\r\n", RequestError::NoDollar(b'G')),
            (b"*1\r\n\r\n", RequestError::NoDollar(b'\r')),
            (b"*1\r\n$-1\r\n", RequestError::BadLength),
            (b"*1\r\n$67108865\r\n", RequestError::BadLength),
            (b"*1\r\n$01\r\n", RequestError::BadLength),
            (b"\"a\r\n", RequestError::UnbalancedQuotes),
        ] {
            let whole = [b"PING\r\n", bytes].concat();
            let (commands, _, outcome) = decode(&whole);
            assert_eq!(outcome, Err(error), "{}", bytes.escape_ascii());
            assert_eq!(commands, [vec!["PING"]]);
        }
    }

    #[test]
    fn what_an_argument_lacks_is_known_once_its_length_is() {
        let (whole, last) = (b"*3\r\n$6\r\nAPPEND\r\n$1\r\nk\r\n$1000\r\n".to_vec(), 1000 + 2);
        for end in 0..=whole.len() {
            let (mut decoder, mut input) = (Decoder::default(), BytesMut::from(&whole[..end]));
            decoder.decode(&mut input, &mut Batch::default()).unwrap();
            let missing = decoder.missing(input.len());
            let known = [(b"$6\r\n", 6), (b"$1\r\n", 1)].into_iter().find_map(|(line, length)| {
                let start = whole.windows(4).position(|window| window == line)? + 4;
                (start..start + length + 2).contains(&end).then(|| start + length + 2 - end)
            });
            assert_eq!(missing, if end == whole.len() { last } else { known.unwrap_or(0) }, "{end}");
        }
    }

    #[test]
    fn endless_lines_meet_their_limit() {
        let long = vec![b'a'; MAX_LINE_BYTES + 1];
        assert_eq!(decode(&long).2, Err(RequestError::LongInline));
        assert_eq!(decode(&[b"*", &long[..]].concat()).2, Err(RequestError::LongCount));
        assert_eq!(decode(&[b"*1\r\n", &long[..]].concat()).2, Err(RequestError::LongLength));
    }

    #[test]
    fn arguments_together_meet_their_limit() {
        let input = b"*3\r\n$3\r\nSET\r\n$1048577\r\n".to_vec();
        let bytes = [&input[..], &vec![0; 1_048_577], b"\r\n$67108864\r\n"].concat();
        assert_eq!(decode(&bytes).2, Err(RequestError::TooLarge));
    }
}
