//! One connection from its first byte to its last: read, decode all that came, execute, write once.

use std::io;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use synapse_core::reply::Reply;
use synapse_protocol::batch::Batch;
use synapse_protocol::detect::{Wire, detect};
use synapse_protocol::frame::{self, Answer};
use synapse_protocol::{http, resp};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::answers::{Answers, FrameAnswers, RespAnswers};
use crate::budget::Share;
use crate::drain::Drain;
use crate::execute::{Executor, Progress};
use crate::http_cache;

const GET: Bytes = Bytes::from_static(b"GET");
const SET: Bytes = Bytes::from_static(b"SET");
const EX: Bytes = Bytes::from_static(b"EX");

/// As much room is made for one read: little for a client that says little, so that ten thousand idle ones cost little,
/// and more for one that fills it.
const LEAST_READ_BYTES: usize = 1 << 10;
const MOST_READ_BYTES: usize = 16 << 10;

/// Buffers above this size are given back when they are empty: one large value does not cost memory for ever.
const KEPT_BYTES: usize = 64 << 10;

/// Reads that a session still makes when the end was asked for: what the client had sent by then.
const READS_WHILE_DRAINING: usize = 16;

/// How long a session waits for each of them. What lies in the socket is seen at the next turn of the reactor, not at
/// the moment when the end is asked for.
const DRAIN_QUIET: Duration = Duration::from_millis(20);

/// How long a client may take to read an answer when the end was asked for.
const DRAIN_WRITE: Duration = Duration::from_secs(1);

/// Whether the session goes on after what was read is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Read,
    Close,
}

/// A session.
#[derive(Debug)]
pub(crate) struct Session<S> {
    stream: S,
    executor: Executor,
    input: BytesMut,
    /// What the input holds beyond what every session may keep.
    share: Share,
    drain: Drain,
    reads_left: usize,
    /// The room that is made for the next read.
    room: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// A session on a stream that was just accepted.
    pub(crate) fn new(stream: S, executor: Executor, share: Share, drain: Drain) -> Self {
        let (input, reads_left) = (BytesMut::new(), READS_WHILE_DRAINING);
        Self { stream, executor, input, share, drain, reads_left, room: LEAST_READ_BYTES }
    }

    /// Serves the client until it leaves, says something that ends the connection, or the server drains.
    ///
    /// # Errors
    /// When the connection breaks.
    pub(crate) async fn run(mut self) -> io::Result<()> {
        let wire = loop {
            if let Some(wire) = detect(&self.input) {
                break wire;
            }
            if !self.read().await? {
                return Ok(());
            }
        };
        self.executor.client().metrics().connected(wire);
        match wire {
            Wire::Resp => self.resp().await?,
            Wire::Frames => self.frames().await?,
            Wire::Http => self.http().await?,
        }
        self.stream.shutdown().await
    }

    async fn resp(&mut self) -> io::Result<()> {
        let (mut decoder, mut batch) = (resp::request::Decoder::default(), Batch::default());
        let mut answers = RespAnswers::default();
        loop {
            let decoded = decoder.decode(&mut self.input, &mut batch);
            let mut after = self.execute(&mut batch, &mut answers).await?;
            if let (Err(error), After::Read) = (decoded, after) {
                let refusal = Reply::error_text(format!("ERR {error}"));
                answers.reply(self.executor.client().version, &refusal);
                after = After::Close;
            }
            self.write(&mut answers.out).await?;
            if after == After::Close || !self.read().await? {
                return Ok(());
            }
        }
    }

    async fn frames(&mut self) -> io::Result<()> {
        let (mut batch, mut answers) = (Batch::default(), FrameAnswers::default());
        loop {
            let mut after = After::Read;
            loop {
                let decoded = frame::decode(&mut self.input);
                if let Ok(Some(frame::Request::Get { key })) = decoded {
                    batch.push([GET, key]);
                    continue;
                }
                if let Ok(Some(frame::Request::Set { key, value, ttl_seconds })) = decoded {
                    match ttl_seconds {
                        0 => batch.push([SET, key, value]),
                        ttl => batch.push([SET, key, value, EX, ttl.to_string().into()]),
                    }
                    continue;
                }
                // Whatever else it is, the requests before it are answered first.
                self.execute(&mut batch, &mut answers).await?;
                match decoded {
                    Ok(Some(frame::Request::Refused(why))) => {
                        frame::answer(&mut answers.out, Answer::Err(&why.to_string()));
                    }
                    Err(why) => {
                        frame::answer(&mut answers.out, Answer::Err(&why.to_string()));
                        after = After::Close;
                        break;
                    }
                    Ok(_) => break,
                }
            }
            self.write(&mut answers.out).await?;
            if after == After::Close || !self.read().await? {
                return Ok(());
            }
        }
    }

    async fn http(&mut self) -> io::Result<()> {
        let (mut decoder, mut out) = (http::request::Decoder::default(), BytesMut::new());
        loop {
            let mut after = After::Read;
            loop {
                match decoder.decode(&mut self.input) {
                    Ok(http::request::Step::Incomplete) => break,
                    Ok(http::request::Step::Continue) => http::response::write_continue(&mut out),
                    Ok(http::request::Step::Request(request)) => {
                        http_cache::serve(&mut self.executor, &request, &mut out).await;
                        self.write(&mut out).await?;
                        if !request.head.keep_alive {
                            after = After::Close;
                            break;
                        }
                    }
                    Err(error) => {
                        http_cache::refuse(error, &mut out);
                        after = After::Close;
                        break;
                    }
                }
            }
            self.write(&mut out).await?;
            if after == After::Close || !self.read().await? {
                return Ok(());
            }
        }
    }

    /// Executes a batch and lets go of it. Answers are written in between when they grow large, so that a client that
    /// does not read them holds up nobody but itself; the last of them are left to the caller to write.
    async fn execute(
        &mut self,
        batch: &mut Batch,
        answers: &mut (impl Answers + AsMut<BytesMut>),
    ) -> io::Result<After> {
        if batch.is_empty() {
            return Ok(After::Read);
        }
        let mut at = 0;
        let after = loop {
            let begun = Instant::now();
            let progress = self.executor.execute(batch, at, answers).await;
            self.executor.client().metrics().took(begun.elapsed());
            match progress {
                Progress::Done => break After::Read,
                Progress::Close => break After::Close,
                Progress::Full(next) => at = next,
            }
            self.write(answers.as_mut()).await?;
        };
        batch.clear();
        Ok(after)
    }

    async fn write(&mut self, out: &mut BytesMut) -> io::Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        let mut rest = &out[..];
        let written = tokio::select! {
            biased;
            written = self.stream.write_all_buf(&mut rest) => Some(written),
            () = self.drain.draining() => None,
        };
        match written {
            Some(written) => written?,
            // One client that does not read must not hold up the end for the whole grace period.
            None => timeout(DRAIN_WRITE, self.stream.write_all_buf(&mut rest)).await??,
        }
        out.clear();
        if out.capacity() > KEPT_BYTES {
            *out = BytesMut::new();
        }
        Ok(())
    }

    /// Reads on; false when the client has said all, or the server drains and nothing more is there.
    async fn read(&mut self) -> io::Result<bool> {
        if self.input.is_empty() && self.input.capacity() > KEPT_BYTES {
            self.input = BytesMut::new();
        }
        // An unfinished request grows by what arrived, never by what it announced.
        self.share.hold(self.input.len().saturating_sub(KEPT_BYTES))?;
        self.input.reserve(self.room);
        if !self.drain.is_draining() {
            tokio::select! {
                biased;
                read = self.stream.read_buf(&mut self.input) => return Ok(self.note(read?)),
                () = self.drain.draining() => {}
            }
        }
        if self.reads_left == 0 {
            return Ok(false);
        }
        self.reads_left -= 1;
        match timeout(DRAIN_QUIET, self.stream.read_buf(&mut self.input)).await {
            Ok(read) => Ok(self.note(read?)),
            Err(_) => Ok(false),
        }
    }

    /// Learns from the size of a read how much room the next one needs; false for the last.
    fn note(&mut self, read: usize) -> bool {
        if read >= self.room {
            self.room = (self.room * 4).min(MOST_READ_BYTES);
        } else if read < self.room / 8 {
            self.room = (self.room / 4).max(LEAST_READ_BYTES);
        }
        read > 0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use synapse_core::clock::SystemClock;

    use super::*;
    use crate::backend::Backend;
    use crate::budget::Budget;
    use crate::client::Client;
    use crate::client::registry::Registry;
    use crate::drain;

    #[tokio::test]
    async fn unfinished_requests_end_where_the_budget_does() {
        let (budget, (_signal, drain)) = (Budget::new(1 << 20), drain::channel());
        let backend = Arc::new(Backend::memory(SystemClock::start(), 1 << 20, None));
        let client = Client::new(Registry::enter(&Arc::default()), Arc::default());
        let (mut near, far) = tokio::io::duplex(64 << 10);
        let session = Session::new(far, Executor::new(backend, client), budget.share(), drain);
        let session = tokio::spawn(session.run());
        near.write_all(b"*2\r\n$4\r\nECHO\r\n$50000000\r\n").await.unwrap();
        let mut written = 0;
        while near.write_all(&[0; 10_000]).await.is_ok() {
            written += 10_000;
        }
        assert!((1 << 20..3 << 20).contains(&written), "{written} bytes were taken");
        assert_eq!(session.await.unwrap().unwrap_err().kind(), io::ErrorKind::OutOfMemory);
    }
}
