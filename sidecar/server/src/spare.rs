//! Buffers that the sessions of one thread lend each other: who waits holds none, and the one in use is warm.

use std::cell::RefCell;

use bytes::BytesMut;

/// As many wait on each thread: one that is read into, one that answers are gathered in, and one for who is in between.
const MOST: usize = 3;

/// The size of a new one.
const NEW_BYTES: usize = 16 << 10;

/// Larger ones are not kept: one large answer does not cost memory for ever.
const MOST_BYTES: usize = 128 << 10;

thread_local! {
    static SPARE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer with some room; the last that was given back here, if there is one.
pub(crate) fn take() -> BytesMut {
    let spare = SPARE.with_borrow_mut(Vec::pop);
    spare.unwrap_or_else(|| BytesMut::with_capacity(NEW_BYTES))
}

/// Gives back a buffer, whatever is in it.
pub(crate) fn give(mut buffer: BytesMut) {
    if (1..=MOST_BYTES).contains(&buffer.capacity()) {
        buffer.clear();
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < MOST {
                spare.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;

    #[test]
    fn the_last_given_is_the_next_taken_with_all_its_room() {
        let mut buffer = take();
        buffer.extend_from_slice(&[7; NEW_BYTES]);
        buffer.advance(NEW_BYTES - 1);
        let lies_at = buffer.as_ptr().wrapping_sub(NEW_BYTES - 1);
        give(take());
        give(buffer);
        let mut again = take();
        assert!(again.is_empty());
        again.reserve(NEW_BYTES);
        assert_eq!(again.as_ptr(), lies_at);
    }

    #[test]
    fn only_a_few_of_moderate_size_are_kept() {
        for _ in 0..2 * MOST {
            give(BytesMut::with_capacity(NEW_BYTES));
        }
        give(BytesMut::new());
        assert_eq!(SPARE.with_borrow(Vec::len), MOST);
        SPARE.take();
        give(BytesMut::with_capacity(MOST_BYTES + 1));
        assert_eq!(SPARE.with_borrow(Vec::len), 0);
    }
}
