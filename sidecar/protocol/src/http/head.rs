//! The head of an HTTP request: the request line and the headers that matter here.

use crate::limits::{MAX_HTTP_BODY_BYTES, MAX_HTTP_HEAD_BYTES, MAX_HTTP_HEADERS};

/// What the request line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// Read, the body left out.
    Head,
    /// Store.
    Put,
    /// Remove.
    Delete,
    /// Anything else; a matter for the answer, not for the codec.
    Other,
}

/// A head that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// The target as written: path and query, still percent-encoded.
    pub target: String,
    /// `Content-Type`, as written.
    pub content_type: Option<String>,
    /// `Accept`, as written.
    pub accept: Option<String>,
    /// `If-None-Match`, as written.
    pub if_none_match: Option<String>,
    /// The caller's trace, if it has one.
    pub trace: Option<Trace>,
    /// Whether the connection goes on after the answer.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
    /// Length of the body, in bytes.
    pub content_length: usize,
}

/// The caller's trace as W3C Trace Context writes it, not yet understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// `traceparent`.
    pub parent: String,
    /// `tracestate`, several of them joined.
    pub state: String,
}

/// Why a request is not read any further. After it the connection closes: where the next request begins is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The head is not HTTP, or two readers could understand it differently.
    #[error("{0}")]
    Bad(&'static str),
    /// The head is longer than [`MAX_HTTP_HEAD_BYTES`] or has more than [`MAX_HTTP_HEADERS`] headers.
    #[error("request head exceeds {MAX_HTTP_HEAD_BYTES} bytes or {MAX_HTTP_HEADERS} headers")]
    HeadTooLarge,
    /// The body is longer than [`MAX_HTTP_BODY_BYTES`], or than what is wanted at this door.
    #[error(
        "request body is too large: at most {MAX_HTTP_BODY_BYTES} bytes, and none where nothing is stored"
    )]
    BodyTooLarge,
    /// A transfer coding; bodies need a `Content-Length` here.
    #[error("transfer codings are not supported, send Content-Length")]
    TransferCoding,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    #[error("only HTTP/1.0 and HTTP/1.1 are spoken here")]
    Version,
}

impl HttpError {
    /// The status that answers it.
    pub fn status(self) -> u16 {
        match self {
            Self::Bad(_) => 400,
            Self::HeadTooLarge => 431,
            Self::BodyTooLarge => 413,
            Self::TransferCoding => 501,
            Self::Version => 505,
        }
    }
}

/// Reads a head, which ends with its empty line. Lines end in CR LF, and in nothing else.
///
/// # Errors
/// When it is not HTTP, too large, or ambiguous about where its body ends.
pub fn parse(head: &[u8]) -> Result<Head, HttpError> {
    let text = std::str::from_utf8(head).map_err(|_| HttpError::Bad("request head is not UTF-8"))?;
    let text = text.strip_suffix("\r\n\r\n").unwrap_or(text);
    let mut lines = text.split("\r\n");
    let (method, target, minor) = request_line(lines.next().unwrap_or_default())?;
    let mut found = Headers::default();
    for (count, line) in lines.enumerate() {
        if count == MAX_HTTP_HEADERS {
            return Err(HttpError::HeadTooLarge);
        }
        found.take(line)?;
    }
    if minor == 1 && found.host.is_none() {
        return Err(HttpError::Bad("HTTP/1.1 needs one Host header"));
    }
    let content_length = found.body_length()?;
    Ok(Head {
        method,
        target: target.to_owned(),
        content_type: found.content_type.map(str::to_owned),
        accept: found.accept.map(str::to_owned),
        if_none_match: found.if_none_match.map(str::to_owned),
        trace: found.trace(),
        keep_alive: if minor == 1 { !found.close } else { found.keep_alive && !found.close },
        expect_continue: minor == 1 && found.expect_continue,
        content_length,
    })
}

fn request_line(line: &str) -> Result<(Method, &str, u8), HttpError> {
    const BAD: HttpError = HttpError::Bad("bad request line");
    let mut parts = line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(BAD);
    };
    if method.is_empty()
        || !method.bytes().all(is_token)
        || target.is_empty()
        || !target.bytes().all(is_visible)
    {
        return Err(BAD);
    }
    let method = match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        _ => Method::Other,
    };
    match version {
        "HTTP/1.1" => Ok((method, target, 1)),
        "HTTP/1.0" => Ok((method, target, 0)),
        _ => Err(HttpError::Version),
    }
}

#[derive(Default)]
struct Headers<'a> {
    host: Option<&'a str>,
    content_type: Option<&'a str>,
    accept: Option<&'a str>,
    if_none_match: Option<&'a str>,
    content_length: Option<&'a str>,
    transfer_encoding: Option<&'a str>,
    trace_parents: Vec<&'a str>,
    trace_states: Vec<&'a str>,
    close: bool,
    keep_alive: bool,
    expect_continue: bool,
}

impl<'a> Headers<'a> {
    fn take(&mut self, line: &'a str) -> Result<(), HttpError> {
        let (name, value) = line.split_once(':').ok_or(HttpError::Bad("header without colon"))?;
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(HttpError::Bad("bad header name"));
        }
        if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return Err(HttpError::Bad("control byte in a header"));
        }
        let value = value.trim_matches([' ', '\t']);
        let slot = match name.to_ascii_lowercase().as_str() {
            "host" => &mut self.host,
            "content-type" => &mut self.content_type,
            "accept" => &mut self.accept,
            "if-none-match" => &mut self.if_none_match,
            "content-length" => &mut self.content_length,
            "transfer-encoding" => &mut self.transfer_encoding,
            "expect" if value.eq_ignore_ascii_case("100-continue") => {
                self.expect_continue = true;
                return Ok(());
            }
            "traceparent" => {
                self.trace_parents.push(value);
                return Ok(());
            }
            "tracestate" => {
                self.trace_states.push(value);
                return Ok(());
            }
            "connection" => {
                for option in value.split(',').map(str::trim) {
                    self.close |= option.eq_ignore_ascii_case("close");
                    self.keep_alive |= option.eq_ignore_ascii_case("keep-alive");
                }
                return Ok(());
            }
            _ => return Ok(()),
        };
        match slot.replace(value) {
            Some(_) => Err(HttpError::Bad("a header that may stand once stands twice")),
            None => Ok(()),
        }
    }

    /// A trace that is named twice is nobody's.
    fn trace(&self) -> Option<Trace> {
        let [parent] = self.trace_parents[..] else { return None };
        Some(Trace { parent: parent.to_owned(), state: self.trace_states.join(",") })
    }

    fn body_length(&self) -> Result<usize, HttpError> {
        match (self.content_length, self.transfer_encoding) {
            (Some(_), Some(_)) => Err(HttpError::Bad("both Content-Length and Transfer-Encoding")),
            (None, Some(_)) => Err(HttpError::TransferCoding),
            (None, None) => Ok(0),
            (Some(digits), None) if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) => {
                Err(HttpError::Bad("Content-Length is not a number"))
            }
            (Some(digits), None) => match digits.parse::<usize>() {
                Ok(length) if length <= MAX_HTTP_BODY_BYTES => Ok(length),
                _ => Err(HttpError::BodyTooLarge),
            },
        }
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_visible(byte: u8) -> bool {
    byte.is_ascii_graphic()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(headers: &str) -> Result<Head, HttpError> {
        parse(format!("PUT /cache/a?ttl=1 HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes())
    }

    #[test]
    fn a_head_is_read() {
        let head =
            with("content-type:  text/plain \r\nContent-Length: 12\r\nExpect: 100-continue\r\n").unwrap();
        assert_eq!((head.method, head.target.as_str()), (Method::Put, "/cache/a?ttl=1"));
        assert_eq!(head.content_type.as_deref(), Some("text/plain"));
        assert_eq!((head.content_length, head.keep_alive, head.expect_continue), (12, true, true));
        assert!(!with("Connection: foo, Close\r\n").unwrap().keep_alive);
        assert!(!parse(b"GET / HTTP/1.0\r\n\r\n").unwrap().keep_alive);
        assert!(parse(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").unwrap().keep_alive);
    }

    #[test]
    fn a_trace_is_read_and_one_that_is_named_twice_is_nobodys() {
        let trace = with("Traceparent: 00-1\r\ntracestate: a=1\r\nTraceState: b=2\r\n").unwrap().trace;
        assert_eq!(trace, Some(Trace { parent: "00-1".to_owned(), state: "a=1,b=2".to_owned() }));
        assert_eq!(with("traceparent: 00-1\r\ntraceparent: 00-1\r\n").unwrap().trace, None);
        assert_eq!(with("tracestate: a=1\r\n").unwrap().trace, None);
    }

    #[test]
    fn ambiguous_lengths_are_refused() {
        for headers in [
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: -1\r\n",
            "Content-Length:\r\n",
            "Content-Length : 1\r\n",
            "Content-Length: 1\r\n folded\r\n",
            "Content-Length: 1\nTransfer-Encoding: chunked\r\n",
            "Host: y\r\n",
        ] {
            assert!(matches!(with(headers), Err(HttpError::Bad(_))), "{headers:?}: {:?}", with(headers));
        }
        assert_eq!(with("Transfer-Encoding: chunked\r\n"), Err(HttpError::TransferCoding));
        assert_eq!(with("Content-Length: 67108865\r\n"), Err(HttpError::BodyTooLarge));
        assert_eq!(with(&format!("Content-Length: {}\r\n", "9".repeat(40))), Err(HttpError::BodyTooLarge));
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for bytes in [
            &b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
            b"GET /\x01 HTTP/1.1\r\n\r\n",
            b"G\xc3 / HTTP/1.1\r\n\r\n",
        ] {
            assert!(matches!(parse(bytes), Err(HttpError::Bad(_))));
        }
        assert_eq!(parse(b"GET / HTTP/1.2\r\n\r\n"), Err(HttpError::Version));
        assert_eq!(with(&"a: b\r\n".repeat(MAX_HTTP_HEADERS)), Err(HttpError::HeadTooLarge));
    }
}
