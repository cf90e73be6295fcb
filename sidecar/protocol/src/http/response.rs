//! HTTP responses.

use bytes::{BufMut, BytesMut};

/// A response. Its length is always named, so a connection can go on after it.
#[derive(Debug, Clone, Copy)]
pub struct Response<'a> {
    /// The status code.
    pub status: u16,
    /// Headers beside `Content-Length` and `Connection`. Values hold no CR or LF.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
    /// Whether the body is left out, and only its length named: the answer to `HEAD`.
    pub head_only: bool,
    /// Whether the connection goes on.
    pub keep_alive: bool,
}

impl Response<'_> {
    /// Writes the response.
    pub fn write(&self, out: &mut BytesMut) {
        if self.write_head(out) {
            out.put_slice(self.body);
        }
    }

    /// Writes what stands before the body, and answers whether the body follows.
    #[must_use]
    pub fn write_head(&self, out: &mut BytesMut) -> bool {
        let mut digits = itoa::Buffer::new();
        out.put_slice(b"HTTP/1.1 ");
        out.put_slice(digits.format(self.status).as_bytes());
        out.put_u8(b' ');
        out.put_slice(reason(self.status).as_bytes());
        out.put_slice(b"\r\n");
        for (name, value) in self.headers {
            header(out, name, value);
        }
        // A 304 names no length: it would be the length of the answer it stands for.
        if self.status != 304 {
            header(out, "Content-Length", digits.format(self.body.len()));
        }
        if !self.keep_alive {
            header(out, "Connection", "close");
        }
        out.put_slice(b"\r\n");
        !self.head_only && self.status != 304
    }
}

/// Writes the interim answer to `Expect: 100-continue`.
pub fn write_continue(out: &mut BytesMut) {
    out.put_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
}

fn header(out: &mut BytesMut, name: &str, value: &str) {
    out.put_slice(name.as_bytes());
    out.put_slice(b": ");
    out.put_slice(value.as_bytes());
    out.put_slice(b"\r\n");
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        304 => "Not Modified",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(response: Response<'_>) -> String {
        let mut out = BytesMut::new();
        response.write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn a_response_names_its_length() {
        let base =
            Response { status: 200, headers: &[("A", "b")], body: b"hi", head_only: false, keep_alive: true };
        assert_eq!(written(base), "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\n\r\nhi");
        let head = Response { head_only: true, keep_alive: false, ..base };
        assert_eq!(
            written(head),
            "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
        );
        let unchanged = Response { status: 304, headers: &[], ..base };
        assert_eq!(written(unchanged), "HTTP/1.1 304 Not Modified\r\n\r\n");
    }
}
