//! What reviews weigh in memory, and what those under way may weigh together: an operator has little, and anyone may send.

use std::sync::Arc;

use memchr::{memchr, memchr2};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most values and keys of one review. A pod as people write them has one for every twenty bytes.
pub(crate) const MAX_TOKENS: usize = 200_000;
/// Bytes that one of them may cost once it is parsed: `[0],` and `{"a":0}` are the worst, by the first allocation of
/// their list or map.
const TOKEN: usize = 224;
/// Bytes of bodies that are held at a time.
const BODIES: usize = 16 << 20;
/// Bytes of parsed reviews that are held at a time: at least one of the heaviest.
const PARSED: usize = 48 << 20;
/// What is counted in.
const UNIT: usize = 1 << 10;

/// The room that reviews share.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    bodies: Arc<Semaphore>,
    parsed: Arc<Semaphore>,
}

/// A share of the room, which is given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    _permit: Option<OwnedSemaphorePermit>,
}

// === impl Room ===

impl Default for Room {
    fn default() -> Self {
        Self::of(BODIES, PARSED)
    }
}

impl Room {
    /// Room for so many bytes of bodies and of what they become.
    pub(crate) fn of(bodies: usize, parsed: usize) -> Self {
        let of = |bytes: usize| Arc::new(Semaphore::new(bytes / UNIT));
        Self { bodies: of(bodies), parsed: of(parsed) }
    }

    /// Waits until a body of at most `bytes` may be read. All of it at once: two that each wait for the rest of
    /// theirs would wait for each other.
    pub(crate) async fn for_body(&self, bytes: usize) -> Share {
        take(&self.bodies, bytes, BODIES).await
    }

    /// Waits until a body of `bytes` and `tokens` may be parsed.
    pub(crate) async fn for_parsed(&self, bytes: usize, tokens: usize) -> Share {
        take(&self.parsed, bytes + tokens * TOKEN, PARSED).await
    }
}

async fn take(room: &Arc<Semaphore>, bytes: usize, all: usize) -> Share {
    let units = u32::try_from(bytes.min(all).div_ceil(UNIT)).unwrap_or(u32::MAX);
    // Nobody closes the room; if somebody did, nothing would be bounded, and nothing refused.
    Share { _permit: Arc::clone(room).acquire_many_owned(units).await.ok() }
}

/// How many values and keys `body` has, as far as it is JSON. What stands inside of strings does not count.
pub(crate) fn tokens(body: &[u8]) -> usize {
    let (mut count, mut rest) = (0, body);
    while let Some(quote) = memchr(b'"', rest) {
        count += structural(&rest[..quote]);
        rest = after_string(&rest[quote + 1..]);
    }
    count + structural(rest)
}

fn after_string(mut rest: &[u8]) -> &[u8] {
    while let Some(at) = memchr2(b'"', b'\\', rest) {
        if rest[at] == b'"' {
            return &rest[at + 1..];
        }
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    &[]
}

fn structural(between: &[u8]) -> usize {
    between.iter().filter(|byte| matches!(byte, b',' | b':' | b'[' | b'{')).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn tokens_are_what_becomes_a_value_or_a_key() {
        for (body, expected) in [
            ("", 0),
            ("[0,0,0]", 3),
            (r#"{"a":{"b":[]}}"#, 5),
            (r#"{"a":"1,2,3:[{\"x\":1}]\\"}"#, 2),
            (r#""never ends, \"#, 0),
            (r#"["\\",1]"#, 2),
        ] {
            assert_eq!(tokens(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn the_heaviest_waits_for_the_others_and_finds_room_in_the_end() {
        let room = Room::default();
        let first = room.for_parsed(4 << 20, MAX_TOKENS).now_or_never().unwrap();
        assert!(room.for_parsed(4 << 20, MAX_TOKENS).now_or_never().is_none());
        // A usual review finds its place beside the heaviest one.
        assert!(room.for_parsed(4 << 10, 200).now_or_never().is_some());
        drop(first);
        assert!(room.for_parsed(4 << 20, MAX_TOKENS).now_or_never().is_some());
    }
}
