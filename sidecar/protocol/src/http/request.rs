//! The HTTP request decoder: a head, then as many bytes of body as it names.

use bytes::Bytes;
use memchr::memmem;

use super::head::{Head, HttpError, parse};
use crate::limits::{MAX_HTTP_BODY_BYTES, MAX_HTTP_HEAD_BYTES};
use crate::sink::Source;

const HEAD_END: &[u8] = b"\r\n\r\n";

/// A complete request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its head.
    pub head: Head,
    /// Its body, empty when the head names none.
    pub body: Bytes,
}

/// What [`Decoder::decode`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The request is not there in full.
    Incomplete,
    /// The client wants to hear `100 Continue` before it sends the body. Said once for a request.
    Continue,
    /// A request.
    Request(Request),
}

/// Decodes one connection's requests.
#[derive(Debug)]
pub struct Decoder {
    head: Option<Head>,
    /// The largest body that is waited for.
    max_body_bytes: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { head: None, max_body_bytes: MAX_HTTP_BODY_BYTES }
    }
}

impl Decoder {
    /// A decoder that waits for no body.
    pub fn without_bodies() -> Self {
        Self { head: None, max_body_bytes: 0 }
    }

    /// Takes the first request off `input`. Call it again until it says [`Step::Incomplete`].
    ///
    /// # Errors
    /// When the request cannot be read; the connection is of no use after it.
    pub fn decode(&mut self, input: &mut impl Source) -> Result<Step, HttpError> {
        let head = match self.head.take() {
            Some(head) => head,
            None => {
                let Some(head) = take_head(input)? else { return Ok(Step::Incomplete) };
                if head.content_length > self.max_body_bytes {
                    return Err(HttpError::BodyTooLarge);
                }
                if head.expect_continue && input.len() < head.content_length {
                    self.head = Some(head);
                    return Ok(Step::Continue);
                }
                head
            }
        };
        if input.len() < head.content_length {
            self.head = Some(head);
            return Ok(Step::Incomplete);
        }
        let body = input.cut(head.content_length);
        Ok(Step::Request(Request { head, body }))
    }

    /// Bytes that the body under way still lacks when `held` bytes of it have come; 0 where no head has.
    pub fn missing(&self, held: usize) -> usize {
        self.head.as_ref().map_or(0, |head| head.content_length.saturating_sub(held))
    }
}

fn take_head(input: &mut impl Source) -> Result<Option<Head>, HttpError> {
    let window = &input[..input.len().min(MAX_HTTP_HEAD_BYTES)];
    match memmem::find(window, HEAD_END) {
        Some(end) => parse(&input.cut(end + HEAD_END.len())).map(Some),
        None if input.len() >= MAX_HTTP_HEAD_BYTES => Err(HttpError::HeadTooLarge),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::http::head::Method;

    #[test]
    fn requests_may_follow_each_other() {
        let text =
            "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhiGET /b HTTP/1.1\r\nHost: x\r\n\r\nGE";
        let (mut decoder, mut input) = (Decoder::default(), BytesMut::from(text));
        let Ok(Step::Request(put)) = decoder.decode(&mut input) else { panic!("no request") };
        assert_eq!((put.head.method, &put.body[..]), (Method::Put, &b"hi"[..]));
        let Ok(Step::Request(get)) = decoder.decode(&mut input) else { panic!("no request") };
        assert_eq!((get.head.method, get.head.target.as_str(), get.body.len()), (Method::Get, "/b", 0));
        assert_eq!(decoder.decode(&mut input), Ok(Step::Incomplete));
        assert_eq!(&input[..], b"GE");
    }

    #[test]
    fn continue_is_said_once_and_only_when_the_body_is_awaited() {
        let head = "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
        let (mut decoder, mut input) = (Decoder::default(), BytesMut::from(head));
        assert_eq!(decoder.decode(&mut input), Ok(Step::Continue));
        assert_eq!(decoder.decode(&mut input), Ok(Step::Incomplete));
        input.extend_from_slice(b"hi");
        assert!(matches!(decoder.decode(&mut input), Ok(Step::Request(_))));
        input.extend_from_slice(format!("{head}hi").as_bytes());
        assert!(matches!(decoder.decode(&mut input), Ok(Step::Request(_))));
    }

    #[test]
    fn where_no_body_is_wanted_none_is_waited_for() {
        let mut input = BytesMut::from("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n");
        assert_eq!(Decoder::without_bodies().decode(&mut input), Err(HttpError::BodyTooLarge));
        input.extend_from_slice(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(matches!(Decoder::without_bodies().decode(&mut input), Ok(Step::Request(_))));
    }

    #[test]
    fn an_endless_head_meets_its_limit() {
        let mut input = BytesMut::from(&[b'a'; MAX_HTTP_HEAD_BYTES][..]);
        assert_eq!(Decoder::default().decode(&mut input), Err(HttpError::HeadTooLarge));
    }
}
