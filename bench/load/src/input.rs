//! What was read of a connection and is not yet taken.

use std::io::{self, Read};

/// Room at the beginning.
const ROOM: usize = 16 << 10;

/// With less room than this no read is worth its system call.
const LEAST: usize = 4 << 10;

/// How much one read may bring when answers are large.
const LARGE: usize = 256 << 10;

/// A buffer that is read into at its end and taken from at its beginning.
#[derive(Debug, Default)]
pub(crate) struct Input {
    bytes: Vec<u8>,
    begin: usize,
    end: usize,
}

/// How a read ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Brought {
    /// There may be more.
    Full,
    /// Everything that there was.
    All,
    /// Nothing; the other side closed.
    Closed,
}

// === impl Input ===

impl Input {
    /// What is there.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.begin..self.end]
    }

    /// Takes that many of them away.
    pub(crate) fn take(&mut self, count: usize) {
        self.begin += count;
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
        }
    }

    /// Reads once.
    ///
    /// # Errors
    /// When the read fails.
    pub(crate) fn read(&mut self, source: &mut impl Read) -> io::Result<Brought> {
        self.make_room();
        let room = self.bytes.len() - self.end;
        match source.read(&mut self.bytes[self.end..]) {
            Ok(0) => Ok(Brought::Closed),
            Ok(count) => {
                self.end += count;
                Ok(if count == room { Brought::Full } else { Brought::All })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Brought::All),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Brought::Full),
            Err(error) => Err(error),
        }
    }

    /// Moves the rest to the beginning when the end is reached, and grows when that is not enough.
    fn make_room(&mut self) {
        if self.bytes.len() - self.end < LEAST && self.begin > 0 {
            self.bytes.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
        }
        if self.bytes.len() - self.end < LEAST {
            let more = self.bytes.len().clamp(ROOM, LARGE.max(self.end));
            self.bytes.resize(self.bytes.len() + more, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out(sizes in prop::collection::vec(1..9000_usize, 1..40), share in 1..=100_usize) {
            let mut input = Input::default();
            let (mut written, mut taken) = (Vec::new(), Vec::new());
            for (turn, size) in sizes.into_iter().enumerate() {
                let bytes: Vec<u8> = (0..size).map(|place| (place * 7 + turn) as u8).collect();
                let mut source = &bytes[..];
                while !source.is_empty() {
                    input.read(&mut source).unwrap();
                }
                written.extend(bytes);
                let count = input.bytes().len() * share / 100;
                taken.extend_from_slice(&input.bytes()[..count]);
                input.take(count);
            }
            taken.extend_from_slice(input.bytes());
            prop_assert!(taken == written);
        }
    }
}
