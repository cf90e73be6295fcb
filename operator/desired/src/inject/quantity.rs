//! Amounts of cpu and memory as written in Kubernetes, compared exactly.

/// Digits that are looked at; more are no amount that anyone means.
const MAX_DIGITS: usize = 18;
/// The largest amount, in thousandths: Kubernetes counts in 63 bits.
const MAX: u128 = (i64::MAX as u128) * 1000;

/// Thousandths of what `text` means (`100m` is 100, `2` is 2000, `1Ki` is 1,024,000), rounded up, or nothing
/// when it is no amount.
pub(super) fn millis(text: &str) -> Option<u128> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = whole.len() + fraction.len();
    if digits == 0 || digits > MAX_DIGITS || fraction.contains('.') {
        return None;
    }
    let value: u128 = format!("{whole}{fraction}").parse().ok()?;
    let thousandths = match suffix {
        "m" => 1,
        "" => 1000,
        "k" => 1000 * 1000,
        "M" => 1000 * 1000_u128.pow(2),
        "G" => 1000 * 1000_u128.pow(3),
        "T" => 1000 * 1000_u128.pow(4),
        "P" => 1000 * 1000_u128.pow(5),
        "E" => 1000 * 1000_u128.pow(6),
        "Ki" => 1000 * 1024,
        "Mi" => 1000 * 1024_u128.pow(2),
        "Gi" => 1000 * 1024_u128.pow(3),
        "Ti" => 1000 * 1024_u128.pow(4),
        "Pi" => 1000 * 1024_u128.pow(5),
        "Ei" => 1000 * 1024_u128.pow(6),
        exponent => {
            let power: u32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            if power > 18 {
                return None;
            }
            1000 * 10_u128.pow(power)
        }
    };
    let divisor = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    Some(value.checked_mul(thousandths)?.div_ceil(divisor)).filter(|amount| *amount <= MAX)
}

#[cfg(test)]
mod tests {
    use super::millis;

    #[test]
    fn amounts_are_exact() {
        for (text, expected) in [
            ("100m", 100),
            ("2", 2000),
            ("0.5", 500),
            ("1.5", 1500),
            ("1Ki", 1_024_000),
            ("1.5Gi", 1_610_612_736_000),
            ("1e3", 1_000_000),
            ("0.0001", 1),
            (".5", 500),
        ] {
            assert_eq!(millis(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "m",
            "-1",
            "1 Gi",
            "1gi",
            "1.2.3",
            "1e99",
            "abc",
            "9999999999999999999",
            "1e-3",
            "999999999999999999E",
            "10E",
        ] {
            assert_eq!(millis(text), None, "{text}");
        }
    }
}
