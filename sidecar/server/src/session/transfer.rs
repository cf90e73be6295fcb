//! How bytes come and go: room that follows what a client says, answers that most often leave at once.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use synapse_core::reply::Reply;
use synapse_protocol::detect::Wire;
use synapse_protocol::frame::{self, Answer};
use synapse_protocol::limits::{LARGE_BYTES, MAX_REQUEST_BYTES};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::Session;
use crate::answers::{Answers, OUTBOX_BYTES, RespAnswers};
use crate::http_cache;
use crate::intake::Intake;
use crate::outbox::Outbox;
use crate::stream::Stream;

/// As much is read in one turn: a client that says more waits until all others had theirs.
const TURN_BYTES: usize = 8 << 10;

/// As much is taken in of what a client says before it listens to answers that are many already.
const AHEAD_BYTES: usize = 4 << 20;

/// Pieces of answers that one write takes.
const SLICES: usize = 16;

/// As much is read at once of what a client says whose request was refused.
const REFUSED_BYTES: usize = 16 << 10;

/// Reads that a session still makes when the end was asked for: what the client had sent by then.
pub(super) const READS_WHILE_DRAINING: usize = 16;

/// How long a session waits for each of them. What lies in the socket is seen at the next turn of the reactor, not at
/// the moment when the end is asked for.
const DRAIN_QUIET: Duration = Duration::from_millis(20);

/// How long a client may take to read an answer when the end was asked for.
const DRAIN_WRITE: Duration = Duration::from_secs(1);

/// How long a client whose request was refused may pause before the connection is closed.
const REFUSAL_QUIET: Duration = Duration::from_secs(1);

/// HTTP's "Content Too Large".
const TOO_LARGE: u16 = 413;

impl<S: Stream> Session<S> {
    /// Where answers are gathered.
    pub(super) fn outbox(&self) -> Outbox {
        Outbox::new(Arc::clone(&self.executor.backend().rooms))
    }

    /// Says why the request is not taken, and lets the client say the rest of it: most read only then.
    pub(super) async fn refuse(&mut self, wire: Wire, why: &str) -> io::Result<()> {
        let mut out = self.outbox();
        match wire {
            Wire::Resp => {
                let mut answers = RespAnswers { out };
                answers.reply(self.executor.client().version, &Reply::error_text(format!("ERR {why}")));
                out = answers.out;
            }
            Wire::Frames => frame::answer(&mut out.small, Answer::Err(why)),
            Wire::Http => http_cache::refuse(TOO_LARGE, why, &mut out.small),
        }
        self.input.clear();
        self.write_all(&mut out).await?;
        self.stream.shutdown().await?;
        let (mut rest, mut left) = (vec![0; REFUSED_BYTES], MAX_REQUEST_BYTES);
        while left > 0 && !self.drain.is_over() {
            match timeout(REFUSAL_QUIET, self.stream.read(&mut rest)).await {
                Ok(Ok(read)) if read > 0 => left = left.saturating_sub(read),
                _ => break,
            }
        }
        Ok(())
    }

    /// Answers MAP.
    pub(super) async fn hand_over_memory(&mut self, out: &mut BytesMut) -> io::Result<()> {
        match self.executor.backend().descriptor() {
            Ok(Some(memory)) => {
                let mut ok = BytesMut::new();
                frame::answer(&mut ok, Answer::Ok);
                let mut hand_over = poll_fn(|cx| self.stream.poll_hand_over(cx, &ok, memory.as_fd()));
                let handed = tokio::select! {
                    biased;
                    handed = &mut hand_over => handed,
                    // As with every answer: who does not read it must not hold up the end.
                    () = &mut self.drain => timeout(DRAIN_WRITE, hand_over).await?,
                };
                if let Err(error) = handed {
                    // The kernel may have too many descriptors under way. Nothing was sent, so this can be.
                    frame::answer(out, Answer::Err(&format!("the memory cannot be handed over: {error}")));
                }
            }
            Ok(None) => frame::answer(
                out,
                Answer::Err(
                    "the memory is not shared: memory.sharedReads is not Enabled, or the kernel gave none",
                ),
            ),
            Err(error) => {
                frame::answer(out, Answer::Err(&format!("the memory cannot be handed over: {error}")))
            }
        }
        Ok(())
    }

    /// Writes as many of the answers as the client takes at once. The others go with later ones or while more is waited for;
    /// when they have become many, they are waited for here.
    pub(super) async fn write(&mut self, out: &mut Outbox) -> io::Result<()> {
        self.send(out)?;
        if out.whole().is_some_and(|whole| whole.len() < OUTBOX_BYTES) {
            return Ok(());
        }
        self.write_all(out).await
    }

    /// Sends as many of the answers as the client takes at once, where they lie in one piece; true when none is left.
    pub(super) fn send(&mut self, out: &mut Outbox) -> io::Result<bool> {
        let Some(whole) = out.whole() else { return Ok(false) };
        if !whole.is_empty() {
            match self.stream.send_now(whole) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                sent => out.sent(sent?),
            }
        }
        Ok(out.len() == 0)
    }

    /// Writes all answers. What the client says in the meantime is heard, but not answered: most who send many requests at
    /// once listen only when all are sent.
    pub(super) async fn write_all(&mut self, out: &mut Outbox) -> io::Result<()> {
        let rest = &mut out.pieces();
        let written = tokio::select! {
            biased;
            written = poll_fn(|cx| match write_some(&mut self.stream, rest, cx) {
                Poll::Pending => {
                    self.is_ahead |= hear(&mut self.stream, &mut self.input, cx);
                    Poll::Pending
                }
                written => written,
            }) => Some(written),
            () = &mut self.drain => None,
        };
        match written {
            Some(written) => written?,
            // One client that does not read must not hold up the end for the whole grace period.
            None => timeout(DRAIN_WRITE, self.stream.write_all_buf(rest)).await??,
        }
        out.clear();
        Ok(())
    }

    /// Reads on when all answers are sent; false when there is more to it than that, which [`Session::read`] does.
    pub(super) fn poll_more(&mut self, out: &mut Outbox, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let is_ordinary =
            !self.is_ahead && !self.is_filled && self.missing < LARGE_BYTES && !self.drain.is_over();
        let (true, Ok(most)) = (is_ordinary, self.input.make_room(self.missing, TURN_BYTES)) else {
            return Poll::Ready(Ok(false));
        };
        match poll_read(&mut self.stream, &mut self.input, most, cx)? {
            // The end is read once more by who acts on it; it stays.
            Poll::Ready(read) => Poll::Ready(Ok(self.note(read, most))),
            Poll::Pending => {
                self.input.rest();
                out.rest();
                Pin::new(&mut self.drain).poll(cx).map(|()| Ok(false))
            }
        }
    }

    /// Reads on, and writes `out` as far as the client takes it meanwhile; false when the client has said all, or the server
    /// drains and nothing more is there.
    pub(super) async fn read(&mut self, out: &mut Outbox) -> io::Result<bool> {
        if std::mem::take(&mut self.is_ahead) {
            return Ok(true);
        }
        let is_large = self.missing >= LARGE_BYTES;
        loop {
            let held = self.input.len();
            if !self.read_once(out).await? {
                return Ok(false);
            }
            let read = self.input.len() - held;
            // A large request is looked at again when it is there.
            if !is_large || self.missing <= read {
                return Ok(true);
            }
            self.missing -= read;
        }
    }

    async fn read_once(&mut self, out: &mut Outbox) -> io::Result<bool> {
        if std::mem::take(&mut self.is_filled) {
            out.rest();
            give_way().await;
        }
        let most = match self.input.make_room(self.missing, TURN_BYTES) {
            Ok(most) => most,
            Err(refusal) => {
                // What was answered before comes before what is refused.
                self.write_all(out).await?;
                return Err(refusal);
            }
        };
        if !self.drain.is_over() {
            let read = poll_fn(|cx| {
                let polled = poll_read(&mut self.stream, &mut self.input, most, cx);
                if polled.is_pending() {
                    self.input.rest();
                    // Large answers were written before.
                    if let Poll::Ready(written) = write_some(&mut self.stream, &mut out.small, cx) {
                        written?;
                        out.clear();
                    }
                }
                polled
            });
            tokio::select! {
                biased;
                read = read => return Ok(self.note(read?, most)),
                () = &mut self.drain => {}
            }
        }
        if self.reads_left == 0 {
            return Ok(false);
        }
        self.reads_left -= 1;
        let read = poll_fn(|cx| poll_read(&mut self.stream, &mut self.input, most, cx));
        match timeout(DRAIN_QUIET, read).await {
            Ok(read) => Ok(self.note(read?, most)),
            Err(_) => Ok(false),
        }
    }

    /// Learns from a read of `most` bytes whether there is more; false for the last.
    fn note(&mut self, read: usize, most: usize) -> bool {
        // The rest of a large request is waited for, and that gives others their turn.
        self.is_filled = read >= if most < LARGE_BYTES { TURN_BYTES } else { most };
        read > 0
    }
}

/// Reads `most` bytes at most; 0 for the end.
fn poll_read(
    stream: &mut impl Stream,
    input: &mut Intake,
    most: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut room = ReadBuf::new(input.room(most));
    ready!(Pin::new(stream).poll_read(cx, &mut room))?;
    let read = room.filled().len();
    input.came(read);
    Poll::Ready(Ok(read))
}

/// Writes what is left of `rest`.
fn write_some(stream: &mut impl Stream, rest: &mut impl Buf, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    while rest.has_remaining() {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = rest.chunks_vectored(&mut slices);
        let sent = ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices[..count]))?;
        if sent == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        rest.advance(sent);
    }
    Poll::Ready(Ok(()))
}

/// Takes in, one turn's worth, what a client says that does not listen yet; true when there was something. What cannot be
/// had is seen by the next read.
fn hear(stream: &mut impl Stream, input: &mut Intake, cx: &mut Context<'_>) -> bool {
    if !input.is_gathered() || input.len() >= AHEAD_BYTES {
        return false;
    }
    let Ok(most) = input.make_room(0, TURN_BYTES) else { return false };
    let has_heard = matches!(poll_read(stream, input, most, cx), Poll::Ready(Ok(1..)));
    if has_heard {
        // There may be more, when others have had their turn.
        cx.waker().wake_by_ref();
    }
    has_heard
}

/// Lets everybody who has something to do have a turn. A task that yields can be woken before those that the same look at
/// the sockets has found, and would be next again: only the second time is it behind them.
pub(super) async fn give_way() {
    yield_now().await;
    yield_now().await;
}
