//! What a pod's annotations say of its own sidecar; what cannot be used is a finding, and the default holds.

use synapse_api::names;
use synapse_api::reasons::Problem;
use synapse_api::sidecar::LogLevel;

use super::findings::Findings;
use super::pod::Pod;
use super::quantity::millis;

/// The longest reference to an image.
const MAX_IMAGE: usize = 512;
/// The longest name of a topic.
const MAX_TOPIC: usize = 256;
/// The most topics that one pod names.
const MAX_TOPICS: usize = 64;

/// The annotations of one pod, as far as they can be used.
#[derive(Debug, Default)]
pub(super) struct Overrides<'a> {
    pub(super) cpu_request: Option<&'a str>,
    pub(super) cpu_limit: Option<&'a str>,
    pub(super) memory_request: Option<&'a str>,
    pub(super) memory_limit: Option<&'a str>,
    pub(super) image: Option<&'a str>,
    pub(super) log_level: Option<LogLevel>,
    pub(super) publishes: Option<String>,
    pub(super) consumes: Option<String>,
}

impl<'a> Overrides<'a> {
    pub(super) fn read(pod: &Pod<'a>, findings: &mut Findings) -> Self {
        let mut read = |key: &str, needs: &str, usable: &dyn Fn(&str) -> bool| {
            let text = pod.annotation(key)?.trim();
            if usable(text) {
                return Some(text);
            }
            let shown: String = text.chars().take(64).collect();
            findings
                .add(Problem::InvalidOverride, format!("{key}: {shown:?} is not {needs}; the default holds"));
            None
        };
        Self {
            cpu_request: read(names::CPU_REQUEST, "an amount of cpu such as 50m", &is_cpu),
            cpu_limit: read(names::CPU_LIMIT, "an amount of cpu such as 500m", &is_cpu),
            memory_request: read(names::MEMORY_REQUEST, "an amount of memory such as 96Mi", &is_memory),
            memory_limit: read(names::MEMORY_LIMIT, "an amount of memory such as 96Mi", &is_memory),
            image: read(names::IMAGE, "a reference to an image", &is_image),
            log_level: read(names::LOG_LEVEL, "Error, Warn, Info, Debug or Trace", &|text| {
                LogLevel::parse(text).is_some()
            })
            .and_then(LogLevel::parse),
            publishes: read(names::PUBLISHES, "a list of topics separated by commas", &are_topics)
                .map(joined),
            consumes: read(names::CONSUMES, "a list of topics separated by commas", &are_topics).map(joined),
        }
    }
}

/// Whole thousandths only: the API server refuses finer amounts of cpu.
pub(super) fn is_cpu(text: &str) -> bool {
    let decimals = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let suffix = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    matches!(suffix, "" | "m") && decimals <= if suffix == "m" { 0 } else { 3 } && is_positive(text)
}

/// Whole bytes only, and not the thousandths that `m` means.
pub(super) fn is_memory(text: &str) -> bool {
    let whole = millis(text).is_some_and(|millis| millis.is_multiple_of(1000));
    !text.ends_with('m') && whole && is_positive(text)
}

fn is_positive(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit()) && millis(text).is_some_and(|amount| amount > 0)
}

fn is_image(text: &str) -> bool {
    (1..=MAX_IMAGE).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn are_topics(text: &str) -> bool {
    let topic = |name: &str| {
        (1..=MAX_TOPIC).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte))
    };
    let mut topics = text.split(',').map(str::trim);
    topics.clone().count() <= MAX_TOPICS && topics.all(topic)
}

fn joined(text: &str) -> String {
    text.split(',').map(str::trim).collect::<Vec<_>>().join(",")
}
