//! The requests that a cache is asked most, read where they lie: nothing is cut out of the buffer, nothing is kept.

/// A read or a write in its plainest form. The slices lie in the buffer that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plain<'a> {
    /// Read a key.
    Get(&'a [u8]),
    /// Store a value under a key, without a deadline or a condition.
    Set(&'a [u8], &'a [u8]),
}

/// What stands at the front of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look<'a> {
    /// A whole plain request, and the bytes that it takes.
    Whole(Plain<'a>, usize),
    /// The beginning of what may become one, of which at least so many bytes are missing.
    Part(usize),
    /// Something else, or something wrong: the decoder knows.
    Other,
}
