//! A connection to the sidecar in Synapse frames: one request, one answer.

use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use rustix::io::retry_on_intr;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg, send};
use synapse_protocol::frame::client::{self as frame, Answered, NoAnswer, TooLong};

/// Room that is made for one read.
const READ_BYTES: usize = 16 << 10;
/// Questions of as many bytes are sent together: a socket holds them, though nobody reads its answers yet.
const SENT_TOGETHER_BYTES: usize = 16 << 10;
/// Buffers above this size are given back when they are empty.
const KEPT_BYTES: usize = 64 << 10;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The sidecar cannot be reached, or the connection broke. Whether a write took place is unknown.
    #[error("the cache's socket: {0}")]
    Socket(#[from] io::Error),
    /// The sidecar says that it did not work, and why.
    #[error("the cache answers: {0}")]
    Refused(String),
    /// What came is no answer. The connection is of no use any more.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    /// Key and value do not fit into a frame. Nothing was sent.
    #[error(transparent)]
    TooLong(#[from] TooLong),
}

/// A connection. After an error other than [`Error::Refused`] and [`Error::TooLong`] it is of no use any more.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    out: BytesMut,
    input: BytesMut,
    /// Answers to what was said without waiting for them.
    unread: usize,
}

impl Connection {
    /// Connects to the socket at `path`. An answer that takes longer than `timeout` is an error.
    ///
    /// # Errors
    /// When there is nobody.
    pub fn open(path: &Path, timeout: Duration) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(Self { stream, out: BytesMut::new(), input: BytesMut::new(), unread: 0 })
    }

    /// Reads a key into `value`, which then holds nothing else; false when there is none.
    ///
    /// # Errors
    /// [`Error`].
    pub fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, Error> {
        value.clear();
        let mut is_hit = false;
        self.get_many([key], |found| {
            is_hit = found.is_some();
            found.into_iter().for_each(|found| value.extend_from_slice(found));
        })?;
        Ok(is_hit)
    }

    /// Reads keys, and calls `visit` with the value of each, in order. They are asked for without waiting for one another.
    ///
    /// # Errors
    /// [`Error`], of the first key that was not visited.
    pub fn get_many<'k>(
        &mut self,
        keys: impl IntoIterator<Item = &'k [u8]>,
        mut visit: impl FnMut(Option<&[u8]>),
    ) -> Result<(), Error> {
        let mut keys = keys.into_iter();
        loop {
            let mut asked = 0;
            while self.out.len() < SENT_TOGETHER_BYTES
                && let Some(key) = keys.next()
            {
                if let Err(too_long) = frame::get(&mut self.out, key) {
                    self.out.clear();
                    return Err(too_long.into());
                }
                asked += 1;
            }
            if asked == 0 {
                return Ok(());
            }
            self.send()?;
            while asked > 0 {
                asked -= 1;
                let answered = self.answer(|answered| {
                    let found = match answered {
                        Answered::Hit(found) => Some(found),
                        Answered::Miss => None,
                        other => return Err(unexpected(other)),
                    };
                    visit(found);
                    Ok(())
                })?;
                if let Err(error) = answered {
                    self.unread += asked;
                    return Err(error);
                }
            }
        }
    }

    /// Stores a value, for ever or for a whole number of seconds, at least one.
    ///
    /// # Errors
    /// [`Error`].
    pub fn set(&mut self, key: &[u8], value: &[u8], time_to_live: Option<Duration>) -> Result<(), Error> {
        let seconds = time_to_live.map_or(0, |time| time.as_secs().max(1));
        frame::set(&mut self.out, key, value, seconds)?;
        self.send()?;
        self.answer(done)?
    }

    /// Asks for the memory of the cache.
    ///
    /// # Errors
    /// [`Error::Refused`] where it is not shared.
    pub fn map(&mut self) -> Result<OwnedFd, Error> {
        // Before it is asked: a descriptor beside the end of another answer would be lost.
        while self.unread > 0 {
            self.skip()?;
        }
        frame::map(&mut self.out);
        self.send()?;
        let mut memory = None;
        loop {
            if let Some((answered, length)) = frame::answered(&self.input)? {
                let done = done(answered);
                self.input.advance(length);
                done?;
                return memory.ok_or_else(|| Error::Refused("OK without a descriptor".to_owned()));
            }
            let start = self.input.len();
            self.input.resize(start + READ_BYTES, 0);
            let (read, came) = receive(&self.stream, &mut self.input[start..])?;
            self.input.truncate(start + read);
            memory = came.or(memory);
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    /// Tells how many keys were found in the memory, and some of them. The answer is not waited for.
    ///
    /// # Errors
    /// [`Error`].
    pub fn served(&mut self, hits: u64, sample: &[Vec<u8>]) -> Result<(), Error> {
        while self.unread > 0 {
            self.skip()?;
        }
        frame::served(&mut self.out, hits, sample)?;
        self.send()?;
        self.unread += 1;
        Ok(())
    }

    /// As [`Connection::served`], before the connection is given up: nothing is waited for, and what the socket does not
    /// take at once is not told.
    pub fn served_last(&mut self, hits: u64, sample: &[Vec<u8>]) {
        if frame::served(&mut self.out, hits, sample).is_ok() {
            let _ = send(&self.stream, &self.out, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
        self.out.clear();
    }

    fn send(&mut self) -> io::Result<()> {
        let sent = self.stream.write_all(&self.out);
        self.out.clear();
        if self.out.capacity() > KEPT_BYTES {
            self.out = BytesMut::new();
        }
        sent
    }

    /// The next answer that somebody waits for.
    fn answer<R>(&mut self, mut take: impl FnMut(Answered<'_>) -> R) -> Result<R, Error> {
        while self.unread > 0 {
            self.skip()?;
        }
        self.next(&mut take)
    }

    /// Reads an answer that nobody waits for.
    fn skip(&mut self) -> Result<(), Error> {
        self.unread -= 1;
        self.next(&mut |_| ())
    }

    fn next<R>(&mut self, take: &mut impl FnMut(Answered<'_>) -> R) -> Result<R, Error> {
        loop {
            if let Some((answered, length)) = frame::answered(&self.input)? {
                let taken = take(answered);
                self.input.advance(length);
                if self.input.is_empty() && self.input.capacity() > KEPT_BYTES {
                    self.input = BytesMut::new();
                }
                return Ok(taken);
            }
            let start = self.input.len();
            self.input.resize(start + READ_BYTES, 0);
            // A signal interrupts it even where its handler restarts calls, for there is a timeout.
            let read = loop {
                match self.stream.read(&mut self.input[start..]) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    read => break read,
                }
            };
            self.input.truncate(start + read.as_ref().map_or(0, |read| *read));
            if read? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A duplicate may still be watched: it sees the end, and so does the sidecar.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn done(answered: Answered<'_>) -> Result<(), Error> {
    match answered {
        Answered::Ok => Ok(()),
        other => Err(unexpected(other)),
    }
}

fn unexpected(answered: Answered<'_>) -> Error {
    match answered {
        Answered::Err(why) => Error::Refused(String::from_utf8_lossy(why).into_owned()),
        _ => Error::NoAnswer(NoAnswer),
    }
}

/// Reads bytes, and the descriptor that came with them if one did.
fn receive(stream: &UnixStream, into: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let received = retry_on_intr(|| {
        recvmsg(stream, &mut [IoSliceMut::new(into)], &mut beside, RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut descriptor = None;
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
            descriptor = descriptors.next();
        }
    }
    Ok((received.bytes, descriptor))
}
