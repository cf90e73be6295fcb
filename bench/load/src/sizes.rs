//! How large values are: one size, several, or a range.

use std::fmt;
use std::str::FromStr;

/// The least size: a value begins with this many bytes that say whose it is.
pub(crate) const LEAST: usize = 8;

/// The largest size: what the sidecar takes as one value.
pub(crate) const LARGEST: usize = 64 << 20;

/// The sizes of a load's values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sizes {
    /// Each of these as often as the others.
    OneOf(Vec<usize>),
    /// From the first to the second, as many between 10 and 20 as between 100 and 200.
    Range(usize, usize),
}

/// Why a text does not say sizes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no size from {LEAST} to 64Mi: write 64, 1Ki, a list as 64,1Ki or a range as 10..1Mi")]
pub(crate) struct NoSizes(String);

// === impl Sizes ===

impl Sizes {
    /// The size that belongs to a number drawn evenly from all of `u64`.
    pub(crate) fn of(&self, draw: u64) -> usize {
        match self {
            Self::OneOf(sizes) if sizes.len() == 1 => sizes[0],
            Self::OneOf(sizes) => sizes[(draw % sizes.len() as u64) as usize],
            Self::Range(low, high) => {
                let part = (draw >> 11) as f64 / (1_u64 << 53) as f64;
                let size = *low as f64 * (*high as f64 / *low as f64).powf(part);
                (size as usize).clamp(*low, *high)
            }
        }
    }

    /// The largest of them.
    pub(crate) fn largest(&self) -> usize {
        match self {
            Self::OneOf(sizes) => sizes.iter().copied().max().unwrap_or(LEAST),
            Self::Range(_, high) => *high,
        }
    }
}

impl FromStr for Sizes {
    type Err = NoSizes;

    fn from_str(text: &str) -> Result<Self, NoSizes> {
        let refuse = || NoSizes(text.to_owned());
        let size = |word: &str| size(word).ok_or_else(refuse);
        match text.split_once("..") {
            Some((low, high)) => {
                let (low, high) = (size(low)?, size(high)?);
                if low <= high { Ok(Self::Range(low, high)) } else { Err(refuse()) }
            }
            None => Ok(Self::OneOf(text.split(',').map(size).collect::<Result<_, _>>()?)),
        }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneOf(sizes) => {
                let words: Vec<_> = sizes.iter().map(usize::to_string).collect();
                out.write_str(&words.join(","))
            }
            Self::Range(low, high) => write!(out, "{low}..{high}"),
        }
    }
}

fn size(word: &str) -> Option<usize> {
    let (digits, unit) = match word {
        _ if word.ends_with("Ki") => (&word[..word.len() - 2], 1 << 10),
        _ if word.ends_with("Mi") => (&word[..word.len() - 2], 1 << 20),
        _ => (word, 1),
    };
    let size = digits.parse::<usize>().ok()?.checked_mul(unit)?;
    (LEAST..=LARGEST).contains(&size).then_some(size)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!("64".parse(), Ok(Sizes::OneOf(vec![64])));
        assert_eq!("64,1Ki,1Mi".parse(), Ok(Sizes::OneOf(vec![64, 1024, 1 << 20])));
        assert_eq!("10..1Mi".parse(), Ok(Sizes::Range(10, 1 << 20)));
        for wrong in ["", "7", "65Mi", "64,", "1Mi..10", "-1", "1Gi", "64 Ki", "99999999999999999999Mi"] {
            assert!(wrong.parse::<Sizes>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_range_has_as_many_small_sizes_as_large_ones() {
        let sizes = Sizes::Range(16, 1 << 20);
        let draws = 100_000;
        let small = (0..draws).filter(|draw| sizes.of(draw * (u64::MAX / draws)) < 4096).count();
        assert!((45_000..55_000).contains(&small), "{small}");
    }

    proptest! {
        #[test]
        fn every_draw_is_within(low in LEAST..5000, more in 0..5_000_000_usize, draw: u64) {
            let sizes = Sizes::Range(low, low + more);
            prop_assert!((low..=low + more).contains(&sizes.of(draw)));
            prop_assert_eq!(sizes.to_string().parse(), Ok(sizes));
        }
    }
}
