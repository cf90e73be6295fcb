//! Whether a lease may be taken: decided from what was seen, by the clock of this process alone.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use std::time::Duration;
use tokio::time::Instant;

/// The last change of the lease that this process has seen.
///
/// How long another's lease stays valid counts from the moment at which *we* saw it change: the time that its
/// holder wrote comes from another machine's clock and decides nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    version: Option<String>,
    at: Instant,
}

/// What to do about the lease now.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// There is none: create it in our name.
    Create,
    /// It is ours: renew it.
    Renew,
    /// Nobody holds it, or its holder has been silent for its whole duration: take it.
    Take,
    /// It is another's, and may not be taken before this much time has passed.
    Wait {
        /// Who holds it.
        holder: String,
        /// How long it stays valid if its holder stays silent.
        remaining: Duration,
    },
}

/// Decides, and notes in `sighting` when the lease was last seen to change.
pub fn next(me: &str, lease: Option<&Lease>, sighting: &mut Option<Sighting>, now: Instant) -> Next {
    let Some(lease) = lease else { return Next::Create };
    let version = &lease.metadata.resource_version;
    if sighting.as_ref().is_none_or(|seen| seen.version != *version) {
        *sighting = Some(Sighting { version: version.clone(), at: now });
    }
    let spec = lease.spec.as_ref();
    let holder = spec.and_then(|s| s.holder_identity.as_deref()).unwrap_or_default();
    if holder == me {
        return Next::Renew;
    }
    let seconds = spec.and_then(|s| s.lease_duration_seconds).unwrap_or_default().max(0);
    let expiry = sighting.as_ref().map_or(now, |seen| seen.at) + Duration::from_secs(seconds as u64);
    if holder.is_empty() || now >= expiry {
        return Next::Take;
    }
    Next::Wait { holder: holder.to_owned(), remaining: expiry - now }
}

/// The lease as it reads once `me` has created, taken or renewed it; it keeps the version it was read with, so
/// that writing it fails if anybody was faster.
pub fn held(lease: Option<Lease>, name: &str, me: &str, duration: Duration, wall: MicroTime) -> Lease {
    let mut lease = lease.unwrap_or_else(|| Lease {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        spec: None,
    });
    let before = lease.spec.take().unwrap_or_default();
    let ours = before.holder_identity.as_deref() == Some(me);
    let transitions = before.lease_transitions.unwrap_or_default();
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(me.to_owned()),
        lease_duration_seconds: Some(duration.as_secs().try_into().unwrap_or(i32::MAX)),
        acquire_time: before.acquire_time.clone().filter(|_| ours).or_else(|| Some(wall.clone())),
        lease_transitions: Some(if ours { transitions } else { transitions.saturating_add(1) }),
        renew_time: Some(wall),
        ..before
    });
    lease
}

/// The lease as it reads once its holder has let go of it.
pub fn released(mut lease: Lease, wall: MicroTime) -> Lease {
    let before = lease.spec.take().unwrap_or_default();
    lease.spec = Some(LeaseSpec {
        holder_identity: None,
        lease_duration_seconds: Some(1),
        acquire_time: Some(wall.clone()),
        renew_time: Some(wall),
        ..before
    });
    lease
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::jiff::Timestamp;

    const DURATION: Duration = Duration::from_secs(15);

    fn wall(second: i64) -> MicroTime {
        MicroTime(Timestamp::from_second(second).unwrap())
    }

    fn lease_of(holder: &str, version: &str) -> Lease {
        let mut lease = held(None, "x", holder, DURATION, wall(0));
        lease.metadata.resource_version = Some(version.to_owned());
        lease
    }

    #[test]
    fn creates_what_is_missing_and_renews_its_own() {
        let now = Instant::now();
        assert_eq!(next("a", None, &mut None, now), Next::Create);
        assert_eq!(next("a", Some(&lease_of("a", "1")), &mut None, now), Next::Renew);
    }

    #[test]
    fn anothers_lease_is_valid_from_the_moment_it_was_seen_whatever_its_times_say() {
        let (start, mut seen) = (Instant::now(), None);
        let lease = lease_of("b", "1"); // renewed in 1970 by its own account
        let wait = |remaining| Next::Wait { holder: "b".into(), remaining };
        assert_eq!(next("a", Some(&lease), &mut seen, start), wait(DURATION));
        assert_eq!(next("a", Some(&lease), &mut seen, start + DURATION / 3), wait(DURATION * 2 / 3));
        assert_eq!(next("a", Some(&lease), &mut seen, start + DURATION), Next::Take);
    }

    #[test]
    fn a_renewal_starts_the_time_anew() {
        let (start, mut seen) = (Instant::now(), None);
        next("a", Some(&lease_of("b", "1")), &mut seen, start);
        let later = start + DURATION;
        assert_eq!(
            next("a", Some(&lease_of("b", "2")), &mut seen, later),
            Next::Wait { holder: "b".into(), remaining: DURATION }
        );
    }

    #[test]
    fn a_released_lease_is_free_at_once() {
        let lease = released(lease_of("b", "1"), wall(9));
        assert_eq!(next("a", Some(&lease), &mut None, Instant::now()), Next::Take);
    }

    #[test]
    fn taking_counts_a_transition_and_renewing_does_not() {
        let taken = held(Some(lease_of("b", "7")), "x", "a", DURATION, wall(100));
        let spec = taken.spec.clone().unwrap();
        assert_eq!((spec.lease_transitions, spec.acquire_time), (Some(2), Some(wall(100))));
        assert_eq!(taken.metadata.resource_version.as_deref(), Some("7"), "written with the version read");
        let spec = held(Some(taken), "x", "a", DURATION, wall(102)).spec.unwrap();
        assert_eq!((spec.lease_transitions, spec.acquire_time), (Some(2), Some(wall(100))));
        assert_eq!(spec.renew_time, Some(wall(102)));
    }
}
