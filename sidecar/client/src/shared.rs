//! Reads the cache's memory as it lies, and asks over the socket only for what is not found there.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use synapse_arena::clock::{Clock, boottime_ns};
use synapse_arena::reader::{Look, OpenError, Reader};

use crate::connection::{Connection, Error};
use crate::hangup::Hangup;

/// The longest that an answer over the socket is waited for: longer than the sidecar waits for its Redis.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long the memory is not asked for again when it could not be had: twice as long each time, for it may never be
/// shared, and at most so long, for it may be soon.
const PAUSE_MS: u64 = 100;
const LONGEST_PAUSE_MS: u64 = 3200;
/// One hit in so many is named to the sidecar.
const SAMPLED: u32 = 64;
/// As many hits are told together, or what a second brought.
const TOLD_TOGETHER: u32 = 4096;
const TOLD_EVERY_MS: u64 = 1000;

/// Reads a cache of the same pod: a hit costs no system call, no lock and no answer of the sidecar.
///
/// Each thread has its own. The sidecar may restart, or change its memory: the reader notices, and goes on over the
/// socket until it has the new one.
#[derive(Debug)]
pub struct SharedReader {
    path: PathBuf,
    link: Option<Link>,
    reader: Option<Reader>,
    clock: Clock,
    /// Hits that the sidecar has not been told of, and some of their keys.
    untold: u32,
    sample: Vec<Vec<u8>>,
    told_ms: u64,
    /// Not before this millisecond the memory is asked for again, and how long after that.
    next_try_ms: u64,
    pause_ms: u64,
    why_not: Option<String>,
    retries: u64,
}

#[derive(Debug)]
struct Link {
    connection: Connection,
    hangup: Hangup,
}

impl SharedReader {
    /// Connects to the sidecar at `path` and maps its memory, if it shares it.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, Error> {
        let mut shared = Self {
            path: path.as_ref().to_owned(),
            link: None,
            reader: None,
            clock: Clock::new(),
            untold: 0,
            sample: Vec::new(),
            told_ms: 0,
            next_try_ms: 0,
            pause_ms: PAUSE_MS,
            why_not: None,
            retries: 0,
        };
        shared.link()?;
        shared.map();
        Ok(shared)
    }

    /// Reads a key into `value`, which then holds nothing else; false when there is none.
    ///
    /// # Errors
    /// When the sidecar had to be asked, and did not answer or said why it cannot.
    #[inline]
    pub fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, Error> {
        if let (Some(reader), Some(link)) = (&mut self.reader, &self.link)
            && !link.hangup.is_gone()
        {
            match reader.get(key, self.clock.since(reader.origin_ns()), value) {
                Look::Hit { .. } => {
                    self.untold += 1;
                    if self.untold.is_multiple_of(SAMPLED) {
                        self.sample.push(key.to_vec());
                        self.tell();
                    }
                    return Ok(true);
                }
                Look::Miss | Look::Unsure => {}
                Look::Gone => self.let_go(),
            }
        }
        self.ask(|connection| connection.get(key, value))
    }

    /// Reads keys, and calls `visit` once for each, with its position and its value: first for those that are found in
    /// the memory, then for the others. Far cheaper than one after the other for keys that are not in the processor's
    /// caches, and one question for all that the sidecar must be asked for. `value` is room for a value.
    ///
    /// # Errors
    /// When the sidecar had to be asked, and did not answer or said why it cannot. Then some were not visited.
    pub fn get_many<K: AsRef<[u8]>>(
        &mut self,
        keys: &[K],
        value: &mut Vec<u8>,
        mut visit: impl FnMut(usize, Option<&[u8]>),
    ) -> Result<(), Error> {
        let mut missing = Vec::new();
        let told = self.untold / SAMPLED;
        if let (Some(reader), Some(link)) = (&mut self.reader, &self.link)
            && !link.hangup.is_gone()
        {
            let (untold, sample) = (&mut self.untold, &mut self.sample);
            let mut is_left = false;
            let now = self.clock.since(reader.origin_ns());
            reader.get_many(keys, now, value, |position, look, value| match look {
                Look::Hit { .. } => {
                    *untold += 1;
                    if untold.is_multiple_of(SAMPLED) {
                        sample.push(keys[position].as_ref().to_vec());
                    }
                    visit(position, Some(value));
                }
                Look::Miss | Look::Unsure => missing.push(position),
                Look::Gone => {
                    missing.push(position);
                    is_left = true;
                }
            });
            if is_left {
                self.let_go();
            }
            if self.untold / SAMPLED > told {
                self.tell();
            }
        } else {
            missing.extend(0..keys.len());
        }
        if missing.is_empty() {
            return Ok(());
        }
        let mut answered = 0;
        self.ask(|connection| {
            let asked = missing[answered..].iter().map(|position| keys[*position].as_ref());
            connection.get_many(asked, |found| {
                visit(missing[answered], found);
                answered += 1;
            })
        })
    }

    /// Whether hits are read from the memory now.
    pub fn is_shared(&self) -> bool {
        self.reader.is_some() && self.link.as_ref().is_some_and(|link| !link.hangup.is_gone())
    }

    /// Why the memory is not read, when it could not be had.
    pub fn why_not(&self) -> Option<&str> {
        self.why_not.as_deref()
    }

    /// How often a look-up was begun again, because the sidecar was changing what it looked at.
    pub fn retries(&self) -> u64 {
        self.retries + self.reader.as_ref().map_or(0, Reader::retries)
    }

    /// Has the sidecar answer a question, which may be asked twice.
    #[cold]
    fn ask<R>(&mut self, mut question: impl FnMut(&mut Connection) -> Result<R, Error>) -> Result<R, Error> {
        if self.link.as_ref().is_some_and(|link| link.hangup.is_gone()) {
            self.hang_up();
        }
        let answered = match question(self.link()?) {
            // The sidecar may have restarted since the last question. One that answers too late would do so again.
            Err(Error::Socket(why)) if !is_late(&why) => {
                self.hang_up();
                question(self.link()?)
            }
            answered => answered,
        };
        match answered {
            Err(Error::Socket(_) | Error::NoAnswer(_)) => self.hang_up(),
            _ if self.reader.is_none() => self.map(),
            _ => {}
        }
        answered
    }

    /// The connection, a new one if there is none.
    fn link(&mut self) -> Result<&mut Connection, Error> {
        if self.link.is_none() {
            let connection = Connection::open(&self.path, TIMEOUT)?;
            let hangup = Hangup::of(connection.as_fd().try_clone_to_owned()?);
            self.link = Some(Link { connection, hangup });
        }
        let link = self.link.as_mut().map(|link| &mut link.connection);
        link.ok_or_else(|| Error::Socket(io::ErrorKind::NotConnected.into()))
    }

    /// Asks for the memory, unless that was tried a moment ago.
    fn map(&mut self) {
        let now = boottime_ns() / 1_000_000;
        let Some(link) = self.link.as_mut().filter(|_| now >= self.next_try_ms) else { return };
        self.next_try_ms = now + self.pause_ms;
        match open(&mut link.connection) {
            Ok(reader) => {
                (self.reader, self.why_not) = (Some(reader), None);
                (self.next_try_ms, self.pause_ms) = (now + PAUSE_MS, PAUSE_MS);
            }
            Err(why) => {
                self.why_not = Some(why.to_string());
                self.pause_ms = (self.pause_ms * 2).min(LONGEST_PAUSE_MS);
            }
        }
    }

    fn let_go(&mut self) {
        self.retries += self.reader.take().map_or(0, |reader| reader.retries());
    }

    fn hang_up(&mut self) {
        self.let_go();
        self.link = None;
        // Who answers next may have another configuration, and is asked soon.
        self.pause_ms = PAUSE_MS;
        self.next_try_ms = self.next_try_ms.min(boottime_ns() / 1_000_000 + PAUSE_MS);
    }

    /// Tells the sidecar of hits, if it is time to.
    #[cold]
    fn tell(&mut self) {
        let now = boottime_ns() / 1_000_000;
        if self.untold < TOLD_TOGETHER && now < self.told_ms + TOLD_EVERY_MS {
            return;
        }
        self.told_ms = now;
        let hits = u64::from(std::mem::take(&mut self.untold));
        let told = self.link.as_mut().map(|link| link.connection.served(hits, &self.sample));
        self.sample.clear();
        if let Some(Err(_)) = told {
            // Nobody asked for anything; the next question finds a new connection.
            self.hang_up();
        }
    }
}

impl Drop for SharedReader {
    fn drop(&mut self) {
        if let (1.., Some(link)) = (self.untold, &mut self.link) {
            link.connection.served_last(u64::from(self.untold), &self.sample);
        }
    }
}

/// Why the memory cannot be read.
#[derive(Debug, thiserror::Error)]
enum Unmapped {
    #[error(transparent)]
    Asked(#[from] Error),
    #[error(transparent)]
    Open(#[from] OpenError),
}

fn open(connection: &mut Connection) -> Result<Reader, Unmapped> {
    let memory = connection.map()?;
    Ok(Reader::open(memory.as_fd())?)
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
