//! The floating-point numbers of INCRBYFLOAT: 64 bits of mantissa, as `long double` has on x86, so that a sum here
//! is written with the same digits as a sum in Redis.

use super::natural::Natural;

/// Longest text that is read as a number, in bytes.
const MAX_TEXT_BYTES: usize = 5 * 1024 - 1;

/// The power of two that is too large.
const MAX_BITS: i64 = 16_384;

/// Half of the smallest value above zero is `2^-16446`: what is not above it is zero.
const MIN_BITS: i64 = -16_445;

/// Digits after the point.
const DECIMALS: u32 = 17;

/// `±mantissa × 2^exponent`, rounded to 64 bits of mantissa; or infinite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LongDouble {
    negative: bool,
    magnitude: Magnitude,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Magnitude {
    Finite { mantissa: u64, exponent: i64 },
    Infinite,
}

impl LongDouble {
    /// Zero.
    pub(super) const ZERO: Self =
        Self { negative: false, magnitude: Magnitude::Finite { mantissa: 0, exponent: 0 } };

    /// Reads what `strtold` reads, as long as it is the whole text, no blank stands first, it is a number, and it is
    /// neither too large nor too small to be told from zero.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > MAX_TEXT_BYTES {
            return None;
        }
        let (negative, digits) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if digits.eq_ignore_ascii_case(b"inf") || digits.eq_ignore_ascii_case(b"infinity") {
            return Some(Self { negative, magnitude: Magnitude::Infinite });
        }
        let magnitude = match digits {
            [b'0', b'x' | b'X', rest @ ..] => hexadecimal(rest)?,
            rest => decimal(rest)?,
        };
        Some(Self { negative, magnitude })
    }

    /// The sum, `None` when it is not finite.
    pub(super) fn add(&self, other: &Self) -> Option<Self> {
        let (
            Magnitude::Finite { mantissa: a, exponent: ea },
            Magnitude::Finite { mantissa: b, exponent: eb },
        ) = (&self.magnitude, &other.magnitude)
        else {
            return None;
        };
        let low = match (a, b) {
            (0, _) => *eb,
            (_, 0) => *ea,
            _ => *ea.min(eb),
        };
        let aligned = |mantissa: u64, exponent: i64| match mantissa {
            0 => Some(Natural::from(0)),
            mantissa => Some(Natural::from(mantissa).shifted_left(usize::try_from(exponent - low).ok()?)),
        };
        let (a, b) = (aligned(*a, *ea)?, aligned(*b, *eb)?);
        let (negative, sum) = if self.negative == other.negative {
            (self.negative, a.plus(&b))
        } else if a >= b {
            (self.negative, a.minus(&b))
        } else {
            (other.negative, b.minus(&a))
        };
        Some(Self { negative, magnitude: rounded(&sum, low, false)? })
    }

    /// The number with up to 17 digits after the point and no needless zeros; `None` when it is not finite.
    pub(super) fn to_text(&self) -> Option<String> {
        let Magnitude::Finite { mantissa, exponent } = self.magnitude else { return None };
        let scaled = Natural::from(mantissa).times_power_of_ten(DECIMALS);
        let scaled = match usize::try_from(exponent) {
            Ok(left) => scaled.shifted_left(left),
            Err(_) => scaled.shifted_right_to_nearest(usize::try_from(exponent.unsigned_abs()).ok()?),
        };
        let digits = format!("{:0>width$}", scaled.to_decimal(), width = DECIMALS as usize + 1);
        let (whole, fraction) = digits.split_at(digits.len() - DECIMALS as usize);
        let fraction = fraction.trim_end_matches('0');
        let sign = if self.negative && (whole != "0" || !fraction.is_empty()) { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        Some(format!("{sign}{whole}{point}{fraction}"))
    }
}

/// `digits[.digits][e[+-]digits]`
fn decimal(text: &[u8]) -> Option<Magnitude> {
    let (mantissa, places, rest) = digits(text, 10)?;
    let power = match rest {
        [] => 0,
        [b'e' | b'E', power @ ..] => signed(power)?,
        _ => return None,
    };
    let power = power - places;
    if mantissa.is_zero() {
        return Some(Magnitude::Finite { mantissa: 0, exponent: 0 });
    }
    if power >= 0 {
        let scaled = mantissa.times_power_of_ten(u32::try_from(power).ok().filter(|power| *power < 10_000)?);
        return rounded(&scaled, 0, false);
    }
    let power = u32::try_from(-power).ok().filter(|power| *power < 20_000)?;
    // Enough bits that the quotient has more than 64 of them: ten to the power has fewer than four for each place.
    let shift = 4 * power as usize + 70;
    let (quotient, exact) = mantissa.shifted_left(shift).divided_by_power_of_ten(power);
    rounded(&quotient, -i64::try_from(shift).ok()?, !exact)
}

/// `digits[.digits][p[+-]digits]`, the power being one of two.
fn hexadecimal(text: &[u8]) -> Option<Magnitude> {
    let (mantissa, places, rest) = digits(text, 16)?;
    let power = match rest {
        [] => 0,
        [b'p' | b'P', power @ ..] => signed(power)?,
        _ => return None,
    };
    rounded(&mantissa, power - 4 * places, false)
}

/// The digits before and after a point as one number, how many stood after it, and the rest. At least one digit.
fn digits(text: &[u8], base: u32) -> Option<(Natural, i64, &[u8])> {
    let (mut number, mut places, mut point, mut any) = (Natural::from(0), 0, false, false);
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        match char::from(*byte).to_digit(base) {
            Some(digit) => {
                number.append_digit(base, digit);
                places += i64::from(point);
                any = true;
            }
            None if *byte == b'.' && !point => point = true,
            None => break,
        }
        rest = tail;
    }
    any.then_some((number, places, rest))
}

/// A decimal integer with an optional sign; very large ones are clamped.
fn signed(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let clamped = digits.iter().fold(0i64, |sum, digit| (sum * 10 + i64::from(digit - b'0')).min(1_000_000));
    Some(if negative { -clamped } else { clamped })
}

/// `number × 2^exponent`, and a little more when `sticky`, to the nearest 64 bits of mantissa, ties to even.
/// `None` when it is too large, or is not zero but too small.
fn rounded(number: &Natural, exponent: i64, sticky: bool) -> Option<Magnitude> {
    if number.is_zero() {
        return Some(Magnitude::Finite { mantissa: 0, exponent: 0 });
    }
    let (mantissa, dropped) = number.top_64_bits(sticky);
    let exponent = exponent + i64::try_from(dropped).ok()?;
    let (mantissa, exponent) = match u64::try_from(mantissa) {
        Ok(mantissa) => (mantissa, exponent),
        Err(_) => (1 << 63, exponent + 1),
    };
    let bits = exponent + i64::from(64 - mantissa.leading_zeros());
    (MIN_BITS..=MAX_BITS).contains(&bits).then_some(Magnitude::Finite { mantissa, exponent })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> Option<String> {
        LongDouble::parse(a.as_bytes())?.add(&LongDouble::parse(b.as_bytes())?)?.to_text()
    }

    #[test]
    fn sums_are_written_as_redis_writes_them() {
        for (a, b, expected) in [
            ("10.5", "0.1", "10.6"),
            ("0.1", "0.2", "0.3"),
            ("3", "1.5e3", "1503"),
            ("-1.5", "1.5", "0"),
            ("1", "-1.25", "-0.25"),
            ("1e17", "0.0000001", "100000000000000000"),
            ("0", "1e-17", "0.00000000000000001"),
            ("0", "1e-18", "0"),
            ("0", "-1e-18", "0"),
            ("0x10", "0x.8p1", "17"),
            ("123456789012345678901234567890", "0", "123456789012345678899921813504"),
            (".5", "5.", "5.5"),
        ] {
            assert_eq!(sum(a, b).as_deref(), Some(expected), "{a} + {b}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in
            ["", " 1", "1 ", "abc", "1e", "1e+", ".", "0x", "--1", "nan", "1,5", "1e5000", "1e-5000", "1\0"]
        {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(LongDouble::parse(&[b'1'; 6000]), None);
        assert_eq!(LongDouble::parse(format!("1e{}", "9".repeat(500)).as_bytes()), None);
    }

    #[test]
    fn what_is_not_finite_has_no_sum() {
        assert_eq!(sum("inf", "1"), None);
        assert_eq!(sum("-Infinity", "inf"), None);
        assert_eq!(sum("1.1e4932", "1.1e4932"), None);
        assert!(sum("1e4932", "1").is_some_and(|text| text.len() == 4933));
    }
}
