//! Which protocol a connection speaks, told by how it begins.

use memchr::memchr;

use crate::limits::MAX_LINE_BYTES;

/// The protocols that share the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wire {
    /// Synapse frames, version 1.
    Frames,
    /// RESP2 or RESP3, with commands as arrays or inline.
    Resp,
    /// HTTP/1.
    Http,
}

/// The protocol that `input`, the first bytes of a connection, belongs to; `None` while they do not tell.
///
/// A first byte of 0x00 to 0x04 is the length of a frame (64 MiB is 0x04000000). A letter is HTTP when its line ends
/// in ` HTTP/1.x`, else an inline command. Everything else is RESP, which names what it does not understand.
pub fn detect(input: &[u8]) -> Option<Wire> {
    match input.first()? {
        0x00..=0x04 => Some(Wire::Frames),
        first if first.is_ascii_alphabetic() => match memchr(b'\n', input) {
            Some(end) if is_http_line(&input[..end]) => Some(Wire::Http),
            Some(_) => Some(Wire::Resp),
            None if input.len() > MAX_LINE_BYTES => Some(Wire::Resp),
            None => None,
        },
        _ => Some(Wire::Resp),
    }
}

fn is_http_line(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    matches!(line, [.., b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor] if minor.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell() {
        assert_eq!(detect(b""), None);
        assert_eq!(detect(b"\x00"), Some(Wire::Frames));
        assert_eq!(detect(b"\x04\x00"), Some(Wire::Frames));
        assert_eq!(detect(b"\x05"), Some(Wire::Resp));
        assert_eq!(detect(b"*1\r"), Some(Wire::Resp));
        assert_eq!(detect(b"PIN"), None);
        assert_eq!(detect(b"PING\r\n"), Some(Wire::Resp));
        assert_eq!(detect(b"GET /cache/a HTTP/1.1\r\n"), Some(Wire::Http));
        assert_eq!(detect(b"GET /cache/a HTTP/1.0\n"), Some(Wire::Http));
        assert_eq!(detect(b"GET HTTP/1.1\r\n"), Some(Wire::Http));
        assert_eq!(detect(b"GET k\r\nGET / HTTP/1.1\r\n"), Some(Wire::Resp));
        assert_eq!(detect(b"PRI * HTTP/2.0\r\n"), Some(Wire::Resp));
        assert_eq!(detect(&[b'a'; MAX_LINE_BYTES + 1]), Some(Wire::Resp));
    }
}
