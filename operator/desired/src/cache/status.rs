//! The status of a cache, from what was found out about it and its pods.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use synapse_api::cache::{CoherenceMode, Effective, Flush, Pods, SynapseCacheSpec, SynapseCacheStatus};
use synapse_api::conditions::{self, Answer, Reason};
use synapse_config::written;

use super::instance::{Instance, hit_ratio};
use super::pods::{Observed, holds_less, mounts_what_is_named};
use crate::sidecar_config::Rendered;

/// The fields of the status that move by themselves: a message too, as long as its reason stays.
pub const COUNTERS: [&str; 2] = ["hitRatio", "message"];

/// What is wrong with something, in the words of conditions.
pub type Trouble = (Reason, String);

/// What was found out about a cache.
#[derive(Clone, Debug)]
pub struct Found<'a> {
    /// What is wanted.
    pub spec: &'a SynapseCacheSpec,
    /// Image that sidecars get where the cache does not say.
    pub image: &'a str,
    /// The configuration, or what no sidecar could use of it.
    pub rendered: Result<&'a Rendered, String>,
    /// Why the configuration is not where pods find it.
    pub unmounted: Option<Trouble>,
    /// Why a reference leads nowhere.
    pub unresolved: Option<Trouble>,
    /// The injected pods, each with what its sidecar says of itself.
    pub pods: &'a [(Observed, Option<Instance>)],
    /// Pods without sidecar that ask for this cache and should have it.
    pub naked: usize,
    /// Why the sidecars' own words could not be read from Redis.
    pub unheard: Option<Trouble>,
}

/// The status that says `found`.
#[must_use]
pub fn status(
    found: &Found<'_>,
    before: &SynapseCacheStatus,
    generation: Option<i64>,
    now: &Time,
) -> SynapseCacheStatus {
    let pods = count(found);
    let answers = answers(found, &pods).into_iter().map(|(kind, answer, reason, message)| {
        conditions::condition(kind, answer, reason, message, generation, now.clone(), &before.conditions)
    });
    let heard: Vec<_> = found.pods.iter().filter_map(|(_, instance)| instance.as_ref()).collect();
    SynapseCacheStatus {
        conditions: answers.collect(),
        observed_generation: generation,
        revision: found.rendered.as_ref().ok().map(|rendered| rendered.revision.clone()),
        pods: Some(pods),
        // While nobody can be heard, the last known ratio stays.
        hit_ratio: if found.unheard.is_some() { before.hit_ratio.clone() } else { hit_ratio(heard) },
        effective: found.rendered.as_ref().ok().map(|rendered| effective(found, rendered)),
    }
}

fn count(found: &Found<'_>) -> Pods {
    let revision = found.rendered.as_ref().ok().map(|rendered| rendered.revision.as_str());
    let known =
        |instance: &Option<Instance>| instance.as_ref().and_then(|instance| instance.revision.clone());
    let outdated = |(pod, instance): &&(Observed, Option<Instance>)| {
        let older = known(instance).is_some_and(|has| revision.is_some_and(|current| has != current));
        older || !mounts_what_is_named(&pod.credentials, found.spec)
    };
    let unknown = |pair: &&(Observed, Option<Instance>)| known(&pair.1).is_none() && !outdated(pair);
    Pods {
        injected: number(found.pods.len()),
        ready: number(found.pods.iter().filter(|(pod, _)| pod.ready).count()),
        outdated: number(found.pods.iter().filter(outdated).count()),
        naked: number(found.naked),
        unknown: number(found.pods.iter().filter(unknown).count()),
    }
}

type Said = (&'static str, Answer, Reason, String);

fn answers(found: &Found<'_>, pods: &Pods) -> [Said; 4] {
    let troubles = troubles(found, pods);
    let ready = match troubles.iter().find(|(reason, _)| !tolerable(*reason)) {
        Some((reason, message)) => (Answer::False, *reason, message.clone()),
        None if pods.injected == 0 => {
            (Answer::True, Reason::NoPods, "no pod names this cache yet".to_owned())
        }
        None if pods.ready < pods.injected => {
            let message = format!("{} of {} sidecars answer", pods.ready, pods.injected);
            (Answer::False, Reason::PodsNotReady, message)
        }
        None => (Answer::True, Reason::AsDesired, format!("{} sidecars answer", pods.ready)),
    };
    let degraded = match troubles.into_iter().next() {
        Some((reason, message)) => (Answer::True, reason, message),
        None => (Answer::False, Reason::AsDesired, "nothing is missing".to_owned()),
    };
    let resolved = match &found.unresolved {
        Some((reason, message)) => (Answer::False, *reason, message.clone()),
        None => (Answer::True, Reason::Resolved, "every reference leads somewhere".to_owned()),
    };
    [
        named(conditions::READY, ready),
        named(conditions::PROGRESSING, progressing(found, pods)),
        named(conditions::DEGRADED, degraded),
        named(conditions::REFERENCES_RESOLVED, resolved),
    ]
}

/// Everything that is less than it should be, worst first.
fn troubles(found: &Found<'_>, pods: &Pods) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    if let Err(problems) = &found.rendered {
        troubles.push((Reason::InvalidSpec, problems.clone()));
    }
    troubles.extend(found.unmounted.clone());
    troubles.extend(found.unresolved.clone());
    if pods.naked > 0 {
        let message = format!(
            "{} pods ask for the sidecar and have none; see their events, then delete them",
            pods.naked
        );
        troubles.push((Reason::PodsNaked, message));
    }
    let unmounted = found.pods.iter().filter(|(pod, _)| !mounts_what_is_named(&pod.credentials, found.spec));
    let unmounted = unmounted.count();
    if unmounted > 0 {
        let message = format!(
            "{unmounted} pods mount other Secrets than this object names and cannot use its Redis; delete them to have them created again"
        );
        troubles.push((Reason::CredentialsNotMounted, message));
    }
    if let Ok(rendered) = &found.rendered {
        let capacity = rendered.settings.memory.capacity;
        if found.pods.iter().any(|(pod, _)| holds_less(pod.memory_limit.as_deref(), capacity)) {
            let message = format!(
                "some pods have a memory limit that holds less than {}, and keep what fits: raise it where the pod or this object says it, and delete pods that are older than the capacity to have them created again",
                found.spec.capacity()
            );
            troubles.push((Reason::LimitBelowCapacity, message));
        }
    }
    troubles.extend(found.unheard.clone());
    troubles
}

/// What leaves the sockets answering as they should: Redis may be out of the operator's reach alone, and a smaller
/// cache is a cache.
fn tolerable(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::BrokerUnreachable
            | Reason::BrokerRefused
            | Reason::BrokerUnsupported
            | Reason::LimitBelowCapacity
    )
}

fn progressing(found: &Found<'_>, pods: &Pods) -> (Answer, Reason, String) {
    if pods.injected == 0 {
        return (Answer::False, Reason::NoPods, "no pod names this cache yet".to_owned());
    }
    if pods.outdated > 0 {
        let message = format!(
            "{} of {} pods have not taken up the current revision; a changed file reaches them within about 90 s",
            pods.outdated, pods.injected
        );
        return (Answer::True, Reason::PodsOutdated, message);
    }
    if pods.unknown > 0 {
        let (reason, why) = match &found.unheard {
            Some((reason, message)) => (*reason, message.as_str()),
            None if found.spec.redis.is_none() => {
                (Reason::NotObserved, "without Redis, pods report to nobody")
            }
            None => (Reason::NotObserved, "they have not reported yet"),
        };
        let message = format!("the revision of {} of {} pods is unknown: {why}", pods.unknown, pods.injected);
        return (Answer::Unknown, reason, message);
    }
    (Answer::False, Reason::AsDesired, "every pod has the current revision".to_owned())
}

fn effective(found: &Found<'_>, rendered: &Rendered) -> Effective {
    let redis = rendered.settings.redis.as_ref();
    let tracking =
        |redis: &&synapse_config::resolved::Redis| redis.coherence == written::CoherenceMode::Tracking;
    let said = found.spec.redis.as_ref().and_then(|redis| redis.coherence.as_ref());
    let max_stale = said.and_then(|coherence| coherence.max_stale.clone());
    let image = found.spec.sidecar.as_ref().and_then(|sidecar| sidecar.image.clone());
    Effective {
        capacity: found.spec.capacity().to_owned(),
        key_prefix: redis.map(|redis| redis.key_prefix.clone()),
        coherence: redis.map(|redis| match redis.coherence {
            written::CoherenceMode::Tracking => CoherenceMode::Tracking,
            written::CoherenceMode::Off => CoherenceMode::Off,
        }),
        max_stale: redis
            .filter(tracking)
            .map(|redis| max_stale.unwrap_or_else(|| format!("{}s", redis.max_stale.as_secs()))),
        flush: redis.map(|redis| match redis.flush {
            written::Flush::Allowed => Flush::Allowed,
            written::Flush::Refused => Flush::Refused,
        }),
        image: Some(image.unwrap_or_else(|| found.image.to_owned())),
    }
}

fn named(kind: &'static str, (answer, reason, message): (Answer, Reason, String)) -> Said {
    (kind, answer, reason, message)
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
