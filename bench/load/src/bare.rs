//! A server that keeps nothing: it answers as many bytes as it is asked for, and so shows what the socket itself costs.
//!
//! A request is two little-endian lengths, how many bytes follow and how many to answer, and those bytes.

use std::io::{self, Write};
use std::path::Path;

use mio::net::{UnixListener, UnixStream};
use mio::{Events, Interest, Poll, Token};

use crate::input::{Brought, Input};
use crate::proof::Wrong;
use crate::sizes::LARGEST;

/// What all answers are made of.
const BYTE: u8 = b'b';
const PAGE: [u8; 4096] = [BYTE; 4096];

const LISTENER: Token = Token(usize::MAX);

/// Is this the answer when so many bytes were asked for?
///
/// # Errors
/// When it is not.
pub(crate) fn check(value: &[u8], size: usize) -> Result<(), Wrong> {
    if value.len() != size {
        return Err(Wrong::Length { expected: size, got: value.len() });
    }
    match value.chunks(PAGE.len()).all(|part| part == &PAGE[..part.len()]) {
        true => Ok(()),
        false => Err(Wrong::Content(value.iter().take_while(|byte| **byte == BYTE).count(), size)),
    }
}

/// Serves on a Unix socket until the process ends: reads, answers all that came, writes once, as a cache would.
///
/// # Errors
/// When the socket cannot be had.
pub(crate) fn serve(path: &Path) -> io::Result<()> {
    let mut listener = UnixListener::bind(path)?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut sessions: Vec<Option<Session>> = Vec::new();
    let mut events = Events::with_capacity(1024);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    let place = sessions.iter().position(Option::is_none).unwrap_or(sessions.len());
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut stream, Token(place), interest)?;
                    let session =
                        Some(Session { stream, input: Input::default(), out: Vec::new(), written: 0 });
                    if place == sessions.len() { sessions.push(session) } else { sessions[place] = session }
                }
            } else if let Some(place) = sessions.get_mut(event.token().0)
                && let Some(session) = place
                && !session.serve().unwrap_or(false)
            {
                *place = None;
            }
        }
    }
}

struct Session {
    stream: UnixStream,
    input: Input,
    out: Vec<u8>,
    written: usize,
}

// === impl Session ===

impl Session {
    /// Reads and answers what there is; false when the client left or speaks otherwise.
    fn serve(&mut self) -> io::Result<bool> {
        loop {
            if !self.flush()? {
                return Ok(true);
            }
            let brought = self.input.read(&mut self.stream)?;
            while let Some((asked, taken)) = request(self.input.bytes()) {
                if asked > LARGEST {
                    return Ok(false);
                }
                self.out.extend_from_slice(&(asked as u32).to_le_bytes());
                self.out.resize(self.out.len() + asked, BYTE);
                self.input.take(taken);
            }
            let flushed = self.flush()?;
            match brought {
                Brought::Closed => return Ok(false),
                Brought::All => return Ok(true),
                Brought::Full if !flushed => return Ok(true),
                Brought::Full => {}
            }
        }
    }

    /// Writes what is to be written; false when the socket takes no more for now.
    fn flush(&mut self) -> io::Result<bool> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(true)
    }
}

/// How many bytes a request asks for, and how many it is long; `None` while it is incomplete.
fn request(input: &[u8]) -> Option<(usize, usize)> {
    let (sent, rest) = input.split_first_chunk::<4>()?;
    let (asked, rest) = rest.split_first_chunk::<4>()?;
    let sent = u32::from_le_bytes(*sent) as usize;
    (rest.len() >= sent).then_some((u32::from_le_bytes(*asked) as usize, 8 + sent))
}
