//! From the text of the file to the shape as written, gathering every structural problem on the way.

use serde_json::Value;
use serde_path_to_error::Segment;

use crate::problem::Problems;
use crate::written::Config;

/// The largest file that is looked at, in bytes: a ConfigMap cannot hold more.
pub const MAX_BYTES: usize = 1 << 20;

/// How many problems are told at once.
const MAX_PROBLEMS: usize = 64;

/// Reads the YAML `text`. An empty text is the configuration in which everything has its default.
///
/// # Errors
/// Every unknown field and every value of a wrong type, each with its path. No value is repeated in
/// a problem, since it could be a password.
pub fn from_yaml(text: &str) -> Result<Config, Problems> {
    let mut problems = Problems::default();
    if text.len() > MAX_BYTES {
        problems.add("", format!("the file is larger than {MAX_BYTES} bytes"));
        return Err(problems);
    }
    // `mode: Off` is a text, as in YAML 1.2, and not the `false` of YAML 1.1.
    let options = serde_saphyr::options! { strict_booleans: true };
    let tree: Option<Value> = match serde_saphyr::from_str_with_options(text, options) {
        Ok(tree) => tree,
        Err(error) => {
            let place = error.location().map(|at| format!(" at line {}, column {}", at.line(), at.column()));
            problems.add("", format!("not readable as YAML{}", place.unwrap_or_default()));
            return Err(problems);
        }
    };
    let mut tree = match tree {
        None | Some(Value::Null) => return Ok(Config::default()),
        Some(tree) => tree,
    };
    // What was wrong is taken out and the rest is read again, until nothing is wrong any more.
    while problems.0.len() < MAX_PROBLEMS {
        let (path, error) = match serde_path_to_error::deserialize::<_, Config>(&tree) {
            Ok(config) => return problems.or(config),
            Err(error) => (error.path().clone(), error.into_inner()),
        };
        let segments: Vec<&Segment> = path.iter().collect();
        problems.add(shown(&segments), expectation(&error.to_string()));
        if !remove(&mut tree, &segments) {
            break;
        }
    }
    Err(problems)
}

/// The path, with every name that cannot be one of ours masked: it could be a misplaced secret.
fn shown(segments: &[&Segment]) -> String {
    let mut text = String::new();
    for segment in segments {
        match segment {
            Segment::Seq { index } => text.push_str(&format!("[{index}]")),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                let plain = key.len() <= 40 && key.bytes().all(|b| b.is_ascii_alphanumeric());
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(if plain { key } else { "?" });
            }
            Segment::Unknown => {}
        }
    }
    text
}

/// The part of serde's message that speaks of our schema, without the value that was found.
fn expectation(message: &str) -> String {
    let expected = message.rfind("expected ").map(|at| &message[at..]);
    match (message.starts_with("unknown field"), expected) {
        (true, Some(expected)) => format!("unknown field, {expected}"),
        (true, None) => "unknown field".to_owned(),
        (false, Some(expected)) => expected.to_owned(),
        (false, None) => "not what this field takes".to_owned(),
    }
}

/// Takes the value at `segments` out of `tree`; false if nothing is there.
fn remove(tree: &mut Value, segments: &[&Segment]) -> bool {
    let Some((last, parents)) = segments.split_last() else { return false };
    let mut at = tree;
    for parent in parents {
        let next = match parent {
            Segment::Map { key } => at.get_mut(key.as_str()),
            Segment::Seq { index } => at.get_mut(*index),
            Segment::Enum { .. } | Segment::Unknown => return at.take() != Value::Null,
        };
        let Some(next) = next else { return false };
        at = next;
    }
    match (last, at) {
        (Segment::Map { key }, Value::Object(map)) => map.remove(key.as_str()).is_some(),
        (Segment::Seq { index }, Value::Array(items)) if *index < items.len() => {
            // Kept in place as an empty text, so that the indices of later problems stay true.
            items[*index] = Value::String(String::new());
            true
        }
        (_, at) => at.take() != Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_all_defaults() {
        for text in ["", "# nothing\n", "---\n", "{}", "memory:\nredis:\n"] {
            assert_eq!(from_yaml(text).unwrap(), Config::default(), "{text:?}");
        }
    }

    #[test]
    fn all_structural_problems_come_together() {
        let text = "memory: {capacity: [1], size: 3}\nredis: {url: 5, coherence: {mode: Sometimes, maxStale: 5s}}\nspeed: 9\nservice: {publishes: [a, {}, b, []]}\n";
        let problems = from_yaml(text).unwrap_err();
        let paths: Vec<&str> = problems.0.iter().map(|p| p.path.as_str()).collect();
        for path in [
            "memory.capacity",
            "memory.size",
            "redis.url",
            "redis.coherence.mode",
            "speed",
            "service.publishes[1]",
            "service.publishes[3]",
        ] {
            assert!(paths.contains(&path), "{path} is missing in {problems}");
        }
        assert_eq!(paths.len(), 7, "{problems}");
        assert!(problems.to_string().contains("`Tracking`"), "{problems}");
    }

    #[test]
    fn no_problem_repeats_a_value() {
        for text in [
            "redis: redis://u:hunter2@h",
            "redis: {url: [redis://u:hunter2@h]}",
            "redis: {redis://u:hunter2@h: 1}",
            "redis: {hunter2-: 1}",
            "hunter2@: [",
            "redis: {coherence: {mode: hunter2}}",
            "- hunter2",
            "redis: {url: redis://a, url: redis://hunter2}",
        ] {
            let problems = from_yaml(text).unwrap_err();
            assert!(!format!("{problems} {problems:?}").contains("hunter2"), "{problems}");
        }
    }
}
