//! One connection: what is to be written, what is to be answered, what was read.

use std::collections::VecDeque;
use std::io::{self, Write};

use mio::Registry;

use crate::encoder::{Encoder, Operation, Verdict};
use crate::failure::{Failure, excerpt};
use crate::input::{Brought, Input};
use crate::stream::{Stream, Watch};

/// A request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    /// What is asked.
    pub(crate) operation: Operation,
    /// The number of the key.
    pub(crate) key: u64,
    /// When it was sent, or in an open loop was due (ns of the worker's clock).
    pub(crate) since_ns: u64,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    watch: Watch,
    /// Requests that are due but not yet sent.
    pub(crate) waiting: VecDeque<Request>,
    input: Input,
    /// The most bytes of one write.
    most: usize,
    out: Vec<u8>,
    written: usize,
    expected: VecDeque<Request>,
}

// === impl Connection ===

impl Connection {
    /// A connection on a stream that was just opened, which writes at most so many bytes at once.
    pub(crate) fn new(stream: Stream, watch: Watch, most: usize) -> Self {
        Self {
            stream,
            watch,
            waiting: VecDeque::new(),
            input: Input::default(),
            most,
            out: Vec::new(),
            written: 0,
            expected: VecDeque::new(),
        }
    }

    /// Requests without an answer so far.
    pub(crate) fn outstanding(&self) -> usize {
        self.expected.len()
    }

    /// Adds a request to what the next [`Self::flush`] writes.
    pub(crate) fn push(&mut self, encoder: &Encoder, request: Request) {
        encoder.write(&mut self.out, request.operation, request.key);
        self.expected.push_back(request);
    }

    /// Writes as much as the socket takes; for the rest, the kernel tells when there is room again.
    ///
    /// # Errors
    /// When the connection broke.
    pub(crate) fn flush(&mut self, registry: &Registry) -> Result<(), Failure> {
        self.write()?;
        self.watch.room(registry, &mut self.stream, !self.out.is_empty()).map_err(Failure::Poll)
    }

    fn write(&mut self) -> Result<(), Failure> {
        while self.written < self.out.len() {
            let rest = &self.out[self.written..];
            match self.stream.write(&rest[..rest.len().min(self.most)]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::Broken(self.expected.len(), error)),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads what there is and checks every answer in it. `answered` is told of each that is right, of misses, of
    /// values that were not stored for want of room, and of when it came, as `clock` says.
    ///
    /// # Errors
    /// When an answer is wrong, or `answered` says so of a miss, or the connection broke.
    pub(crate) fn receive(
        &mut self,
        encoder: &Encoder,
        clock: impl Fn() -> u64,
        mut answered: impl FnMut(Request, bool, u64) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        loop {
            let brought = self.input.read(&mut self.stream);
            let brought = brought.map_err(|error| Failure::Broken(self.expected.len(), error))?;
            let now_ns = clock();
            let mut begin = 0;
            let bytes = self.input.bytes();
            loop {
                let rest = &bytes[begin..];
                let cut = encoder.wire().cut(rest).map_err(|_| Failure::Malformed(excerpt(rest)))?;
                let Some((answer, taken)) = cut else { break };
                let Some(request) = self.expected.pop_front() else {
                    return Err(Failure::Surplus(excerpt(&rest[..taken])));
                };
                match encoder.judge(request.operation, request.key, answer) {
                    Verdict::Right => answered(request, true, now_ns)?,
                    Verdict::Miss | Verdict::NoRoom => answered(request, false, now_ns)?,
                    verdict => {
                        return Err(Failure::judged(request.operation, &encoder.key(request.key), verdict));
                    }
                }
                begin += taken;
            }
            self.input.take(begin);
            match brought {
                Brought::Closed => return Err(Failure::Closed(self.expected.len())),
                Brought::All => return Ok(()),
                Brought::Full => {}
            }
        }
    }
}
