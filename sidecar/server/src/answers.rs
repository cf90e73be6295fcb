//! Where answers go: the write buffer of a session, in the language of its protocol.

use bytes::BytesMut;
use synapse_core::reply::Reply;
use synapse_engine::store::MAX_REPLY_BYTES;
use synapse_protocol::frame::{self, Answer};
use synapse_protocol::resp::{Version, encode};

/// As much is gathered before it is written: beyond it, a client that does not read stops its own commands.
pub(crate) const OUTBOX_BYTES: usize = 256 << 10;

/// Takes answers in the order of the commands.
pub(crate) trait Answers {
    /// Takes a reply.
    fn reply(&mut self, version: Version, reply: &Reply);

    /// Takes what a key held.
    fn value(&mut self, version: Version, value: Option<&[u8]>);

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
#[derive(Debug, Default)]
pub(crate) struct RespAnswers {
    pub(crate) out: BytesMut,
}

/// Answers as Synapse frames.
#[derive(Debug, Default)]
pub(crate) struct FrameAnswers {
    pub(crate) out: BytesMut,
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

    fn value(&mut self, version: Version, value: Option<&[u8]>) {
        match value {
            Some(value) => encode::bulk(&mut self.out, value),
            None => encode::nil(&mut self.out, version),
        }
    }

    fn done(&mut self, _: Version) {
        encode::ok(&mut self.out);
    }

    fn array(&mut self, length: usize) {
        encode::array(&mut self.out, length);
    }

    fn held(&self) -> usize {
        self.out.len()
    }

    fn rewind(&mut self, held: usize) {
        self.out.truncate(held);
    }
}

impl AsMut<BytesMut> for RespAnswers {
    fn as_mut(&mut self) -> &mut BytesMut {
        &mut self.out
    }
}

// === impl FrameAnswers ===

impl Answers for FrameAnswers {
    fn reply(&mut self, _: Version, reply: &Reply) {
        let answer = match reply {
            Reply::Bulk(value) | Reply::Text(value) => Answer::Hit(value),
            Reply::Nil | Reply::NilArray => Answer::Miss,
            Reply::Error(text) => {
                return frame::answer(&mut self.out, Answer::Err(&String::from_utf8_lossy(text)));
            }
            Reply::Simple(_) | Reply::Int(_) => Answer::Ok,
            Reply::Array(_) | Reply::Map(_) | Reply::Set(_) | Reply::Double(_) => {
                Answer::Err("unexpected reply")
            }
        };
        frame::answer(&mut self.out, answer);
    }

    fn value(&mut self, _: Version, value: Option<&[u8]>) {
        frame::answer(&mut self.out, value.map_or(Answer::Miss, Answer::Hit));
    }

    fn done(&mut self, _: Version) {
        frame::answer(&mut self.out, Answer::Ok);
    }

    fn array(&mut self, _: usize) {}

    fn held(&self) -> usize {
        self.out.len()
    }

    fn rewind(&mut self, held: usize) {
        self.out.truncate(held);
    }
}

impl AsMut<BytesMut> for FrameAnswers {
    fn as_mut(&mut self) -> &mut BytesMut {
        &mut self.out
    }
}

// === impl Replies ===

impl Answers for Replies {
    fn reply(&mut self, _: Version, reply: &Reply) {
        self.replies.push(reply.clone());
    }

    fn value(&mut self, _: Version, value: Option<&[u8]>) {
        let reply = value.map_or(Reply::Nil, |value| Reply::Bulk(bytes::Bytes::copy_from_slice(value)));
        self.replies.push(reply);
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
