//! The commands that one read brought: arguments side by side, reused from read to read.

use bytes::Bytes;

use crate::limits::KEPT_ARGS;

/// Complete commands in the order of their arrival. Each is a list of arguments, its name first, never empty.
///
/// Arguments are slices of the buffer that was read: no copy, and no allocation for each command once the batch
/// has grown to its usual size.
#[derive(Debug, Default)]
pub struct Batch {
    args: Vec<Bytes>,
    ends: Vec<usize>,
    held: usize,
}

impl Batch {
    /// How many commands there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no command.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The command at `index`; empty when there is none.
    pub fn command(&self, index: usize) -> &[Bytes] {
        let Some(&end) = self.ends.get(index) else { return &[] };
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.args[start..end]
    }

    /// The commands in order.
    pub fn iter(&self) -> impl Iterator<Item = &[Bytes]> {
        (0..self.len()).map(|index| self.command(index))
    }

    /// The size of the buffer that the arguments of one command have to themselves; 0 where none has. Small arguments of
    /// other commands may lie elsewhere.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Says that a command has a buffer of so many bytes to itself.
    pub fn set_held(&mut self, bytes: usize) {
        self.held = bytes;
    }

    /// Lets go of the commands and of the buffers they lie in; keeps the usual room.
    pub fn clear(&mut self) {
        self.args.clear();
        self.args.shrink_to(KEPT_ARGS);
        self.ends.clear();
        self.ends.shrink_to(KEPT_ARGS);
        self.held = 0;
    }

    /// Adds a whole command; one without arguments is none.
    pub fn push<const N: usize>(&mut self, args: [Bytes; N]) {
        if N > 0 {
            self.args.extend(args);
            self.end_command();
        }
    }

    /// Adds an argument to the command being built.
    pub(crate) fn push_arg(&mut self, arg: Bytes) {
        self.args.push(arg);
    }

    /// Ends the command being built.
    pub(crate) fn end_command(&mut self) {
        self.ends.push(self.args.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_come_back_as_they_went_in() {
        let mut batch = Batch::default();
        batch.push([Bytes::from("GET"), Bytes::from("a")]);
        batch.push([]);
        batch.push([Bytes::from("PING")]);
        assert_eq!(batch.len(), 2);
        assert_eq!(batch.command(0), ["GET", "a"]);
        assert_eq!(batch.command(1), ["PING"]);
        assert!(batch.command(2).is_empty());
        batch.clear();
        assert!(batch.is_empty());
    }
}
