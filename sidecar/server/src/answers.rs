//! Where answers go: the write buffer of a session, in the language of its protocol.

use synapse_core::memory::Found;
use synapse_core::reply::Reply;
use synapse_engine::store::MAX_REPLY_BYTES;
use synapse_protocol::frame::{self, Answer};
use synapse_protocol::limits::LARGE_BYTES;
use synapse_protocol::resp::{Version, encode};

use crate::outbox::Outbox;

/// As much is gathered before it is written: beyond it, a client that does not read stops its own commands.
pub(crate) const OUTBOX_BYTES: usize = 64 << 10;

/// Takes answers in the order of the commands.
pub(crate) trait Answers {
    /// Takes a reply.
    fn reply(&mut self, version: Version, reply: &Reply);

    /// Takes what a key held.
    fn value(&mut self, version: Version, found: Option<Found<'_>>);

    /// Takes that something was done.
    fn done(&mut self, version: Version);

    /// Begins a reply that has this many replies inside.
    fn array(&mut self, length: usize);

    /// Bytes held.
    fn held(&self) -> usize;

    /// Lets go of everything after the first `held` bytes.
    fn rewind(&mut self, held: usize);

    /// Whether it is time to write.
    fn is_full(&self) -> bool {
        self.held() >= OUTBOX_BYTES
    }

    /// Whether the reply begun at `start` has become too large to go on.
    fn is_excessive(&self, start: usize) -> bool {
        self.held() - start > MAX_REPLY_BYTES
    }
}

/// Answers as RESP.
#[derive(Debug)]
pub(crate) struct RespAnswers {
    pub(crate) out: Outbox,
}

/// Answers as Synapse frames.
#[derive(Debug)]
pub(crate) struct FrameAnswers {
    pub(crate) out: Outbox,
}

/// Answers kept as they are.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    pub(crate) replies: Vec<Reply>,
}

// === impl RespAnswers ===

impl Answers for RespAnswers {
    fn reply(&mut self, version: Version, reply: &Reply) {
        encode::reply(&mut self.out, version, reply);
    }

    #[inline(always)]
    fn value(&mut self, version: Version, found: Option<Found<'_>>) {
        match found {
            Some(Found { handle: Some(value), .. }) => encode::handle(&mut self.out, value),
            Some(Found { value, .. }) if value.len() >= LARGE_BYTES => {
                let copy = self.out.copy(value);
                encode::handle(&mut self.out, &copy);
            }
            Some(Found { value, .. }) => encode::bulk(&mut self.out.small, value),
            None => encode::nil(&mut self.out.small, version),
        }
    }

    fn done(&mut self, _: Version) {
        encode::ok(&mut self.out.small);
    }

    fn array(&mut self, length: usize) {
        encode::array(&mut self.out.small, length);
    }

    fn held(&self) -> usize {
        self.out.len()
    }

    fn rewind(&mut self, held: usize) {
        self.out.truncate(held);
    }
}

impl AsMut<Outbox> for RespAnswers {
    fn as_mut(&mut self) -> &mut Outbox {
        &mut self.out
    }
}

// === impl FrameAnswers ===

impl Answers for FrameAnswers {
    fn reply(&mut self, _: Version, reply: &Reply) {
        let answer = match reply {
            Reply::Bulk(value) | Reply::Text(value) => return frame::hit(&mut self.out, value),
            Reply::Nil | Reply::NilArray => Answer::Miss,
            Reply::Error(text) => {
                return frame::answer(&mut self.out.small, Answer::Err(&String::from_utf8_lossy(text)));
            }
            Reply::Simple(_) | Reply::Int(_) => Answer::Ok,
            Reply::Array(_) | Reply::Map(_) | Reply::Set(_) | Reply::Double(_) => {
                Answer::Err("unexpected reply")
            }
        };
        frame::answer(&mut self.out.small, answer);
    }

    #[inline(always)]
    fn value(&mut self, _: Version, found: Option<Found<'_>>) {
        match found {
            Some(Found { handle: Some(value), .. }) => frame::hit(&mut self.out, value),
            Some(Found { value, .. }) if value.len() >= LARGE_BYTES => {
                let copy = self.out.copy(value);
                frame::hit(&mut self.out, &copy);
            }
            found => {
                let answer = found.map_or(Answer::Miss, |found| Answer::Hit(found.value));
                frame::answer(&mut self.out.small, answer);
            }
        }
    }

    fn done(&mut self, _: Version) {
        frame::answer(&mut self.out.small, Answer::Ok);
    }

    fn array(&mut self, _: usize) {}

    fn held(&self) -> usize {
        self.out.len()
    }

    fn rewind(&mut self, held: usize) {
        self.out.truncate(held);
    }
}

impl AsMut<Outbox> for FrameAnswers {
    fn as_mut(&mut self) -> &mut Outbox {
        &mut self.out
    }
}

// === impl Replies ===

impl Answers for Replies {
    fn reply(&mut self, _: Version, reply: &Reply) {
        self.replies.push(reply.clone());
    }

    fn value(&mut self, _: Version, found: Option<Found<'_>>) {
        self.replies.push(found.map_or(Reply::Nil, |found| Reply::Bulk(found.to_bytes())));
    }

    fn done(&mut self, _: Version) {
        self.replies.push(Reply::OK);
    }

    fn array(&mut self, _: usize) {}

    fn held(&self) -> usize {
        0
    }

    fn rewind(&mut self, _: usize) {}
}
