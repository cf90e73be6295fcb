//! Kubernetes quantities as exact numbers of bytes: `256Mi`, `1.5Gi`, `3e6`, `1048576`.

use thiserror::Error;

/// Why a text is no number of bytes.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum QuantityError {
    /// Not digits, an optional fraction and a suffix.
    #[error("write a number of bytes such as 256Mi, 1.5Gi or 268435456")]
    Malformed,
    /// `m`, `u` and `n` are parts of a byte.
    #[error("the suffixes n, u and m mean parts of a byte; use k M G T P E or Ki Mi Gi Ti Pi Ei")]
    PartOfAByte,
    /// More than `u64::MAX` bytes.
    #[error("the number of bytes is too large")]
    TooLarge,
}

/// Digits that are looked at: more cannot change a 64-bit number of bytes meaningfully.
const MAX_DIGITS: usize = 30;

/// The bytes that `text` means; a fraction of a byte is rounded up, as Kubernetes rounds.
///
/// # Errors
/// When `text` is malformed, means parts of a byte by its suffix, or exceeds 64 bits.
pub fn parse_bytes(text: &str) -> Result<u64, QuantityError> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(number_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(QuantityError::Malformed);
    }
    if whole.len() + fraction.len() > MAX_DIGITS {
        return Err(QuantityError::TooLarge);
    }
    let digits =
        whole.chars().chain(fraction.chars()).fold(0u128, |sum, c| sum * 10 + u128::from(c as u8 - b'0'));
    let multiplied = digits.checked_mul(multiplier(suffix)?).ok_or(QuantityError::TooLarge)?;
    let divisor = 10u128.pow(fraction.len() as u32);
    u64::try_from(multiplied.div_ceil(divisor)).map_err(|_| QuantityError::TooLarge)
}

fn multiplier(suffix: &str) -> Result<u128, QuantityError> {
    let power = |base: u128, exponent: u32| Ok(base.pow(exponent));
    match suffix {
        "" => Ok(1),
        "Ki" => power(1024, 1),
        "Mi" => power(1024, 2),
        "Gi" => power(1024, 3),
        "Ti" => power(1024, 4),
        "Pi" => power(1024, 5),
        "Ei" => power(1024, 6),
        "k" => power(1000, 1),
        "M" => power(1000, 2),
        "G" => power(1000, 3),
        "T" => power(1000, 4),
        "P" => power(1000, 5),
        "E" => power(1000, 6),
        "m" | "u" | "n" => Err(QuantityError::PartOfAByte),
        exponent => {
            let digits = exponent.strip_prefix(['e', 'E']).ok_or(QuantityError::Malformed)?;
            let digits = digits.strip_prefix('+').unwrap_or(digits);
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(QuantityError::Malformed);
            }
            match digits.parse::<u32>() {
                Ok(exponent @ 0..=19) => power(10, exponent),
                _ => Err(QuantityError::TooLarge),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_fractions_and_exponents_are_exact() {
        for (text, bytes) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("256Mi", 256 << 20),
            ("1.5Gi", 3 << 29),
            ("0.1", 1),
            (".5Ki", 512),
            ("1.", 1),
            ("3e6", 3_000_000),
            ("3E+6", 3_000_000),
            ("1E", 1_000_000_000_000_000_000),
            ("15.9Ei", 18_331_451_923_248_866_919),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_of_bytes_is_refused() {
        for text in ["", ".", "Mi", "-1", "+1", "1 Mi", "1mi", "1.2.3", "1e", "1e-3", "0x10", "1KiB", "٣"] {
            assert_eq!(parse_bytes(text), Err(QuantityError::Malformed), "{text}");
        }
        assert_eq!(parse_bytes("100m"), Err(QuantityError::PartOfAByte));
        for text in ["16Ei", "18446744073709551616", "1e20", "9999999999999999999999999999999999"] {
            assert_eq!(parse_bytes(text), Err(QuantityError::TooLarge), "{text}");
        }
    }
}
