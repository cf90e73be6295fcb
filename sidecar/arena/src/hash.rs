//! The hash of a key: keyed, the same in every process, and written down in `docs/shared-memory.md`.

const MULTIPLIERS: [u64; 3] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93, 0xa076_1d64_78bd_642f];

/// What the hash of a key is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hash {
    /// Where the key stands in the order of the index.
    pub place: u32,
    /// What tells it from its neighbours there; never 0.
    pub tag: u16,
}

/// Two secret numbers, drawn when the memory is made: nobody who only sends keys can aim at one bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub [u64; 2]);

impl Seed {
    /// A seed that differs between processes.
    pub fn random() -> Self {
        use std::hash::{BuildHasher, RandomState};
        let state = RandomState::new();
        Self([state.hash_one(0_u8), state.hash_one(1_u8)])
    }

    /// The hash of a key.
    #[inline]
    pub fn hash(self, key: &[u8]) -> Hash {
        let mut state = self.0[0] ^ (key.len() as u64).wrapping_mul(MULTIPLIERS[0]);
        let (pairs, rest) = key.as_chunks::<16>();
        for pair in pairs {
            let (low, high) = (word(&pair[..8]), word(&pair[8..]));
            state = fold(low ^ MULTIPLIERS[1] ^ state, high ^ self.0[1]);
        }
        let (low, high) = if rest.len() > 8 {
            (word(&rest[..8]), word(&rest[rest.len() - 8..]))
        } else if rest.len() >= 4 {
            (half(&rest[..4]), half(&rest[rest.len() - 4..]))
        } else if let (Some(first), Some(last)) = (rest.first(), rest.last()) {
            (u64::from(*first) | u64::from(rest[rest.len() / 2]) << 8, u64::from(*last))
        } else {
            (0, 0)
        };
        state = fold(low ^ MULTIPLIERS[1] ^ state, high ^ self.0[1]);
        state = fold(state ^ MULTIPLIERS[2], self.0[0] ^ MULTIPLIERS[0]);
        Hash { place: (state >> 32) as u32, tag: (state as u16).max(1) }
    }
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ (product >> 64) as u64
}

#[inline]
fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[inline]
fn half(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const SEED: Seed = Seed([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]);

    #[test]
    fn places_are_spread_evenly_for_keys_that_differ_little() {
        for pattern in ["{}", "key:{}", "a long prefix that all keys have in common:{}:and an end"] {
            let mut buckets = [0_u32; 256];
            let mut tags = HashSet::new();
            for n in 0..65_536 {
                let hash = SEED.hash(pattern.replace("{}", &n.to_string()).as_bytes());
                buckets[(hash.place >> 24) as usize] += 1;
                tags.insert(hash.tag);
            }
            let (least, most) = (buckets.iter().min().unwrap(), buckets.iter().max().unwrap());
            assert!(*least > 180 && *most < 340, "{pattern}: {least}..{most}, 256 expected");
            assert!((40_000..44_000).contains(&tags.len()), "{} different tags, 41,427 expected", tags.len());
        }
    }

    #[test]
    fn every_byte_and_the_length_count() {
        for len in 0..70 {
            let key = vec![b'x'; len];
            let hash = SEED.hash(&key);
            assert_ne!(hash, SEED.hash(&[&key[..], b"x"].concat()));
            for at in 0..len {
                let mut other = key.clone();
                other[at] ^= 1;
                assert_ne!(hash, SEED.hash(&other), "byte {at} of {len}");
            }
        }
    }

    #[test]
    fn the_hash_is_what_the_document_says() {
        for (key, place, tag) in VECTORS {
            let hash = SEED.hash(key.as_bytes());
            assert_eq!((hash.place, hash.tag), (*place, *tag), "{key:?}");
        }
    }

    const VECTORS: &[(&str, u32, u16)] = &[
        ("", 0x54ff_21e2, 0xc08d),
        ("a", 0xa2d6_db99, 0x71d2),
        ("abc", 0xf0f6_69fa, 0x46fe),
        ("user:1", 0x33b3_fb62, 0xf10f),
        ("session:12345", 0x0a45_21b3, 0xd441),
        ("0123456789abcdef", 0x4f7f_7fde, 0xca8e),
        ("0123456789abcdef0123456789abcdefX", 0x626b_b48c, 0x1d1a),
    ];
}
