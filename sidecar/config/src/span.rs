//! Durations as Kubernetes writes them: `250ms`, `10s`, `1h30m`.

use std::time::Duration;

use thiserror::Error;

/// A text that is no duration.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("write a duration such as 250ms, 10s, 5m or 1h30m (at most ten years)")]
pub struct SpanError;

/// The longest duration that a configuration may hold.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// The duration that `text` means, exact to the millisecond.
///
/// # Errors
/// When `text` is not a sequence of whole numbers with the units `h`, `m`, `s`, `ms`, or exceeds ten years.
pub fn parse_duration(text: &str) -> Result<Duration, SpanError> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(SpanError)?;
        let number: u64 = rest[..digits].parse().map_err(|_| SpanError)?;
        rest = &rest[digits..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let millis = match &rest[..unit_end] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(SpanError),
        };
        rest = &rest[unit_end..];
        total = number.checked_mul(millis).and_then(|part| total.checked_add(part)).ok_or(SpanError)?;
    }
    let span = Duration::from_millis(total);
    if text.is_empty() || span > LONGEST { Err(SpanError) } else { Ok(span) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_add_up() {
        for (text, millis) in
            [("0", 0), ("0s", 0), ("250ms", 250), ("10s", 10_000), ("1h30m", 5_400_000), ("1m5s20ms", 65_020)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in ["", "5", "s", "-1s", "1.5s", "1 s", "1d", "99999999999999999999s", "999999h"] {
            assert_eq!(parse_duration(text), Err(SpanError), "{text}");
        }
    }
}
