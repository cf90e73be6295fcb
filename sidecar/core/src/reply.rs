//! What a command answers, before any protocol has given it a shape on the wire.

use bytes::Bytes;

/// The answer to one command, neutral between protocols.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// A status such as `OK`.
    Simple(Bytes),
    /// An error: code and text without the leading `-`, such as `ERR syntax error`. Holds no CR or LF.
    Error(Bytes),
    /// An integer.
    Int(i64),
    /// Any bytes.
    Bulk(Bytes),
    /// Text for people: a bulk string in RESP2, a verbatim string of type `txt` in RESP3.
    Text(Bytes),
    /// No value: a null bulk string in RESP2, null in RESP3.
    Nil,
    /// No array: a null array in RESP2, null in RESP3.
    NilArray,
    /// Answers in order.
    Array(Vec<Reply>),
    /// Pairs: a flat array in RESP2, a map in RESP3.
    Map(Vec<(Reply, Reply)>),
    /// Members without order: an array in RESP2, a set in RESP3.
    Set(Vec<Reply>),
    /// A floating-point number: a bulk string in RESP2, a double in RESP3.
    Double(f64),
}

impl Reply {
    /// The status `OK`.
    pub const OK: Self = Self::status("OK");

    /// A status with a fixed text.
    pub const fn status(text: &'static str) -> Self {
        Self::Simple(Bytes::from_static(text.as_bytes()))
    }

    /// An error with a fixed text, code first: `ERR syntax error`.
    pub const fn error(text: &'static str) -> Self {
        Self::Error(Bytes::from_static(text.as_bytes()))
    }

    /// An error with a text made at run time, code first. CR and LF, which would end the line, are cut off its end and
    /// become spaces elsewhere, as Redis does.
    pub fn error_text(text: impl Into<Vec<u8>>) -> Self {
        let mut text = text.into();
        while let Some(b'\r' | b'\n') = text.last() {
            text.pop();
        }
        for byte in &mut text {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        Self::Error(text.into())
    }

    /// A bulk string with a fixed text.
    pub const fn text(text: &'static str) -> Self {
        Self::Bulk(Bytes::from_static(text.as_bytes()))
    }

    /// Bytes of payload held, all levels together: what an encoder will write, but for the framing.
    pub fn payload_len(&self) -> usize {
        match self {
            Self::Simple(bytes) | Self::Error(bytes) | Self::Bulk(bytes) | Self::Text(bytes) => bytes.len(),
            Self::Array(items) | Self::Set(items) => items.iter().map(Self::payload_len).sum(),
            Self::Map(pairs) => pairs.iter().map(|(k, v)| k.payload_len() + v.payload_len()).sum(),
            Self::Int(_) | Self::Nil | Self::NilArray | Self::Double(_) => 0,
        }
    }

    /// Whether this is an error.
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line() {
        assert_eq!(Reply::error_text("ERR a\r\nb \r\n"), Reply::error("ERR a  b "));
    }
}
