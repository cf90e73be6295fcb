//! One connection from its first byte to its last: read, decode all that came, execute, write once.

#[cfg(test)]
mod large_tests;
mod transfer;

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use synapse_core::reply::Reply;
use synapse_protocol::batch::Batch;
use synapse_protocol::detect::{Wire, detect};
use synapse_protocol::frame::{self, Answer};
use synapse_protocol::plain::Look;
use synapse_protocol::{http, resp};
use tokio::io::AsyncWriteExt;

use crate::answers::{Answers, FrameAnswers, RespAnswers};
use crate::budget::Share;
use crate::drain::{Drain, Draining};
use crate::execute::{Executor, Next, Progress};
use crate::http_cache;
use crate::intake::Intake;
use crate::outbox::Outbox;
use crate::session::transfer::{READS_WHILE_DRAINING, give_way};
use crate::stream::Stream;

const GET: Bytes = Bytes::from_static(b"GET");
const SET: Bytes = Bytes::from_static(b"SET");
const EX: Bytes = Bytes::from_static(b"EX");

/// Why plain requests are no longer answered one turn after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pause {
    /// Many answers wait: they are written, and others have their turn.
    Answers,
    /// Answers that the client did not take at once, or a read that [`Session::poll_more`] leaves to [`Session::read`].
    Input,
    /// A request for the decoder.
    Other,
}

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
    input: Intake,
    drain: Draining,
    reads_left: usize,
    /// Whether the last read filled its room: then there is more, and others have their turn first.
    is_filled: bool,
    /// Whether something was read since the input was last looked at.
    is_ahead: bool,
    /// Bytes that a request whose beginning has come still lacks, as far as that is known.
    missing: usize,
}

impl<S: Stream> Session<S> {
    /// A session on a stream that was just accepted.
    pub(crate) fn new(stream: S, executor: Executor, share: Share, drain: &Drain) -> Self {
        let rooms = Arc::clone(&executor.backend().rooms);
        let (input, reads_left) = (Intake::new(rooms, share), READS_WHILE_DRAINING);
        Self {
            stream,
            executor,
            input,
            drain: drain.watch(),
            reads_left,
            is_filled: false,
            is_ahead: false,
            missing: 0,
        }
    }

    /// Serves the client until it leaves, says something that ends the connection, or the server drains.
    ///
    /// # Errors
    /// When the connection breaks.
    pub(crate) async fn run(mut self) -> io::Result<()> {
        let mut nothing = self.outbox();
        let wire = loop {
            if let Some(wire) = detect(&self.input) {
                break wire;
            }
            if !self.read(&mut nothing).await? {
                return Ok(());
            }
        };
        self.executor.client().metrics().connected(wire);
        let served = match wire {
            Wire::Resp => self.resp().await,
            Wire::Frames => self.frames().await,
            // What only this wire needs would otherwise be reserved in every session.
            Wire::Http => Box::pin(self.http()).await,
        };
        match served {
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                self.refuse(wire, &error.to_string()).await?;
                Err(error)
            }
            Err(error) => Err(error),
            Ok(()) => self.stream.shutdown().await,
        }
    }

    async fn resp(&mut self) -> io::Result<()> {
        let (mut decoder, mut batch) = (resp::request::Decoder::default(), Batch::default());
        let mut answers = RespAnswers { out: self.outbox() };
        loop {
            let (taken, pause) = self.plain(resp::plain::look, &mut answers).await?;
            if taken > 0 || pause == Pause::Input {
                // What it knows of the beginning of the input is no longer the beginning, or not needed.
                decoder.reset();
            }
            if pause == Pause::Input {
                self.write(&mut answers.out).await?;
                if !self.read(&mut answers.out).await? {
                    return self.write_all(&mut answers.out).await;
                }
                continue;
            }
            let decoded = decoder.decode(&mut self.input, &mut batch);
            batch.set_held(self.input.held());
            self.missing = decoder.missing(self.input.len());
            let mut after = self.execute(&mut batch, &mut answers).await?;
            if let (Err(error), After::Read) = (decoded, after) {
                let refusal = Reply::error_text(format!("ERR {error}"));
                answers.reply(self.executor.client().version, &refusal);
                after = After::Close;
            }
            self.write(&mut answers.out).await?;
            if after == After::Close || !self.read(&mut answers.out).await? {
                return self.write_all(&mut answers.out).await;
            }
        }
    }

    async fn frames(&mut self) -> io::Result<()> {
        let (mut batch, mut answers) = (Batch::default(), FrameAnswers { out: self.outbox() });
        loop {
            if let (_, Pause::Input) = self.plain(frame::look, &mut answers).await? {
                self.write(&mut answers.out).await?;
                if !self.read(&mut answers.out).await? {
                    return self.write_all(&mut answers.out).await;
                }
                continue;
            }
            let mut after = After::Read;
            loop {
                let decoded = frame::decode(&mut self.input);
                let held = self.input.held();
                if let Ok(Some(frame::Request::Get { key })) = decoded {
                    batch.push([GET, key]);
                    continue;
                }
                if let Ok(Some(frame::Request::Set { key, value, ttl_seconds })) = decoded {
                    match ttl_seconds {
                        0 => batch.push([SET, key, value]),
                        ttl => batch.push([SET, key, value, EX, ttl.to_string().into()]),
                    }
                    batch.set_held(held.max(batch.held()));
                    continue;
                }
                // Whatever else it is, the requests before it are answered first.
                self.execute(&mut batch, &mut answers).await?;
                match decoded {
                    Ok(Some(frame::Request::Map)) => {
                        self.write_all(&mut answers.out).await?;
                        self.hand_over_memory(&mut answers.out.small).await?;
                    }
                    Ok(Some(frame::Request::Served { hits, sample })) => {
                        self.executor.backend().served(hits, &sample);
                        frame::answer(&mut answers.out.small, Answer::Ok);
                    }
                    Ok(Some(frame::Request::Refused(why))) => {
                        frame::answer(&mut answers.out.small, Answer::Err(&why.to_string()));
                    }
                    Err(why) => {
                        frame::answer(&mut answers.out.small, Answer::Err(&why.to_string()));
                        after = After::Close;
                        break;
                    }
                    Ok(_) => break,
                }
            }
            self.write(&mut answers.out).await?;
            if after == After::Close || !self.read(&mut answers.out).await? {
                return self.write_all(&mut answers.out).await;
            }
        }
    }

    async fn http(&mut self) -> io::Result<()> {
        let (mut decoder, mut out) = (http::request::Decoder::default(), self.outbox());
        loop {
            let mut after = After::Read;
            loop {
                match decoder.decode(&mut self.input) {
                    Ok(http::request::Step::Incomplete) => {
                        self.missing = decoder.missing(self.input.len());
                        break;
                    }
                    Ok(http::request::Step::Continue) => http::response::write_continue(&mut out.small),
                    Ok(http::request::Step::Request(request)) => {
                        let held = self.input.held();
                        http_cache::serve(&mut self.executor, &request, held, &mut out).await;
                        self.write_all(&mut out).await?;
                        if !request.head.keep_alive {
                            after = After::Close;
                            break;
                        }
                    }
                    Err(error) => {
                        http_cache::refuse(error.status(), &error.to_string(), &mut out.small);
                        after = After::Close;
                        break;
                    }
                }
            }
            self.write_all(&mut out).await?;
            if after == After::Close || !self.read(&mut out).await? {
                return Ok(());
            }
        }
    }

    /// Answers plain requests until something else is to be done, and says how many bytes they were and what that is.
    async fn plain(
        &mut self,
        look: impl Fn(&[u8]) -> Look<'_> + Copy,
        answers: &mut (impl Answers + AsMut<Outbox>),
    ) -> io::Result<(usize, Pause)> {
        let mut taken = 0;
        loop {
            match poll_fn(|cx| self.poll_plain(look, answers, &mut taken, cx)).await? {
                Pause::Answers => {
                    self.write(answers.as_mut()).await?;
                    answers.as_mut().rest();
                    give_way().await;
                }
                pause => return Ok((taken, pause)),
            }
        }
    }

    /// Takes turns: answers what came, sends the answers, reads on. It is what most sessions do most of the time, so it
    /// is one function that waits at one place; whatever is out of the ordinary is done by others.
    fn poll_plain(
        &mut self,
        look: impl Fn(&[u8]) -> Look<'_> + Copy,
        answers: &mut (impl Answers + AsMut<Outbox>),
        taken: &mut usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Pause>> {
        loop {
            self.missing = 0;
            // Who was woken has nothing yet.
            if !self.input.is_empty() {
                answers.as_mut().open();
                let done = self.executor.front(look, &self.input, answers);
                self.input.advance(done.taken);
                *taken += done.taken;
                match done.next {
                    Next::Full => return Poll::Ready(Ok(Pause::Answers)),
                    Next::Other => return Poll::Ready(Ok(Pause::Other)),
                    Next::Part(missing) => self.missing = missing,
                }
            }
            if !self.send(answers.as_mut())? || !ready!(self.poll_more(answers.as_mut(), cx))? {
                return Poll::Ready(Ok(Pause::Input));
            }
        }
    }

    /// Executes a batch and lets go of it. Answers are written in between when they grow large, so that a client that
    /// does not read them holds up nobody but itself; the last of them are left to the caller to write.
    async fn execute(
        &mut self,
        batch: &mut Batch,
        answers: &mut (impl Answers + AsMut<Outbox>),
    ) -> io::Result<After> {
        if batch.is_empty() {
            return Ok(After::Read);
        }
        let mut at = 0;
        let after = loop {
            let begun = Instant::now();
            answers.as_mut().open();
            let progress = self.executor.execute(batch, at, answers).await;
            self.executor.client().metrics().took(begun.elapsed());
            match progress {
                Progress::Done => break After::Read,
                Progress::Close => break After::Close,
                Progress::Full(next) => at = next,
            }
            self.write(answers.as_mut()).await?;
            answers.as_mut().rest();
            give_way().await;
        };
        batch.clear();
        Ok(after)
    }
}

#[cfg(test)]
mod tests {
    use synapse_core::clock::SystemClock;
    use synapse_engine::arena_tier::ArenaTier;

    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::backend::Backend;
    use crate::budget::Budget;
    use crate::client::Client;
    use crate::client::registry::Registry;
    use crate::drain;

    #[tokio::test]
    async fn a_request_that_finds_no_room_is_told_so_and_ends_its_connection() {
        for (head, answer) in [
            (&b"*2\r\n$4\r\nECHO\r\n$3000000\r\n"[..], "-ERR request too large: "),
            (b"\x00\x30\x00\x00\x02\x01\x00", "request too large: "),
            (b"PUT /cache/a HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n", "HTTP/1.1 413 "),
        ] {
            let (budget, (_signal, drain)) = (Budget::new(1 << 20), drain::channel());
            let backend =
                Arc::new(Backend::memory(SystemClock::start(), ArenaTier::new(1 << 20).unwrap(), None));
            let client = Client::new(Registry::enter(&Arc::default()), Arc::default());
            let (mut near, far) = tokio::io::duplex(64 << 10);
            let session = Session::new(far, Executor::new(backend, client), budget.share(), &drain);
            let session = tokio::spawn(session.run());
            // All of it is taken from the client, though only a third is kept.
            near.write_all(head).await.unwrap();
            near.write_all(&vec![0; 2_999_000]).await.unwrap();
            near.shutdown().await.unwrap();
            let mut answered = Vec::new();
            near.read_to_end(&mut answered).await.unwrap();
            let answered = String::from_utf8_lossy(&answered).into_owned();
            assert!(answered.contains(answer), "{answered}");
            assert_eq!(session.await.unwrap().unwrap_err().kind(), io::ErrorKind::OutOfMemory);
            assert!(budget.share().hold(1 << 20).is_ok(), "what it held is given back");
        }
    }
}
