//! What is to be written to a client: answers one after the other, and large values between them that were not copied.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use synapse_protocol::limits::LARGE_BYTES;
use synapse_protocol::sink::Sink;

use crate::rooms::Rooms;
use crate::spare;

/// Bytes to be written, in order.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// All but the large values.
    pub(crate) small: BytesMut,
    /// Each large value, and how many of the small bytes stand before it.
    large: Vec<(usize, Bytes)>,
    large_bytes: usize,
    rooms: Arc<Rooms>,
}

/// What of an outbox is not yet written.
pub(crate) struct Rest<'a> {
    pieces: VecDeque<&'a [u8]>,
    bytes: usize,
}

// === impl Outbox ===

impl Outbox {
    /// Nothing yet.
    pub(crate) fn new(rooms: Arc<Rooms>) -> Self {
        Self { small: BytesMut::new(), large: Vec::new(), large_bytes: 0, rooms }
    }

    /// A handle on a copy of a large value, for [`Sink::put_handle`].
    pub(crate) fn copy(&self, value: &[u8]) -> Bytes {
        self.rooms.copy(value)
    }

    /// Bytes held.
    pub(crate) fn len(&self) -> usize {
        self.small.len() + self.large_bytes
    }

    /// Lets go of everything after the first `length` bytes, which was a boundary between answers.
    pub(crate) fn truncate(&mut self, length: usize) {
        while let Some((before, value)) = self.large.last()
            && self.large_bytes - value.len() + before >= length
        {
            self.large_bytes -= value.len();
            self.large.pop();
        }
        self.small.truncate(length - self.large_bytes);
    }

    /// All of it, where it lies in one piece.
    pub(crate) fn whole(&self) -> Option<&[u8]> {
        self.large.is_empty().then_some(&self.small)
    }

    /// All of it, as it is to be written.
    pub(crate) fn pieces(&self) -> Rest<'_> {
        let (mut pieces, mut at) = (VecDeque::with_capacity(2 * self.large.len() + 1), 0);
        for (before, value) in &self.large {
            pieces.extend([&self.small[at..*before], value]);
            at = *before;
        }
        pieces.push_back(&self.small[at..]);
        pieces.retain(|piece| !piece.is_empty());
        Rest { pieces, bytes: self.len() }
    }

    /// So many bytes of what lies in one piece are written.
    pub(crate) fn sent(&mut self, count: usize) {
        if count == self.small.len() {
            self.small.clear();
        } else {
            self.small.advance(count);
        }
    }

    /// Has room for small answers, before there are any.
    pub(crate) fn open(&mut self) {
        if self.small.capacity() == 0 {
            self.small = spare::take_output();
        }
    }

    /// Nothing is written for a while. Where nothing is to be, the room for it goes, too: who waits needs no room to wait with.
    pub(crate) fn rest(&mut self) {
        if self.len() == 0 {
            spare::give_output(std::mem::take(&mut self.small));
        }
    }

    /// Lets go of everything, and of the room for it.
    pub(crate) fn clear(&mut self) {
        (self.large, self.large_bytes) = (Vec::new(), 0);
        self.small.clear();
        self.rest();
    }
}

impl Sink for Outbox {
    fn buffer(&mut self) -> &mut BytesMut {
        &mut self.small
    }

    fn put_handle(&mut self, bytes: &Bytes) {
        if bytes.len() < LARGE_BYTES {
            self.small.extend_from_slice(bytes);
        } else {
            self.large.push((self.small.len(), bytes.clone()));
            self.large_bytes += bytes.len();
        }
    }
}

// === impl Rest ===

impl Buf for Rest<'_> {
    fn remaining(&self) -> usize {
        self.bytes
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().copied().unwrap_or_default()
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        into.iter_mut().zip(&self.pieces).map(|(slot, piece)| *slot = IoSlice::new(piece)).count()
    }

    fn advance(&mut self, mut count: usize) {
        self.bytes -= count;
        while let Some(piece) = self.pieces.front_mut() {
            if count < piece.len() {
                *piece = &piece[count..];
                return;
            }
            count -= piece.len();
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;

    fn outbox() -> (Outbox, Vec<u8>) {
        let (mut outbox, mut all) = (Outbox::new(Rooms::beside(1 << 30)), Vec::new());
        for (turn, size) in
            [3, LARGE_BYTES, LARGE_BYTES + 7, 0, LARGE_BYTES - 1, LARGE_BYTES].into_iter().enumerate()
        {
            let value = Bytes::from(vec![turn as u8; size]);
            outbox.put_handle(&value);
            all.extend_from_slice(&value);
            if turn != 1 {
                outbox.small.put_slice(b"\r\n");
                all.extend_from_slice(b"\r\n");
            }
            assert_eq!(outbox.len(), all.len());
        }
        (outbox, all)
    }

    #[test]
    fn everything_is_written_in_order_however_it_is_cut() {
        let (outbox, all) = outbox();
        for step in [1, 1000, LARGE_BYTES, usize::MAX] {
            let (mut rest, mut written) = (outbox.pieces(), Vec::new());
            while rest.has_remaining() {
                let mut slices = [IoSlice::new(&[]); 3];
                let count = rest.chunks_vectored(&mut slices);
                let ready: Vec<u8> =
                    slices[..count].iter().flat_map(|slice| slice.iter().copied().take(step)).collect();
                let ready = &ready[..ready.len().min(step)];
                written.extend_from_slice(ready);
                let count = ready.len();
                rest.advance(count);
            }
            assert!(written == all, "in steps of {step}");
        }
    }

    #[test]
    fn it_is_cut_at_any_boundary_between_answers() {
        let (outbox, all) = outbox();
        let mut boundaries: Vec<_> =
            (0..all.len()).filter(|at| all[*at..].starts_with(b"\r\n")).map(|at| at + 2).collect();
        boundaries.push(0);
        assert_eq!(boundaries.len(), 6);
        for at in boundaries {
            let mut outbox = Outbox {
                small: outbox.small.clone(),
                large: outbox.large.clone(),
                large_bytes: outbox.large_bytes,
                rooms: Arc::clone(&outbox.rooms),
            };
            outbox.truncate(at);
            assert_eq!(outbox.len(), at);
            let mut rest = outbox.pieces();
            assert!(rest.copy_to_bytes(at) == all[..at]);
        }
    }
}
