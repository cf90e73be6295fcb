//! When a status is written: at once if an answer changed, seldom if only counters moved, never at rest.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

/// The shortest time between two writes that only move counters.
pub const COUNTERS_EVERY: Duration = Duration::from_secs(300);

/// Whether `new` should be written over `old`, which was last written at `written`.
///
/// `counters` names the fields that move by themselves, at any depth; a change anywhere else is written at once,
/// and so is a counter of the top level that begins or ceases to say anything.
pub fn is_due(
    old: &Value,
    new: &Value,
    counters: &[&str],
    written: Option<Timestamp>,
    now: Timestamp,
) -> bool {
    if old == new {
        return false;
    }
    if at_rest(old, counters, true) != at_rest(new, counters, true) {
        return true;
    }
    written.is_none_or(|at| now.duration_since(at) >= COUNTERS_EVERY.try_into().unwrap_or_default())
}

/// `number` with three significant digits: exact while it is small, at rest while it only trickles.
pub fn rounded(number: u64) -> i64 {
    let digits = number.checked_ilog10().unwrap_or(0);
    let unit = 10_u64.pow(digits.saturating_sub(2));
    i64::try_from(number / unit * unit).unwrap_or(i64::MAX)
}

/// `status` without what moves.
fn at_rest(status: &Value, counters: &[&str], top: bool) -> Value {
    match status {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_null()).filter_map(|(name, value)| {
                if !counters.contains(&name.as_str()) {
                    return Some((name.clone(), at_rest(value, counters, false)));
                }
                (top && value.as_i64() != Some(0)).then(|| (name.clone(), Value::Bool(true)))
            });
            Value::Object(kept.collect())
        }
        Value::Array(items) => items.iter().map(|item| at_rest(item, counters, false)).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn nothing_is_written_at_rest() {
        let status = json!({"entries": 5, "conditions": [{"type": "Ready"}]});
        assert!(!is_due(&status, &status, &["entries"], None, at(1_000_000)));
    }

    #[test]
    fn counters_wait_and_answers_do_not() {
        let (old, moved) = (json!({"entries": 5, "ready": 1}), json!({"entries": 6, "ready": 1}));
        assert!(!is_due(&old, &moved, &["entries"], Some(at(0)), at(299)));
        assert!(is_due(&old, &moved, &["entries"], Some(at(0)), at(300)));
        assert!(is_due(&old, &moved, &["entries"], None, at(0)));
        assert!(is_due(&old, &json!({"entries": 6, "ready": 0}), &["entries"], Some(at(0)), at(1)));
        assert!(is_due(&json!({"entries": 0}), &json!({"entries": 6}), &["entries"], Some(at(0)), at(1)));
    }

    #[test]
    fn counters_within_lists_wait_and_new_items_do_not() {
        let old = json!({"groups": [{"name": "a", "lag": 0}]});
        let moved = json!({"groups": [{"name": "a", "lag": 3}]});
        let grown = json!({"groups": [{"name": "a", "lag": 0}, {"name": "b", "lag": 0}]});
        assert!(!is_due(&old, &moved, &["lag"], Some(at(0)), at(1)));
        assert!(is_due(&old, &grown, &["lag"], Some(at(0)), at(1)));
    }

    #[test]
    fn small_numbers_are_exact_and_large_ones_rounded() {
        let cases = [(0, 0), (7, 7), (999, 999), (1234, 1230), (123_456, 123_000), (u64::MAX, i64::MAX)];
        for (number, expected) in cases {
            assert_eq!(rounded(number), expected);
        }
    }
}
