//! A server that keeps nothing: it answers as many bytes as it is asked for, and so shows what the socket itself costs.
//!
//! A request is two little-endian lengths, how many bytes follow and how many to answer, and those bytes.

use std::io::{self, Write};
use std::path::Path;

use mio::net::{UnixListener, UnixStream};
use mio::{Events, Interest, Poll, Registry, Token};

use crate::input::{Brought, Input};
use crate::proof::Wrong;
use crate::sizes::LARGEST;
use crate::stream::Watch;

/// What all answers are made of.
const BYTE: u8 = b'b';
const PAGE: [u8; 4096] = [BYTE; 4096];

/// Answers from this size on are written from where they always are, as a cache would write a value from its memory.
const LARGE: usize = 16 << 10;

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
    let large = vec![BYTE; LARGEST];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    let place = sessions.iter().position(Option::is_none).unwrap_or(sessions.len());
                    let watch = Watch::begin(poll.registry(), Token(place), &mut stream)?;
                    let session = Some(Session {
                        stream,
                        watch,
                        input: Input::default(),
                        out: Vec::new(),
                        written: 0,
                        owed: 0,
                    });
                    if place == sessions.len() { sessions.push(session) } else { sessions[place] = session }
                }
            } else if let Some(place) = sessions.get_mut(event.token().0)
                && let Some(session) = place
                && !session.turn(poll.registry(), &large).unwrap_or(false)
            {
                *place = None;
            }
        }
    }
}

struct Session {
    stream: UnixStream,
    watch: Watch,
    input: Input,
    out: Vec<u8>,
    written: usize,
    /// Bytes of a large answer that follow what is in `out`.
    owed: usize,
}

// === impl Session ===

impl Session {
    /// Serves, and has the kernel tell of room if it lacks; false when the client left or speaks otherwise.
    fn turn(&mut self, registry: &Registry, large: &[u8]) -> io::Result<bool> {
        let goes_on = self.serve(large)?;
        let lacks_room = self.owed > 0 || !self.out.is_empty();
        self.watch.room(registry, &mut self.stream, lacks_room)?;
        Ok(goes_on)
    }

    /// Reads and answers what there is; false when the client left or speaks otherwise.
    fn serve(&mut self, large: &[u8]) -> io::Result<bool> {
        loop {
            if !self.answer(large)? {
                return Ok(true);
            }
            match self.input.read(&mut self.stream)? {
                Brought::Closed => return Ok(false),
                Brought::All => return self.answer(large).map(|_| true),
                Brought::Full => {}
            }
        }
    }

    /// Answers all whole requests that were read; false when the socket takes no more for now.
    fn answer(&mut self, large: &[u8]) -> io::Result<bool> {
        loop {
            while self.owed == 0
                && let Some((asked, taken)) = request(self.input.bytes())
            {
                if asked > LARGEST {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                self.out.extend_from_slice(&(asked as u32).to_le_bytes());
                if asked < LARGE {
                    self.out.resize(self.out.len() + asked, BYTE);
                } else {
                    self.owed = asked;
                }
                self.input.take(taken);
            }
            if self.out.is_empty() {
                return Ok(true);
            }
            if !self.flush(large)? {
                return Ok(false);
            }
        }
    }

    /// Writes what is to be written; false when the socket takes no more for now.
    fn flush(&mut self, large: &[u8]) -> io::Result<bool> {
        while self.written < self.out.len() || self.owed > 0 {
            let small = &self.out[self.written..];
            match self.stream.write(if small.is_empty() { &large[..self.owed] } else { small }) {
                Ok(count) if small.is_empty() => self.owed -= count,
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
