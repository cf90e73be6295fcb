//! Buffers for large requests, one for each: what the kernel gave and cleared once is used again while it is warm.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

/// Free rooms beyond this are given back to the system; a small cache keeps less, one part in [`SHARE`] of its capacity.
const MOST_BYTES: u64 = 32 << 20;
const SHARE: u64 = 16;

/// A room that nobody took for so long is given back to the system.
const IDLE: Duration = Duration::from_secs(1);

/// What stands around a value in its request, about.
const AROUND_BYTES: usize = 4 << 10;

/// Sizes of rooms from one power of two to the next.
const STEPS: usize = 8;

/// The free rooms of a server.
pub(crate) struct Rooms {
    most: AtomicUsize,
    free: Mutex<Free>,
}

/// In the order in which they came back.
#[derive(Default)]
struct Free {
    rooms: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
}

/// A room in use; it comes back when the last handle on its bytes is gone.
struct Lent {
    room: Vec<u8>,
    /// Where in it.
    place: Range<usize>,
    rooms: Arc<Rooms>,
}

// === impl Rooms ===

impl Rooms {
    /// No rooms yet, beside a cache of so many bytes.
    pub(crate) fn beside(capacity_bytes: u64) -> Arc<Self> {
        let rooms = Self { most: AtomicUsize::new(0), free: Mutex::default() };
        rooms.set_capacity(capacity_bytes);
        Arc::new(rooms)
    }

    /// The cache beside them has another capacity from now on.
    pub(crate) fn set_capacity(&self, bytes: u64) {
        let most = usize::try_from((bytes / SHARE).min(MOST_BYTES)).unwrap_or(0);
        self.most.store(most, Ordering::Relaxed);
    }

    /// How large a room for `bytes` is: a few steps to each power of two, so that one serves many sizes, and an eighth of
    /// it is in vain at most.
    pub(crate) fn size_for(bytes: usize) -> usize {
        let bytes = bytes.saturating_sub(AROUND_BYTES).max(STEPS);
        let step = (bytes.next_power_of_two() / 2 / STEPS).max(1);
        bytes.next_multiple_of(step) + AROUND_BYTES
    }

    /// A free room of this size, if there is one, with whatever is in it; all of it is resident.
    pub(crate) fn take(&self, size: usize) -> Option<Vec<u8>> {
        let mut free = self.free();
        let place = free.rooms.iter().rposition(|(_, room)| room.len() == size)?;
        free.bytes -= size;
        free.rooms.remove(place).map(|(_, room)| room)
    }

    /// Takes a room back. The oldest free ones go when there are too many.
    pub(crate) fn give(&self, room: Vec<u8>) {
        let (size, most) = (room.len(), self.most.load(Ordering::Relaxed));
        if size > most || size != Self::size_for(size) {
            return;
        }
        let mut gone = Vec::new();
        let mut free = self.free();
        while free.bytes + size > most
            && let Some((_, oldest)) = free.rooms.pop_front()
        {
            free.bytes -= oldest.len();
            gone.push(oldest);
        }
        free.bytes += size;
        free.rooms.push_back((Instant::now(), room));
        // Others need not wait until the system has them.
        drop(free);
    }

    /// A copy of `bytes`, in a room.
    pub(crate) fn copy(self: &Arc<Self>, bytes: &[u8]) -> Bytes {
        let size = Self::size_for(bytes.len());
        let mut room = self.take(size).unwrap_or_else(|| vec![0; size]);
        room[..bytes.len()].copy_from_slice(bytes);
        self.lend(room, 0..bytes.len())
    }

    /// What lies at a place in a room, to be held by as many as like; the room comes back after the last of them.
    pub(crate) fn lend(self: &Arc<Self>, room: Vec<u8>, place: Range<usize>) -> Bytes {
        Bytes::from_owner(Lent { room, place, rooms: Arc::clone(self) })
    }

    /// Gives back what nobody took for a while; to be called now and then.
    pub(crate) fn tend(&self) {
        let mut gone = Vec::new();
        let mut free = self.free();
        while let Some((since, _)) = free.rooms.front()
            && since.elapsed() >= IDLE
            && let Some((_, room)) = free.rooms.pop_front()
        {
            free.bytes -= room.len();
            gone.push(room);
        }
        drop(free);
    }

    /// A panic elsewhere leaves at worst a room that is not counted.
    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Rooms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooms").field("most", &self.most).field("free_bytes", &self.free().bytes).finish()
    }
}

// === impl Lent ===

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.room[self.place.clone()]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.rooms.give(std::mem::take(&mut self.room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn a_room_holds_what_it_is_for_and_an_eighth_more_at_most() {
        for bytes in (1..200).map(|n| n * 1000).chain([MIB, MIB + 100, (64 << 20) + 99]) {
            let size = Rooms::size_for(bytes);
            assert!((bytes..=bytes + bytes / 8 + AROUND_BYTES).contains(&size), "{bytes}: {size}");
            assert_eq!(Rooms::size_for(size), size);
        }
        assert_eq!(Rooms::size_for(MIB + 100), MIB + AROUND_BYTES);
    }

    #[test]
    fn a_room_comes_back_after_the_last_handle_and_serves_again() {
        let rooms = Rooms::beside(1 << 30);
        let size = Rooms::size_for(MIB);
        assert!(rooms.take(size).is_none());
        let mut room = vec![0; size];
        room[..9].copy_from_slice(b"the value");
        let place = room.as_ptr();
        let bytes = rooms.lend(room, 0..9);
        let part = bytes.slice(4..);
        drop(bytes);
        assert!(rooms.take(size).is_none());
        assert_eq!(part, "value");
        drop(part);
        let again = rooms.take(size).unwrap();
        assert!(again.as_ptr() == place && again.len() == size);
        assert_eq!(rooms.free().bytes, 0);
    }

    #[test]
    fn free_rooms_are_bounded_and_the_oldest_goes_first() {
        let rooms = Rooms::beside(64 << 20);
        for n in 1..=9 {
            rooms.give(vec![0; Rooms::size_for(n * MIB / 4)]);
            assert!(rooms.free().bytes <= 4 * MIB);
        }
        assert!(rooms.take(Rooms::size_for(MIB / 4)).is_none());
        assert!(rooms.take(Rooms::size_for(9 * MIB / 4)).is_some());
        rooms.give(vec![0; Rooms::size_for(5 * MIB)]);
        assert!(rooms.take(Rooms::size_for(5 * MIB)).is_none());
        // What is no room any more is none.
        rooms.give(vec![0; MIB]);
        assert!(rooms.take(MIB).is_none());
    }

    #[test]
    fn what_nobody_takes_is_given_back() {
        let rooms = Rooms::beside(1 << 30);
        rooms.give(vec![0; Rooms::size_for(MIB)]);
        rooms.tend();
        assert!(rooms.free().bytes > 0);
        rooms.free().rooms[0].0 = Instant::now() - IDLE;
        rooms.tend();
        assert_eq!(rooms.free().bytes, 0);
    }
}
