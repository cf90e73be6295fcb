//! What a topic should be on its broker, and the steps from what it is: values in, values out.

pub mod deletion;
mod groups;
pub mod status;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synapse_api::topic::{Adoption, ConsumerGroup, Drift, SynapseTopicSpec, Unread};
use synapse_config::span::parse_duration;

/// How long a group that no object lists still counts in retention after its last activity.
pub const UNLISTED_GROUPS_COUNT_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// Who claimed a stream: one object of one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Uid of the cluster's namespace `kube-system`.
    pub cluster: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
}

/// What lies beside a stream and says whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// Who claimed it.
    #[serde(flatten)]
    pub owner: Owner,
    /// Uid of the object: one that is created anew under the same name is another.
    #[serde(default)]
    pub uid: String,
    /// Whether the stream was there once.
    #[serde(default)]
    pub provisioned: bool,
    /// The groups made so far, each with the id after which it would go on: a group that somebody destroys comes
    /// back where it was, neither skipping entries nor repeating all of them.
    #[serde(default)]
    pub groups: BTreeMap<String, String>,
}

/// What a topic should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Name of the stream.
    pub stream: String,
    /// The listed groups, each with the id that a new one begins after.
    pub groups: Vec<(String, String)>,
    /// How long entries are kept, if not for ever.
    pub limits: Option<Limits>,
    /// What happens when the broker differs.
    pub drift: Drift,
    /// Whether an unclaimed stream is taken over.
    pub adopt: bool,
}

/// How long entries are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most entries.
    pub entries: Option<u64>,
    /// The longest.
    pub age: Option<Duration>,
    /// Whether what a group needs stays beyond them.
    pub protect: bool,
}

/// What was seen on the broker.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Whether the stream is there.
    pub exists: bool,
    /// Entries in it.
    pub entries: u64,
    /// Id of the oldest.
    pub first: Option<String>,
    /// Id of the newest.
    pub last: Option<String>,
    /// Its groups.
    pub groups: Vec<Group>,
}

/// A group as the broker knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its consumers.
    pub consumers: u64,
    /// Entries given and not acknowledged.
    pub pending: u64,
    /// Entries not given yet, where Redis can tell.
    pub lag: Option<u64>,
    /// Id of the last entry given.
    pub delivered: String,
    /// Id of the oldest entry that is pending and still exists.
    pub oldest_pending: Option<String>,
    /// Id of the oldest entry that was not given.
    pub oldest_undelivered: Option<String>,
}

/// One step towards what should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make the stream exist.
    CreateStream,
    /// Make a group that begins after an id; the stream too, where it is missing.
    CreateGroup {
        /// Its name.
        name: String,
        /// The id it begins after, or `$`.
        after: String,
    },
    /// Remove what exceeds the limits.
    Trim(Limits),
}

/// Something that was provisioned and is no longer as it was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The stream is gone.
    StreamMissing,
    /// A group is gone.
    GroupMissing(String),
}

/// The steps, and the differences that they put right or that are only reported.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What to do, in order.
    pub steps: Vec<Step>,
    /// What was found different; empty where drift is ignored.
    pub differences: Vec<Difference>,
}

/// Why a spec cannot be worked with although the API server let it pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct InvalidSpec {
    /// The field.
    pub path: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

/// What the object called `name` asks for.
///
/// # Errors
/// When a duration cannot be read.
pub fn wanted(name: &str, spec: &SynapseTopicSpec) -> Result<Wanted, InvalidSpec> {
    let limits = match &spec.retention {
        None => None,
        Some(retention) => Some(Limits {
            entries: retention.entries.map(i64::unsigned_abs),
            age: retention.age.as_deref().map(|text| span("spec.retention.age", text)).transpose()?,
            protect: retention.unread != Some(Unread::Trim),
        }),
    };
    Ok(Wanted {
        stream: spec.name.clone().unwrap_or_else(|| name.to_owned()),
        groups: spec.consumer_groups.iter().flatten().map(|g| (g.name.clone(), begins_after(g))).collect(),
        limits,
        drift: spec.drift.unwrap_or(Drift::Enforce),
        adopt: spec.adoption == Some(Adoption::Adopt),
    })
}

/// What has to be done, given what the marker remembers and what was seen.
pub fn plan(wanted: &Wanted, marker: &Marker, seen: &Seen) -> Plan {
    let mut plan = Plan::default();
    let is_there = |name: &str| seen.groups.iter().any(|group| group.name == name);
    let provisioned_before = marker.provisioned || !marker.groups.is_empty();
    if !seen.exists && provisioned_before && wanted.drift != Drift::Ignore {
        plan.differences.push(Difference::StreamMissing);
    }
    if !seen.exists && wanted.groups.is_empty() && (!provisioned_before || wanted.drift == Drift::Enforce) {
        plan.steps.push(Step::CreateStream);
    }
    for (name, begin) in wanted.groups.iter().filter(|(name, _)| !is_there(name)) {
        let Some(went_on_after) = marker.groups.get(name) else {
            plan.steps.push(Step::CreateGroup { name: name.clone(), after: begin.clone() });
            continue;
        };
        if wanted.drift != Drift::Ignore {
            plan.differences.push(Difference::GroupMissing(name.clone()));
        }
        if wanted.drift == Drift::Enforce {
            // A stream that is gone begins anew: ids of the old one may lie beyond all that come.
            let after = if seen.exists { went_on_after } else { "0" };
            plan.steps.push(Step::CreateGroup { name: name.clone(), after: after.to_owned() });
        }
    }
    plan.steps.extend(wanted.limits.map(Step::Trim));
    plan
}

/// What the marker should remember once the listed groups are as seen.
pub fn remembered(marker: &Marker, wanted: &Wanted, seen: &Seen) -> Marker {
    let groups = wanted.groups.iter().filter_map(|(name, _)| {
        let position = match seen.groups.iter().find(|group| group.name == *name) {
            Some(group) => goes_on_after(group),
            None => marker.groups.get(name)?.clone(),
        };
        Some((name.clone(), position))
    });
    Marker { provisioned: marker.provisioned || seen.exists, groups: groups.collect(), ..marker.clone() }
}

/// The id after which a group would go on, so that it is given again what it has pending.
fn goes_on_after(group: &Group) -> String {
    group.oldest_pending.as_deref().and_then(previous).unwrap_or_else(|| group.delivered.clone())
}

/// The id right before another one.
fn previous(id: &str) -> Option<String> {
    let (milliseconds, sequence) = id.split_once('-')?;
    let (milliseconds, sequence): (u64, u64) = (milliseconds.parse().ok()?, sequence.parse().ok()?);
    match sequence.checked_sub(1) {
        Some(sequence) => Some(format!("{milliseconds}-{sequence}")),
        None => Some(format!("{}-{}", milliseconds.checked_sub(1)?, u64::MAX)),
    }
}

fn begins_after(group: &ConsumerGroup) -> String {
    match group.start_from.as_deref() {
        None | Some("Latest") => "$".to_owned(),
        Some("Earliest") => "0".to_owned(),
        Some(id) => id.to_owned(),
    }
}

pub(crate) fn span(path: &'static str, text: &str) -> Result<Duration, InvalidSpec> {
    parse_duration(text).map_err(|error| InvalidSpec { path, problem: error.to_string() })
}

#[cfg(test)]
mod tests;
