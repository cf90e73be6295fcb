//! The two ends of the codecs: what requests are taken off, and where answers go.

use std::ops::Deref;

use bytes::{BufMut, Bytes, BytesMut};

/// What was read and is not yet taken.
pub trait Source: Deref<Target = [u8]> {
    /// Takes the first `count` bytes, of those that are there.
    fn cut(&mut self, count: usize) -> Bytes;
}

impl Source for BytesMut {
    fn cut(&mut self, count: usize) -> Bytes {
        self.split_to(count).freeze()
    }
}

/// Where answers are written.
pub trait Sink {
    /// Takes bytes that are encoded one after the other.
    fn buffer(&mut self) -> &mut BytesMut;

    /// Takes bytes that somebody else holds as well: large ones need no copy.
    fn put_handle(&mut self, bytes: &Bytes) {
        self.buffer().put_slice(bytes);
    }
}

impl Sink for BytesMut {
    fn buffer(&mut self) -> &mut BytesMut {
        self
    }
}
