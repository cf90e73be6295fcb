//! How a key is spelled: `key:` and its number in as many digits as the key's size leaves.

const PREFIX: &[u8] = b"key:";

/// The least size of a key: its prefix and four digits.
pub(crate) const LEAST: usize = 8;

/// The largest size: what memcached takes.
pub(crate) const LARGEST: usize = 250;

/// Spells keys of one size.
#[derive(Debug, Clone)]
pub(crate) struct Spelling {
    /// Number 0.
    zero: Vec<u8>,
}

// === impl Spelling ===

impl Spelling {
    /// Keys of `size` bytes; `None` when that is no size from [`LEAST`] to [`LARGEST`].
    pub(crate) fn new(size: usize) -> Option<Self> {
        (LEAST..=LARGEST).contains(&size).then(|| {
            let mut zero = PREFIX.to_vec();
            zero.resize(size, b'0');
            Self { zero }
        })
    }

    /// How many bytes a key has.
    pub(crate) fn size(&self) -> usize {
        self.zero.len()
    }

    /// How many keys can be told apart.
    pub(crate) fn capacity(&self) -> u64 {
        10_u64.saturating_pow((self.size() - PREFIX.len()) as u32)
    }

    /// Appends the key of this number, which is below [`Self::capacity`].
    pub(crate) fn write(&self, out: &mut Vec<u8>, mut number: u64) {
        out.extend_from_slice(&self.zero);
        let mut place = out.len();
        while number > 0 {
            place -= 1;
            out[place] = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_have_their_size_and_differ(size in LEAST..=LARGEST, one: u64, other: u64) {
            let spelling = Spelling::new(size).unwrap();
            let spell = |number: u64| {
                let mut out = Vec::new();
                spelling.write(&mut out, number % spelling.capacity());
                out
            };
            prop_assert_eq!(spell(one).len(), size);
            prop_assert!(spell(one).starts_with(PREFIX));
            prop_assert_eq!(spell(one) == spell(other), one % spelling.capacity() == other % spelling.capacity());
        }
    }
}
