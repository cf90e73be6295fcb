//! One thread's part of a load: it keeps its connections busy, or on time, and takes every answer.

use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use crate::args::Misses;
use crate::connection::{Connection, Request};
use crate::encoder::{Encoder, Operation, Verdict};
use crate::failure::Failure;
use crate::pace::{Pace, Schedule};
use crate::plan::Plan;
use crate::popularity::Draw;
use crate::stream::Watch;
use crate::tally::Tally;

/// How long one wait lasts at most: so often is looked whether the server hangs.
const GLANCE: Duration = Duration::from_millis(100);

/// A worker.
#[derive(Debug)]
pub(crate) struct Worker<'a> {
    plan: &'a Plan,
    encoder: &'a Encoder,
    poll: Poll,
    connections: Vec<Connection>,
    origin: Instant,
    /// How many requests a connection has in flight at most.
    pipeline: usize,
    /// Requests of all connections without an answer so far.
    outstanding: usize,
    /// The connection whose turn is next in an open loop.
    turn: usize,
    /// Keys that were missed and are to be stored.
    owed: Vec<Request>,
}

/// What a worker asks for.
#[derive(Debug)]
pub(crate) enum Work<'a> {
    /// Every key is stored, from the first one on, every so many, up to an end.
    Fill {
        /// The next key.
        next: u64,
        /// The step to the one after it.
        step: u64,
        /// Beyond the last key.
        end: u64,
    },
    /// Keys as they are drawn.
    Load {
        /// Where they come from.
        draw: &'a mut Draw,
        /// Until so many are asked for.
        count: u64,
        /// Until then (ns of the worker's clock).
        until_ns: u64,
    },
}

// === impl Worker ===

impl<'a> Worker<'a> {
    /// Opens that many connections.
    ///
    /// # Errors
    /// When the server does not accept them.
    pub(crate) fn new(plan: &'a Plan, encoder: &'a Encoder, connections: usize) -> Result<Self, Failure> {
        let poll = Poll::new().map_err(Failure::Poll)?;
        let connections = (0..connections)
            .map(|number| {
                let mut stream = plan.address.connect()?;
                let watch = Watch::begin(poll.registry(), Token(number), &mut stream)?;
                Ok(Connection::new(stream, watch, plan.write))
            })
            .enumerate()
            .map(|(number, opened)| {
                opened.map_err(|error| Failure::Connect(plan.address.to_string(), number + 1, error))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            plan,
            encoder,
            poll,
            connections,
            origin: Instant::now(),
            pipeline: 1,
            outstanding: 0,
            turn: 0,
            owed: Vec::new(),
        })
    }

    /// Nanoseconds on the worker's clock.
    pub(crate) fn now(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    /// Does the work at this pace, so many requests in flight on a connection at most, until it ends and every answer
    /// has come.
    ///
    /// # Errors
    /// At the first wrong answer, and when the server hangs or leaves.
    pub(crate) fn drive(
        &mut self,
        mut work: Work<'_>,
        mut pace: Pace,
        pipeline: usize,
    ) -> Result<Tally, Failure> {
        let mut tally = Tally::new();
        let mut events = Events::with_capacity(1024);
        let mut heard = Instant::now();
        self.pipeline = pipeline;
        if let Pace::Closed = pace {
            for number in 0..self.connections.len() {
                self.send(number, &mut work, &pace)?;
            }
        }
        loop {
            if let Pace::Open(schedule) = &mut pace {
                self.issue(&mut work, schedule)?;
            }
            if self.outstanding == 0 && pace.is_over() {
                return Ok(tally);
            }
            match self.poll.poll(&mut events, Some(self.pause(&pace))) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(Failure::Poll(error)),
                _ => {}
            }
            if !events.is_empty() || self.outstanding == 0 {
                heard = Instant::now();
            } else if heard.elapsed() > self.plan.timeout {
                return Err(Failure::Stalled(self.outstanding, self.plan.timeout));
            }
            for event in &events {
                let number = event.token().0;
                if event.is_readable() || event.is_error() {
                    self.receive(number, &mut tally)?;
                }
                if event.is_read_closed() {
                    return Err(Failure::Closed(self.outstanding));
                }
                self.send(number, &mut work, &pace)?;
            }
        }
    }

    /// Hands what is due to the connections in turn, and sends it.
    fn issue(&mut self, work: &mut Work<'_>, schedule: &mut Schedule) -> Result<(), Failure> {
        let (now, all) = (self.now(), self.connections.len());
        let mut issued = 0;
        while let Some(since_ns) = schedule.due(now) {
            match work.next(self.plan.gets, since_ns) {
                Some((operation, key)) => {
                    let request = Request { operation, key, since_ns };
                    self.connections[(self.turn + issued) % all].waiting.push_back(request);
                    issued += 1;
                }
                None => schedule.end(),
            }
        }
        for number in 0..issued.min(all) {
            self.send_waiting((self.turn + number) % all)?;
        }
        self.turn = (self.turn + issued) % all;
        Ok(())
    }

    /// How long to wait for the server.
    fn pause(&self, pace: &Pace) -> Duration {
        match pace {
            _ if self.plan.spin => Duration::ZERO,
            Pace::Closed => GLANCE,
            Pace::Open(schedule) => schedule.pause(self.now(), GLANCE),
        }
    }

    /// Sends what this connection may send now.
    fn send(&mut self, number: usize, work: &mut Work<'_>, pace: &Pace) -> Result<(), Failure> {
        match pace {
            Pace::Open(_) => self.send_waiting(number),
            Pace::Closed if self.connections[number].outstanding() > 0 => {
                self.connections[number].flush(self.poll.registry())
            }
            Pace::Closed => {
                let since_ns = self.now();
                let connection = &mut self.connections[number];
                while connection.outstanding() < self.pipeline {
                    let next = match connection.waiting.pop_front() {
                        Some(owed) => Some((owed.operation, owed.key)),
                        None => work.next(self.plan.gets, since_ns),
                    };
                    let Some((operation, key)) = next else { break };
                    connection.push(self.encoder, Request { operation, key, since_ns });
                }
                self.outstanding += connection.outstanding();
                connection.flush(self.poll.registry())
            }
        }
    }

    fn send_waiting(&mut self, number: usize) -> Result<(), Failure> {
        let connection = &mut self.connections[number];
        while connection.outstanding() < self.pipeline
            && let Some(request) = connection.waiting.pop_front()
        {
            connection.push(self.encoder, request);
            self.outstanding += 1;
        }
        connection.flush(self.poll.registry())
    }

    fn receive(&mut self, number: usize, tally: &mut Tally) -> Result<(), Failure> {
        let (plan, encoder, origin) = (self.plan, self.encoder, self.origin);
        let (outstanding, owed) = (&mut self.outstanding, &mut self.owed);
        let clock = || origin.elapsed().as_nanos() as u64;
        self.connections[number].receive(encoder, clock, |request, hit, now_ns| {
            *outstanding -= 1;
            tally.answered(request.operation, hit, now_ns.saturating_sub(request.since_ns));
            match plan.misses {
                _ if hit => {}
                Misses::Count => {}
                // What was not stored is missed again when it is asked for the next time.
                Misses::Store if request.operation == Operation::Set => {}
                Misses::Store => {
                    owed.push(Request { operation: Operation::Set, key: request.key, since_ns: now_ns });
                }
                Misses::Fail => {
                    let key = encoder.key(request.key);
                    let verdict = match request.operation {
                        Operation::Get => Verdict::Miss,
                        Operation::Set => Verdict::NoRoom,
                    };
                    return Err(Failure::judged(request.operation, &key, verdict));
                }
            }
            Ok(())
        })?;
        self.connections[number].waiting.extend(self.owed.drain(..));
        Ok(())
    }
}

// === impl Work ===

impl Work<'_> {
    /// The next request; `None` when the work is done.
    fn next(&mut self, gets: f64, now_ns: u64) -> Option<(Operation, u64)> {
        match self {
            Self::Fill { next, step, end } => {
                let key = *next;
                *next += *step;
                (key < *end).then_some((Operation::Set, key))
            }
            Self::Load { draw, count, until_ns } => {
                if *count == 0 || now_ns >= *until_ns {
                    return None;
                }
                *count -= 1;
                let operation = if draw.chance(gets) { Operation::Get } else { Operation::Set };
                Some((operation, draw.key()))
            }
        }
    }
}
