//! Values that prove themselves: what a key holds follows from the key, so that every answer can be checked.

use crate::sizes::{LEAST, Sizes};

/// In how many places of the noise a value may begin: few enough that small values stay in the processor's cache.
const PLACES: u64 = 4096;

/// Makes and checks values.
///
/// A value is eight bytes and noise. The eight bytes are 48 bits that follow from the key, and the generation; where the noise
/// begins and how long it is follows from both. So a value of another key, a torn one and a cut one are all found out.
#[derive(Debug)]
pub(crate) struct Proof {
    noise: Vec<u8>,
    sizes: Sizes,
    generation: u16,
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Wrong {
    /// Shorter than any value is.
    #[error("{0} bytes are no value of this load")]
    Short(usize),
    /// The first bytes are not those of the key.
    #[error(
        "it begins with {got:016x} where {expected:016x} belongs: the value of another key, or of another load"
    )]
    Foreign {
        /// What belongs there, in the generation that the value names.
        expected: u64,
        /// What stands there.
        got: u64,
    },
    /// A generation that was not written yet.
    #[error("it is of generation {0}, which nobody has written")]
    Future(u16),
    /// The wrong length.
    #[error("it has {got} bytes where {expected} belong")]
    Length {
        /// The size that the key's value has.
        expected: usize,
        /// The size that it came with.
        got: usize,
    },
    /// A byte inside is not the right one.
    #[error("byte {0} of {1} is wrong")]
    Content(usize, usize),
}

// === impl Proof ===

impl Proof {
    /// Values of these sizes. With another generation the same keys have other values, of other sizes.
    pub(crate) fn new(sizes: Sizes, generation: u16) -> Self {
        let mut random = fastrand::Rng::with_seed(0x0073_796e_6170_7365);
        let mut noise = vec![0; sizes.largest() + PLACES as usize];
        random.fill(&mut noise);
        Self { noise, sizes, generation }
    }

    /// How long the key's value is.
    pub(crate) fn size(&self, key: u64) -> usize {
        self.sizes.of(mix(key, self.generation))
    }

    /// Appends the key's value.
    pub(crate) fn write(&self, out: &mut Vec<u8>, key: u64) {
        let mixed = mix(key, self.generation);
        out.extend_from_slice(&head(mixed, self.generation).to_le_bytes());
        out.extend_from_slice(self.tail(mixed, self.sizes.of(mixed)));
    }

    /// Is this what the key holds?
    ///
    /// # Errors
    /// When it is not, and how.
    pub(crate) fn check(&self, key: u64, value: &[u8]) -> Result<(), Wrong> {
        let Some((first, tail)) = value.split_first_chunk::<LEAST>() else {
            return Err(Wrong::Short(value.len()));
        };
        let got = u64::from_le_bytes(*first);
        let generation = (got & 0xffff) as u16;
        let mixed = mix(key, generation);
        let expected = head(mixed, generation);
        if got != expected {
            return Err(Wrong::Foreign { expected, got });
        }
        if generation > self.generation {
            return Err(Wrong::Future(generation));
        }
        let size = self.sizes.of(mixed);
        if value.len() != size {
            return Err(Wrong::Length { expected: size, got: value.len() });
        }
        let right = self.tail(mixed, size);
        if tail != right {
            let same = tail.iter().zip(right).take_while(|(one, other)| one == other).count();
            return Err(Wrong::Content(LEAST + same, size));
        }
        Ok(())
    }

    fn tail(&self, mixed: u64, size: usize) -> &[u8] {
        let place = (mixed % PLACES) as usize;
        &self.noise[place..place + size - LEAST]
    }
}

fn head(mixed: u64, generation: u16) -> u64 {
    mixed & !0xffff | u64::from(generation)
}

/// Spreads a key over all of `u64`; neighbours end up far apart.
fn mix(key: u64, generation: u16) -> u64 {
    let mut mixed = key ^ (u64::from(generation) << 48) ^ 0x9e37_79b9_7f4a_7c15;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(proof: &Proof, key: u64) -> Vec<u8> {
        let mut out = Vec::new();
        proof.write(&mut out, key);
        out
    }

    fn any_sizes() -> impl Strategy<Value = Sizes> {
        prop_oneof![
            prop::collection::vec(LEAST..3000, 1..4).prop_map(Sizes::OneOf),
            (LEAST..100, 0..3000_usize).prop_map(|(low, more)| Sizes::Range(low, low + more)),
        ]
    }

    proptest! {
        #[test]
        fn what_was_written_is_right(sizes in any_sizes(), generation: u16, key: u64) {
            let proof = Proof::new(sizes, generation);
            let value = value(&proof, key);
            prop_assert_eq!(value.len(), proof.size(key));
            prop_assert_eq!(proof.check(key, &value), Ok(()));
        }

        #[test]
        fn an_older_generation_is_right_and_a_later_one_is_not(sizes in any_sizes(), key: u64, older in 0..9_u16) {
            let (old, new) = (Proof::new(sizes.clone(), older), Proof::new(sizes, older + 1));
            prop_assert_eq!(new.check(key, &value(&old, key)), Ok(()));
            prop_assert_eq!(old.check(key, &value(&new, key)), Err(Wrong::Future(older + 1)));
        }

        #[test]
        fn another_keys_value_is_wrong(sizes in any_sizes(), key: u64, other: u64) {
            prop_assume!(key != other);
            let proof = Proof::new(sizes, 1);
            prop_assert!(proof.check(key, &value(&proof, other)).is_err());
        }

        #[test]
        fn one_bit_is_enough(sizes in any_sizes(), key: u64, place: prop::sample::Index, bit in 0..8_u32) {
            let proof = Proof::new(sizes, 1);
            let mut value = value(&proof, key);
            let place = place.index(value.len());
            value[place] ^= 1_u8 << bit;
            prop_assert!(proof.check(key, &value).is_err());
        }

        #[test]
        fn cut_and_longer_values_are_wrong(sizes in any_sizes(), key: u64, cut: prop::sample::Index) {
            let proof = Proof::new(sizes, 1);
            let mut value = value(&proof, key);
            prop_assert!(proof.check(key, &value[..cut.index(value.len())]).is_err());
            value.push(0);
            prop_assert!(proof.check(key, &value).is_err());
        }
    }
}
