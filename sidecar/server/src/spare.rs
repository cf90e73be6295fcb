//! Buffers that the sessions of one thread lend each other: who waits holds none, and the one in use is warm.

use std::cell::RefCell;
use std::thread::LocalKey;

use bytes::BytesMut;

/// As many of a kind wait on each thread: one in use, and some for who is in between.
const MOST: usize = 3;

/// The size of a new one.
const NEW_BYTES: usize = 16 << 10;

/// Larger ones are not kept: one large request or answer does not cost memory for ever.
pub(crate) const MOST_INPUT_BYTES: usize = 64 << 10;
const MOST_OUTPUT_BYTES: usize = 128 << 10;

type Shelf<T> = RefCell<Vec<T>>;

thread_local! {
    static INPUTS: Shelf<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static OUTPUTS: Shelf<BytesMut> = const { RefCell::new(Vec::new()) };
}

/// A buffer of at least so many bytes to read into, with whatever is in it; the last that was given back here, if it will do.
pub(crate) fn take_input(least: usize) -> Vec<u8> {
    let spare = INPUTS.with_borrow_mut(|shelf| shelf.pop_if(|last| last.len() >= least));
    spare.unwrap_or_else(|| vec![0; NEW_BYTES.max(least)])
}

/// Gives back a buffer that was read into.
pub(crate) fn give_input(buffer: Vec<u8>) {
    if (NEW_BYTES..=MOST_INPUT_BYTES).contains(&buffer.len()) {
        keep(&INPUTS, buffer);
    }
}

/// An empty buffer to write into, with some room; the last that was given back here, if there is one.
pub(crate) fn take_output() -> BytesMut {
    OUTPUTS.with_borrow_mut(Vec::pop).unwrap_or_else(|| BytesMut::with_capacity(NEW_BYTES))
}

/// Gives back a buffer that was written into, whatever is in it.
pub(crate) fn give_output(mut buffer: BytesMut) {
    if (1..=MOST_OUTPUT_BYTES).contains(&buffer.capacity()) {
        buffer.clear();
        keep(&OUTPUTS, buffer);
    }
}

fn keep<T>(shelf: &'static LocalKey<Shelf<T>>, buffer: T) {
    shelf.with_borrow_mut(|shelf| {
        if shelf.len() < MOST {
            shelf.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;

    #[test]
    fn the_last_given_is_the_next_taken_with_all_its_room() {
        let mut buffer = take_output();
        buffer.extend_from_slice(&[7; NEW_BYTES]);
        buffer.advance(NEW_BYTES - 1);
        let lies_at = buffer.as_ptr().wrapping_sub(NEW_BYTES - 1);
        give_output(take_output());
        give_output(buffer);
        let mut again = take_output();
        assert!(again.is_empty());
        again.reserve(NEW_BYTES);
        assert_eq!(again.as_ptr(), lies_at);

        let input = take_input(1);
        let lies_at = input.as_ptr();
        give_input(input);
        assert_eq!(take_input(NEW_BYTES + 1).len(), NEW_BYTES + 1);
        let again = take_input(NEW_BYTES);
        assert_eq!(again.as_ptr(), lies_at);
    }

    #[test]
    fn only_a_few_of_moderate_size_are_kept() {
        for _ in 0..2 * MOST {
            give_output(BytesMut::with_capacity(NEW_BYTES));
            give_input(vec![0; NEW_BYTES]);
        }
        give_output(BytesMut::new());
        give_input(Vec::new());
        assert_eq!((INPUTS.with_borrow(Vec::len), OUTPUTS.with_borrow(Vec::len)), (MOST, MOST));
        INPUTS.take();
        OUTPUTS.take();
        give_output(BytesMut::with_capacity(MOST_OUTPUT_BYTES + 1));
        give_input(vec![0; MOST_INPUT_BYTES + 1]);
        assert_eq!((INPUTS.with_borrow(Vec::len), OUTPUTS.with_borrow(Vec::len)), (0, 0));
    }
}
