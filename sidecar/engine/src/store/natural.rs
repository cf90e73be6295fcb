//! Natural numbers of any size, as much of them as exact decimal conversion needs.

use std::cmp::Ordering;

/// A natural number: 32-bit limbs, the least first, the last one not zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Natural {
    limbs: Vec<u32>,
}

/// The largest power of ten in a limb.
const CHUNK: u32 = 1_000_000_000;
const CHUNK_DIGITS: u32 = 9;

impl From<u64> for Natural {
    fn from(value: u64) -> Self {
        Self { limbs: vec![value as u32, (value >> 32) as u32] }.trimmed()
    }
}

impl Natural {
    pub(super) fn is_zero(&self) -> bool {
        self.limbs.is_empty()
    }

    /// `self × base + digit`, in place.
    pub(super) fn append_digit(&mut self, base: u32, digit: u32) {
        let mut carry = u64::from(digit);
        for limb in &mut self.limbs {
            let product = u64::from(*limb) * u64::from(base) + carry;
            *limb = product as u32;
            carry = product >> 32;
        }
        if carry > 0 {
            self.limbs.push(carry as u32);
        }
    }

    pub(super) fn times_power_of_ten(mut self, power: u32) -> Self {
        for _ in 0..power / CHUNK_DIGITS {
            self.append_digit(CHUNK, 0);
        }
        self.append_digit(10u32.pow(power % CHUNK_DIGITS), 0);
        self
    }

    /// The quotient, rounded down, and whether nothing was lost.
    pub(super) fn divided_by_power_of_ten(mut self, power: u32) -> (Self, bool) {
        let mut exact = true;
        for _ in 0..power / CHUNK_DIGITS {
            exact &= self.divide(CHUNK) == 0;
        }
        exact &= self.divide(10u32.pow(power % CHUNK_DIGITS)) == 0;
        (self, exact)
    }

    pub(super) fn shifted_left(&self, bits: usize) -> Self {
        let mut limbs = vec![0; bits / 32];
        let shift = bits % 32;
        let mut carry = 0u64;
        for limb in &self.limbs {
            let moved = u64::from(*limb) << shift | carry;
            limbs.push(moved as u32);
            carry = moved >> 32;
        }
        limbs.push(carry as u32);
        Self { limbs }.trimmed()
    }

    /// Divided by a power of two and rounded to the nearest, ties to even.
    pub(super) fn shifted_right_to_nearest(&self, bits: usize) -> Self {
        let mut result = self.floor_shifted_right(bits);
        if bits > 0 && self.bit(bits - 1) && (result.bit(0) || self.any_below(bits - 1)) {
            result = result.plus(&Self::from(1));
        }
        result
    }

    pub(super) fn plus(&self, other: &Self) -> Self {
        let mut limbs = Vec::with_capacity(self.limbs.len().max(other.limbs.len()) + 1);
        let mut carry = 0;
        for at in 0..self.limbs.len().max(other.limbs.len()) {
            let sum = u64::from(self.limb(at)) + u64::from(other.limb(at)) + carry;
            limbs.push(sum as u32);
            carry = sum >> 32;
        }
        limbs.push(carry as u32);
        Self { limbs }.trimmed()
    }

    /// `self − other`, where `other` is not the larger.
    pub(super) fn minus(&self, other: &Self) -> Self {
        let mut borrow = false;
        let mut limbs = Vec::with_capacity(self.limbs.len());
        for (at, limb) in self.limbs.iter().enumerate() {
            let (difference, under) = limb.overflowing_sub(other.limb(at));
            let (difference, under_again) = difference.overflowing_sub(u32::from(borrow));
            borrow = under || under_again;
            limbs.push(difference);
        }
        Self { limbs }.trimmed()
    }

    /// The 64 highest bits, rounded to the nearest with ties to even, and how many bits were left out. The result is
    /// 2^64 when rounding carries over. `sticky`: the number is a little larger than its bits say.
    pub(super) fn top_64_bits(&self, sticky: bool) -> (u128, usize) {
        let dropped = self.bit_length().saturating_sub(64);
        let top = self.floor_shifted_right(dropped);
        let top = u128::from(top.limb(1)) << 32 | u128::from(top.limb(0));
        let half = dropped > 0 && self.bit(dropped - 1);
        let above_half = sticky || (dropped > 0 && self.any_below(dropped - 1));
        let up = half && (above_half || top & 1 == 1);
        (top + u128::from(up), dropped)
    }

    pub(super) fn to_decimal(&self) -> String {
        let mut rest = self.clone();
        let mut chunks = Vec::new();
        while !rest.is_zero() {
            chunks.push(rest.divide(CHUNK));
        }
        let mut text = chunks.pop().unwrap_or(0).to_string();
        for chunk in chunks.iter().rev() {
            text += &format!("{chunk:09}");
        }
        text
    }

    /// Divides in place and returns the remainder.
    fn divide(&mut self, divisor: u32) -> u32 {
        let mut rest = 0;
        for limb in self.limbs.iter_mut().rev() {
            let part = rest << 32 | u64::from(*limb);
            *limb = (part / u64::from(divisor)) as u32;
            rest = part % u64::from(divisor);
        }
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
        rest as u32
    }

    fn floor_shifted_right(&self, bits: usize) -> Self {
        let (skip, shift) = (bits / 32, bits % 32);
        let limbs = (skip..self.limbs.len().max(skip))
            .map(|at| ((u64::from(self.limb(at + 1)) << 32 | u64::from(self.limb(at))) >> shift) as u32)
            .collect();
        Self { limbs }.trimmed()
    }

    fn limb(&self, at: usize) -> u32 {
        self.limbs.get(at).copied().unwrap_or(0)
    }

    fn bit(&self, at: usize) -> bool {
        self.limb(at / 32) >> (at % 32) & 1 == 1
    }

    fn any_below(&self, bits: usize) -> bool {
        let whole = self.limbs.iter().take(bits / 32).any(|limb| *limb != 0);
        whole || (u64::from(self.limb(bits / 32)) & ((1 << (bits % 32)) - 1)) != 0
    }

    fn bit_length(&self) -> usize {
        self.limbs.last().map_or(0, |top| self.limbs.len() * 32 - top.leading_zeros() as usize)
    }

    fn trimmed(mut self) -> Self {
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
        self
    }
}

impl PartialOrd for Natural {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Natural {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_length = self.limbs.len().cmp(&other.limbs.len());
        by_length.then_with(|| self.limbs.iter().rev().cmp(other.limbs.iter().rev()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn natural(value: u128) -> Natural {
        Natural::from((value >> 64) as u64).shifted_left(64).plus(&Natural::from(value as u64))
    }

    proptest! {
        #[test]
        fn arithmetic_agrees_with_128_bits(a in any::<u128>(), b in any::<u64>(), bits in 0usize..140) {
            let a = a >> 1;
            prop_assert_eq!(natural(a).to_decimal(), a.to_string());
            prop_assert_eq!(natural(a).plus(&Natural::from(b)), natural(a + u128::from(b)));
            let (high, low) = (a.max(b.into()), a.min(b.into()));
            prop_assert_eq!(natural(high).minus(&natural(low)), natural(high - low));
            prop_assert_eq!(natural(a).cmp(&Natural::from(b)), a.cmp(&u128::from(b)));
            prop_assert_eq!(Natural::from(b).shifted_left(bits).floor_shifted_right(bits), Natural::from(b));
            let (quotient, exact) = natural(a).divided_by_power_of_ten(11);
            prop_assert_eq!(quotient, natural(a / 100_000_000_000));
            prop_assert_eq!(exact, a.is_multiple_of(100_000_000_000));
        }

        #[test]
        fn rounding_agrees_with_128_bits(a in any::<u128>(), bits in 1usize..127) {
            let (floor, rest, half) = (a >> bits, a & ((1 << bits) - 1), 1u128 << (bits - 1));
            let up = rest > half || rest == half && floor & 1 == 1;
            prop_assert_eq!(natural(a).shifted_right_to_nearest(bits), natural(floor + u128::from(up)));
        }
    }
}
