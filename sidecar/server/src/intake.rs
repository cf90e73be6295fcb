//! What was read of a connection and is not yet taken: gathered in one buffer, or a large request in a room of its own.

use std::io;
use std::ops::Deref;
use std::sync::Arc;

use bytes::buf::Limit;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use synapse_protocol::limits::LARGE_BYTES;
use synapse_protocol::sink::Source;

use crate::budget::Share;
use crate::rooms::Rooms;
use crate::spare;

/// As much room is made at once for a request that says how large it is, or as much again as has arrived of it: what
/// nothing has arrived in costs no memory.
const MOST_ROOM_BYTES: usize = 4 << 20;

/// Buffers above this size are given back when they are empty: one large request does not cost memory for ever.
const KEPT_BYTES: usize = 64 << 10;

/// What may follow the last large argument of a request: options.
const TAIL_BYTES: usize = 256;

/// What is left of a batch and has no more bytes than this is moved to a buffer of its size while the rest is waited for.
const MOVED_BYTES: usize = 1 << 10;

/// The input of a session.
#[derive(Debug)]
pub(crate) struct Intake {
    buffer: BytesMut,
    kind: Kind,
    /// The size of the room that was taken from here last.
    held: usize,
    rooms: Arc<Rooms>,
    /// What is here beyond what every session may keep.
    share: Share,
}

/// Of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Requests lie in it one after the other.
    Gathered,
    /// A large request has it to itself; what has not been written costs nothing.
    Fresh,
    /// The same, and all of it is resident.
    Used,
}

impl Intake {
    /// Nothing yet.
    pub(crate) fn new(rooms: Arc<Rooms>, share: Share) -> Self {
        Self { buffer: BytesMut::new(), kind: Kind::Gathered, held: 0, rooms, share }
    }

    /// Prepares for the next read, of `least` bytes or what the request at the front still lacks, if that is known and
    /// not 0; answers how much is to be read.
    ///
    /// # Errors
    /// [`io::ErrorKind::OutOfMemory`] when unfinished requests hold too much.
    pub(crate) fn make_room(&mut self, missing: usize, least: usize) -> io::Result<usize> {
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BYTES {
            self.clear();
        }
        // An unfinished request grows by what arrived, never by what it announced.
        self.hold()?;
        let held = self.buffer.len();
        let (wanted, spare) = (missing.min(MOST_ROOM_BYTES.max(held)), self.buffer.capacity() - held);
        if self.kind == Kind::Gathered && wanted < LARGE_BYTES.max(held) {
            return Ok(wanted.max(least));
        }
        if self.kind == Kind::Gathered || spare < wanted.max(1) {
            // Where nobody knows how much is to come, it doubles.
            self.move_to(held + if missing < LARGE_BYTES { least.max(held) } else { wanted } + TAIL_BYTES);
        }
        // Of what follows a large request little comes with it.
        Ok(wanted.max(least).min(self.buffer.capacity() - held))
    }

    /// Where the next read puts its bytes, `most` of them.
    pub(crate) fn room(&mut self, most: usize) -> Limit<&mut BytesMut> {
        if self.buffer.capacity() == 0 {
            self.buffer = spare::take();
        }
        self.buffer.reserve(most);
        (&mut self.buffer).limit(most)
    }

    /// Nothing came: who waits needs no room to wait with.
    pub(crate) fn rest(&mut self) {
        if self.kind == Kind::Gathered && self.buffer.len() <= MOVED_BYTES {
            let left = BytesMut::from(&self.buffer[..]);
            spare::give(std::mem::replace(&mut self.buffer, left));
        }
    }

    /// Lets go of the first `count` bytes.
    pub(crate) fn advance(&mut self, count: usize) {
        self.buffer.advance(count);
    }

    /// Lets go of everything.
    pub(crate) fn clear(&mut self) {
        (self.buffer, self.kind) = (BytesMut::new(), Kind::Gathered);
        // Nothing is held any more, and that is always to be had.
        let _ = self.hold();
    }

    /// Whether no large request has begun.
    pub(crate) fn is_gathered(&self) -> bool {
        self.kind == Kind::Gathered
    }

    /// The size of the room in which lies what was taken since this was last asked; 0 when it was not a room.
    pub(crate) fn held(&mut self) -> usize {
        std::mem::take(&mut self.held)
    }

    fn hold(&mut self) -> io::Result<()> {
        let resident = if self.kind == Kind::Used { self.buffer.capacity() } else { self.buffer.len() };
        self.share.hold(resident.saturating_sub(KEPT_BYTES))
    }

    /// Moves what is here to a room for `bytes`.
    fn move_to(&mut self, bytes: usize) {
        let size = Rooms::size_for(bytes);
        // A used room counts in full, so it is only for who can have as much.
        let used = match self.share.hold(size) {
            Ok(()) => self.rooms.take(size),
            Err(_) => None,
        };
        let kind = if used.is_some() { Kind::Used } else { Kind::Fresh };
        let mut room = used.unwrap_or_else(|| BytesMut::with_capacity(size));
        room.put_slice(&self.buffer);
        let old = std::mem::replace(&mut self.buffer, room);
        if std::mem::replace(&mut self.kind, kind) != Kind::Gathered {
            self.rooms.give(old);
        }
        // What has not arrived does not count in a fresh one, and that is never more than what is held already.
        let _ = self.hold();
    }
}

impl Deref for Intake {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Source for Intake {
    fn cut(&mut self, count: usize) -> Bytes {
        self.held = 0;
        if self.kind == Kind::Gathered || count == 0 {
            return self.buffer.cut(count);
        }
        // What follows a large request is little, and must not keep its room.
        let rest = BytesMut::from(&self.buffer[count..]);
        let mut room = std::mem::replace(&mut self.buffer, rest);
        room.truncate(count);
        (self.kind, self.held) = (Kind::Gathered, room.capacity());
        self.rooms.lend(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;

    const MIB: usize = 1 << 20;

    fn intake(budget: usize) -> (Intake, Arc<Rooms>) {
        let rooms = Rooms::beside(1 << 30);
        (Intake::new(Arc::clone(&rooms), Budget::new(budget).share()), rooms)
    }

    /// Reads `bytes`, of a request of `whole` bytes, as a session does.
    fn read(intake: &mut Intake, mut bytes: &[u8], whole: usize) {
        while !bytes.is_empty() {
            let most = intake.make_room(whole - intake.len(), 1 << 10).unwrap();
            let count = most.min(bytes.len());
            intake.room(most).put_slice(&bytes[..count]);
            bytes = &bytes[count..];
        }
    }

    #[test]
    fn a_large_request_is_alone_in_a_room_of_its_size() {
        let (mut intake, rooms) = intake(64 * MIB);
        let sent: Vec<u8> = (0..MIB + 40).map(|n| n as u8).collect();
        assert!(intake.make_room(0, 1 << 10).is_ok());
        intake.room(1 << 10).put_slice(&sent[..100]);
        read(&mut intake, &sent[100..], sent.len());
        let size = intake.buffer.capacity();
        assert_eq!(size, Rooms::size_for(sent.len() + TAIL_BYTES));
        let bytes = intake.cut(sent.len());
        assert!(bytes == sent && intake.is_empty());
        assert_eq!((intake.held(), intake.held()), (size, 0));
        drop(bytes);
        // The next one gets the same, and it counts in full.
        intake.room(100).put_slice(&sent[..100]);
        assert!(intake.make_room(MIB, 1 << 10).is_ok());
        assert_eq!((intake.kind, intake.buffer.capacity()), (Kind::Used, size));
        assert!(intake.share.hold(size - KEPT_BYTES).is_ok());
        assert!(rooms.take(size).is_none());
    }

    #[test]
    fn what_follows_a_large_request_does_not_keep_its_room() {
        let (mut intake, rooms) = intake(64 * MIB);
        read(&mut intake, &[7; 100_000], 100_000);
        let most = intake.make_room(0, 1 << 10).unwrap();
        intake.room(most).put_slice(b"next");
        let size = intake.buffer.capacity();
        drop(intake.cut(100_000));
        assert_eq!(&intake[..], b"next");
        assert!(rooms.take(size).is_some());
        // And what is small is gathered again.
        assert!(intake.make_room(0, 1 << 10).unwrap() >= 1 << 10);
        assert_eq!((intake.kind, intake.cut(4), intake.held()), (Kind::Gathered, Bytes::from("next"), 0));
    }

    #[test]
    fn what_was_announced_and_did_not_come_does_not_count() {
        let (mut intake, rooms) = intake(MIB);
        assert!(intake.make_room(64 * MIB, 1 << 10).unwrap() <= MOST_ROOM_BYTES);
        assert!(intake.buffer.capacity() < 2 * MOST_ROOM_BYTES);
        assert_eq!(intake.kind, Kind::Fresh);
        assert!(intake.hold().is_ok());
        // A used room is resident before anything has come, so it goes to those who may hold as much.
        let size = Rooms::size_for(2 * MIB + TAIL_BYTES);
        rooms.give(BytesMut::with_capacity(size));
        intake.clear();
        assert!(intake.make_room(2 * MIB, 1 << 10).is_ok());
        assert_eq!(intake.kind, Kind::Fresh);
        assert!(rooms.take(size).is_some());
    }

    #[test]
    fn a_very_large_request_grows_by_what_has_come() {
        let (mut intake, _) = intake(64 * MIB);
        let sent: Vec<u8> = (0..20 * MIB).map(|n| (n >> 8) as u8).collect();
        let mut whole = 0;
        for part in sent.chunks(MIB) {
            read(&mut intake, part, sent.len());
            whole += part.len();
            let spare = MOST_ROOM_BYTES.max(whole) + AROUND;
            assert!(intake.buffer.capacity() <= (whole + spare) * 9 / 8, "{whole}");
        }
        assert!(intake.cut(sent.len()) == sent);
    }

    /// What a room may have beside what is asked for.
    const AROUND: usize = 8 << 10;

    #[test]
    fn what_nobody_knows_the_size_of_doubles() {
        let (mut intake, _) = intake(64 * MIB);
        read(&mut intake, &[7; 100_000], 100_000);
        let (mut moves, mut before) = (0, intake.buffer.capacity());
        for _ in 0..2 * MIB / 1024 {
            let most = intake.make_room(0, 1 << 10).unwrap().min(1024);
            intake.room(most).put_bytes(7, most);
            moves += usize::from(std::mem::replace(&mut before, intake.buffer.capacity()) != before);
        }
        assert!((2..8).contains(&moves), "{moves}");
        assert!(intake.iter().all(|byte| *byte == 7));
    }
}
