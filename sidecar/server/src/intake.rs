//! What was read of a connection and is not yet taken: gathered in one buffer, or a large request in a room of its own.

use std::io;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use synapse_protocol::limits::LARGE_BYTES;
use synapse_protocol::sink::Source;

use crate::budget::Share;
use crate::rooms::Rooms;
use crate::spare;

/// As much room is made at once for a request that says how large it is, or as much again as has arrived of it: what
/// nothing has arrived in costs no memory.
const MOST_ROOM_BYTES: usize = 4 << 20;

/// Buffers above this size are given back when they are empty: one large request does not cost memory for ever.
const KEPT_BYTES: usize = spare::MOST_INPUT_BYTES;

/// From this size on, what is taken of a buffer is not copied: the buffer goes with it.
const GIVEN_BYTES: usize = 16 << 10;

/// What may follow the last large argument of a request: options.
const TAIL_BYTES: usize = 256;

/// What is left of a batch and has no more bytes than this is moved to a buffer of its size while the rest is waited for.
const MOVED_BYTES: usize = 1 << 10;

/// The input of a session.
#[derive(Debug)]
pub(crate) struct Intake {
    /// What is here lies between two places of it, and after them is room.
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
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
        Self { buffer: Vec::new(), begin: 0, end: 0, kind: Kind::Gathered, held: 0, rooms, share }
    }

    /// Prepares for the next read, of `least` bytes or what the request at the front still lacks, if that is known and
    /// not 0; answers how much is to be read.
    ///
    /// # Errors
    /// [`io::ErrorKind::OutOfMemory`] when unfinished requests hold too much.
    pub(crate) fn make_room(&mut self, missing: usize, least: usize) -> io::Result<usize> {
        if self.is_empty() && self.buffer.len() > KEPT_BYTES {
            self.clear();
        }
        // An unfinished request grows by what arrived, never by what it announced.
        self.hold()?;
        let held = self.len();
        let (wanted, spare) = (missing.min(MOST_ROOM_BYTES.max(held)), self.buffer.len() - self.end);
        if self.kind == Kind::Gathered && wanted < LARGE_BYTES.max(held) {
            return Ok(wanted.max(least));
        }
        if self.kind == Kind::Gathered || spare < wanted.max(1) {
            // Where nobody knows how much is to come, it doubles.
            self.move_to(held + if missing < LARGE_BYTES { least.max(held) } else { wanted } + TAIL_BYTES);
        }
        // Of what follows a large request little comes with it.
        Ok(wanted.max(least).min(self.buffer.len() - self.end))
    }

    /// Where the next read puts its bytes, `most` of them; see [`Intake::came`].
    pub(crate) fn room(&mut self, most: usize) -> &mut [u8] {
        if self.buffer.len() - self.end < most {
            self.widen(most);
        }
        &mut self.buffer[self.end..][..most]
    }

    /// So many bytes were read into the room.
    pub(crate) fn came(&mut self, count: usize) {
        self.end += count;
    }

    /// Nothing came: who waits needs no room to wait with.
    pub(crate) fn rest(&mut self) {
        if self.kind == Kind::Gathered && self.len() <= MOVED_BYTES {
            let left = self.to_vec();
            (self.begin, self.end) = (0, left.len());
            spare::give_input(std::mem::replace(&mut self.buffer, left));
        }
    }

    /// Lets go of the first `count` bytes.
    pub(crate) fn advance(&mut self, count: usize) {
        self.begin += count;
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
        }
    }

    /// Lets go of everything.
    pub(crate) fn clear(&mut self) {
        (self.buffer, self.begin, self.end, self.kind) = (Vec::new(), 0, 0, Kind::Gathered);
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
        let resident = if self.kind == Kind::Used { self.buffer.len() } else { self.len() };
        self.share.hold(resident.saturating_sub(KEPT_BYTES))
    }

    /// Has room for `most` more, behind what is here.
    fn widen(&mut self, most: usize) {
        let (begin, held) = (self.begin, self.len());
        // No byte is moved more than once for each that is taken.
        if begin >= held && self.buffer.len() - held >= most {
            self.buffer.copy_within(begin..self.end, 0);
        } else {
            // It doubles, and what is not written costs nothing.
            let mut wide = spare::take_input((held + most).max(2 * held));
            wide[..held].copy_from_slice(self);
            spare::give_input(std::mem::replace(&mut self.buffer, wide));
        }
        (self.begin, self.end) = (0, held);
    }

    /// Moves what is here to a room for `bytes`.
    fn move_to(&mut self, bytes: usize) {
        let (size, held) = (Rooms::size_for(bytes), self.len());
        // A used room counts in full, so it is only for who can have as much.
        let used = match self.share.hold(size) {
            Ok(()) => self.rooms.take(size),
            Err(_) => None,
        };
        let kind = if used.is_some() { Kind::Used } else { Kind::Fresh };
        let mut room = used.unwrap_or_else(|| vec![0; size]);
        room[..held].copy_from_slice(self);
        let old = std::mem::replace(&mut self.buffer, room);
        (self.begin, self.end) = (0, held);
        match std::mem::replace(&mut self.kind, kind) {
            Kind::Gathered => spare::give_input(old),
            Kind::Fresh | Kind::Used => self.rooms.give(old),
        }
        // What has not arrived does not count in a fresh one, and that is never more than what is held already.
        let _ = self.hold();
    }
}

impl Deref for Intake {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[self.begin..self.end]
    }
}

impl Source for Intake {
    fn cut(&mut self, count: usize) -> Bytes {
        self.held = 0;
        if count == 0 || (self.kind == Kind::Gathered && count < GIVEN_BYTES) {
            let bytes = Bytes::copy_from_slice(&self[..count]);
            self.advance(count);
            return bytes;
        }
        // What follows a large request is little, and must not keep its room.
        let rest = self[count..].to_vec();
        let given = self.begin..self.begin + count;
        (self.begin, self.end) = (0, rest.len());
        let buffer = std::mem::replace(&mut self.buffer, rest);
        if std::mem::replace(&mut self.kind, Kind::Gathered) == Kind::Gathered {
            return Bytes::from(buffer).slice(given);
        }
        self.held = buffer.len();
        self.rooms.lend(buffer, given)
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

    /// Some bytes came.
    fn put(intake: &mut Intake, bytes: &[u8]) {
        intake.room(bytes.len()).copy_from_slice(bytes);
        intake.came(bytes.len());
    }

    /// Reads `bytes`, of a request of `whole` bytes, as a session does.
    fn read(intake: &mut Intake, mut bytes: &[u8], whole: usize) {
        while !bytes.is_empty() {
            let most = intake.make_room(whole - intake.len(), 1 << 10).unwrap();
            let count = most.min(bytes.len());
            put(intake, &bytes[..count]);
            bytes = &bytes[count..];
        }
    }

    #[test]
    fn a_large_request_is_alone_in_a_room_of_its_size() {
        let (mut intake, rooms) = intake(64 * MIB);
        let sent: Vec<u8> = (0..MIB + 40).map(|n| n as u8).collect();
        assert!(intake.make_room(0, 1 << 10).is_ok());
        put(&mut intake, &sent[..100]);
        read(&mut intake, &sent[100..], sent.len());
        let size = intake.buffer.len();
        assert_eq!(size, Rooms::size_for(sent.len() + TAIL_BYTES));
        let bytes = intake.cut(sent.len());
        assert!(bytes == sent && intake.is_empty());
        assert_eq!((intake.held(), intake.held()), (size, 0));
        drop(bytes);
        // The next one gets the same, and it counts in full.
        put(&mut intake, &sent[..100]);
        assert!(intake.make_room(MIB, 1 << 10).is_ok());
        assert_eq!((intake.kind, intake.buffer.len()), (Kind::Used, size));
        assert!(intake.share.hold(size - KEPT_BYTES).is_ok());
        assert!(rooms.take(size).is_none());
    }

    #[test]
    fn what_follows_a_large_request_does_not_keep_its_room() {
        let (mut intake, rooms) = intake(64 * MIB);
        read(&mut intake, &[7; 100_000], 100_000);
        assert!(intake.make_room(0, 1 << 10).is_ok());
        put(&mut intake, b"next");
        let size = intake.buffer.len();
        drop(intake.cut(100_000));
        assert_eq!(&intake[..], b"next");
        assert!(rooms.take(size).is_some());
        // And what is small is gathered again.
        assert!(intake.make_room(0, 1 << 10).unwrap() >= 1 << 10);
        assert_eq!((intake.kind, intake.cut(4), intake.held()), (Kind::Gathered, Bytes::from("next"), 0));
    }

    #[test]
    fn what_is_left_moves_to_the_front_or_to_a_wider_buffer_and_nothing_else_shows() {
        let (mut intake, _) = intake(64 * MIB);
        let sent: Vec<u8> = (0..3_000_000).map(|n| (n % 251) as u8).collect();
        let (mut came, mut taken, mut widest) = (0, 0, 0);
        for turn in 0_usize.. {
            let most = (sent.len() - came).min(1 + turn * 7919 % 20_000);
            put(&mut intake, &sent[came..came + most]);
            came += most;
            assert!(intake[..] == sent[taken..came], "turn {turn}");
            // Little is left most times, nothing sometimes, and much now and then.
            let left = [100, 0, 3_000, 40_000][turn % 4].min(intake.len());
            let count = intake.len() - left;
            if turn % 3 == 0 {
                assert!(intake.cut(count) == sent[taken..taken + count]);
            } else {
                intake.advance(count);
            }
            taken += count;
            if turn % 5 == 0 {
                intake.rest();
            }
            widest = widest.max(intake.buffer.len());
            if came == sent.len() {
                break;
            }
        }
        assert!(intake[..] == sent[taken..]);
        assert!((NEW..=256 << 10).contains(&widest), "{widest}");
    }

    const NEW: usize = 16 << 10;

    #[test]
    fn what_is_large_is_given_and_not_copied() {
        let (mut intake, _) = intake(64 * MIB);
        put(&mut intake, &[7; GIVEN_BYTES + 3]);
        intake.advance(2);
        let lies_at = intake.as_ptr();
        let given = intake.cut(GIVEN_BYTES);
        assert!(given.as_ptr() == lies_at && given == [7; GIVEN_BYTES][..]);
        assert!(intake[..] == [7] && intake.held() == 0);
        let copied = intake.cut(1);
        assert!(copied == [7][..] && intake.is_empty());
    }

    #[test]
    fn what_was_announced_and_did_not_come_does_not_count() {
        let (mut intake, rooms) = intake(MIB);
        assert!(intake.make_room(64 * MIB, 1 << 10).unwrap() <= MOST_ROOM_BYTES);
        assert!(intake.buffer.len() < 2 * MOST_ROOM_BYTES);
        assert_eq!(intake.kind, Kind::Fresh);
        assert!(intake.hold().is_ok());
        // A used room is resident before anything has come, so it goes to those who may hold as much.
        let size = Rooms::size_for(2 * MIB + TAIL_BYTES);
        rooms.give(vec![0; size]);
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
            assert!(intake.buffer.len() <= (whole + spare) * 9 / 8, "{whole}");
        }
        assert!(intake.cut(sent.len()) == sent);
    }

    /// What a room may have beside what is asked for.
    const AROUND: usize = 8 << 10;

    #[test]
    fn what_nobody_knows_the_size_of_doubles() {
        let (mut intake, _) = intake(64 * MIB);
        read(&mut intake, &[7; 100_000], 100_000);
        let (mut moves, mut before) = (0, intake.buffer.len());
        for _ in 0..2 * MIB / 1024 {
            let most = intake.make_room(0, 1 << 10).unwrap().min(1024);
            put(&mut intake, &vec![7; most]);
            moves += usize::from(std::mem::replace(&mut before, intake.buffer.len()) != before);
        }
        assert!((2..8).contains(&moves), "{moves}");
        assert!(intake.iter().all(|byte| *byte == 7));
    }
}
