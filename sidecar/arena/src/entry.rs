//! One entry in a segment: two header words, then the value, then the key, filled up to a word.

use crate::region::WORD;

/// Words before the value.
pub const HEADER_WORDS: usize = 2;

/// The deadline of an entry that has none, in monotonic milliseconds.
pub const NEVER: u64 = u64::MAX;

/// The latest deadline that an entry can have, in monotonic milliseconds: 2,229 years.
pub const MAX_DEADLINE: u64 = STORED_NEVER - 1;

/// Longest key, in bytes.
pub const MAX_KEY_BYTES: usize = u16::MAX as usize;

/// Longest value, in bytes, whatever the size of a segment.
pub const MAX_VALUE_BYTES: usize = (1 << LENGTH_BITS) - 1;

/// How often the value of an entry is replaced where it lies. Then it moves, so that a reader who slept can never meet
/// the same version number again at the same place.
pub const MAX_VERSION: u8 = 254;

const LENGTH_BITS: u32 = 18;
const STORED_NEVER: u64 = (1 << (64 - LENGTH_BITS)) - 1;

/// The first header word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Even when the entry is whole, odd while its value is being replaced.
    pub version: u8,
    /// The owner's note of how often it is asked for; readers ignore it.
    pub heat: u8,
    /// Length of the key in bytes.
    pub key_len: u16,
    /// Where the key stands in the index: [`crate::hash::Hash::place`].
    pub place: u32,
}

impl Head {
    /// The word.
    #[inline]
    pub fn pack(self) -> u64 {
        u64::from(self.version)
            | u64::from(self.heat) << 8
            | u64::from(self.key_len) << 16
            | u64::from(self.place) << 32
    }

    /// The header in a word.
    #[inline]
    pub fn unpack(word: u64) -> Self {
        Self {
            version: word as u8,
            heat: (word >> 8) as u8,
            key_len: (word >> 16) as u16,
            place: (word >> 32) as u32,
        }
    }
}

/// The second header word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// The last monotonic millisecond at which the entry may be served, [`NEVER`] or at most [`MAX_DEADLINE`].
    pub deadline: u64,
    /// Length of the value in bytes.
    pub value_len: u32,
}

impl Tail {
    /// The word.
    #[inline]
    pub fn pack(self) -> u64 {
        self.deadline.min(STORED_NEVER) << LENGTH_BITS | u64::from(self.value_len)
    }

    /// The header in a word.
    #[inline]
    pub fn unpack(word: u64) -> Self {
        let deadline = word >> LENGTH_BITS;
        Self {
            deadline: if deadline == STORED_NEVER { NEVER } else { deadline },
            value_len: (word & MAX_VALUE_BYTES as u64) as u32,
        }
    }
}

/// Words that an entry takes in its segment.
#[inline]
pub fn slot_words(key_len: usize, value_len: usize) -> usize {
    HEADER_WORDS + (key_len + value_len).div_ceil(WORD)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn headers_survive_the_way_there_and_back(
            version: u8, heat: u8, key_len: u16, place: u32,
            deadline in prop_oneof![Just(NEVER), 0..=MAX_DEADLINE], value_len in 0..=MAX_VALUE_BYTES as u32,
        ) {
            let head = Head { version, heat, key_len, place };
            prop_assert_eq!(Head::unpack(head.pack()), head);
            let tail = Tail { deadline, value_len };
            prop_assert_eq!(Tail::unpack(tail.pack()), tail);
        }
    }
}
