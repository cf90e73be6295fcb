//! The service that a pod belongs to.

use serde_json::Value;
use synapse_api::names;
use synapse_api::reasons::Problem;

use super::findings::Findings;
use super::pod::{Pod, name as name_of};

/// The longest name of a service.
const MAX_SERVICE: usize = 63;

/// What the annotation says, then `app.kubernetes.io/name`, then `app`, then the owner's name.
pub(super) fn name(pod: &Pod<'_>, findings: &mut Findings) -> Option<String> {
    match pod.annotation(names::SERVICE) {
        Some(service) if is_name(service) => return Some(service.to_owned()),
        Some(service) => findings.add(
            Problem::InvalidOverride,
            format!(
                "{}: {service:?} is no name of at most {MAX_SERVICE} of A-Z a-z 0-9 - _ . characters",
                names::SERVICE
            ),
        ),
        None => {}
    }
    ["app.kubernetes.io/name", "app"]
        .into_iter()
        .filter_map(|label| pod.label(label))
        .find(|service| is_name(service))
        .map(str::to_owned)
        .or_else(|| owner(pod))
}

/// The owner's name, without what a Deployment or a CronJob puts behind it.
fn owner(pod: &Pod<'_>) -> Option<String> {
    let owners = pod.metadata().get("ownerReferences").and_then(Value::as_array);
    let owner = owners
        .into_iter()
        .flatten()
        .find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))?;
    let name = name_of(owner)?;
    let cut = match owner.get("kind").and_then(Value::as_str) {
        Some("ReplicaSet") => {
            pod.label("pod-template-hash").and_then(|hash| name.strip_suffix(hash)?.strip_suffix('-'))
        }
        // A CronJob names its Jobs after the minute: eight digits.
        Some("Job") => name
            .rsplit_once('-')
            .filter(|(_, minute)| minute.len() == 8 && minute.bytes().all(|byte| byte.is_ascii_digit()))
            .map(|(cron_job, _)| cron_job),
        _ => None,
    };
    let service = cut.unwrap_or(name);
    is_name(service).then(|| service.to_owned())
}

fn is_name(text: &str) -> bool {
    (1..=MAX_SERVICE).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}
