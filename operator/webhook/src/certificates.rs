//! The webhook's certificates: what is in the Secret, and what to do about it at a given time.
//!
//! One Secret holds the authorities, newest first, and one serving certificate. A new authority is published beside
//! the old one before anything is signed with it, and the old one stays published after the last certificate that it
//! signed is gone, so no replica ever serves what the API server cannot verify.

mod inspect;
mod issue;

use inspect::is_certificate;
pub use inspect::{InspectError, Inspected, inspect, verifies};
pub use issue::IssueError;

/// Seconds in a day.
const DAY: i64 = 86_400;
/// How long an authority lives, in seconds.
pub const AUTHORITY_LIFE: i64 = 3 * 365 * DAY;
/// An authority with less than this to live, in seconds, gets its successor.
pub const AUTHORITY_RENEWAL: i64 = 365 * DAY;
/// How long a serving certificate lives, in seconds.
pub const LEAF_LIFE: i64 = 90 * DAY;
/// A serving certificate with less than this to live, in seconds, is replaced.
pub const LEAF_RENEWAL: i64 = 30 * DAY;
/// How long two authorities stay published together on either side of a change, in seconds.
pub const OVERLAP: i64 = 3_600;
/// Clocks of a cluster differ by less than this, in seconds: certificates begin that much earlier.
pub const CLOCK_SKEW: i64 = 3_600;
/// At most so many authorities are published at once.
pub const MAX_AUTHORITIES: usize = 4;

/// What the Secret holds, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Material {
    /// Certificates of the authorities, newest first.
    pub authorities: Vec<String>,
    /// Key of the newest authority.
    pub authority_key: String,
    /// The serving certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing.
    Keep,
    /// Make everything anew: there is nothing, or nothing that can be used.
    Make,
    /// Publish a successor of the newest authority; go on serving what there is.
    AddAuthority,
    /// Sign a serving certificate with the newest authority.
    SignLeaf,
    /// Stop publishing all authorities but the newest.
    DropAuthorities,
}

// === impl Material ===

impl Material {
    /// The authorities as the API server wants them: one PEM bundle.
    #[must_use]
    pub fn bundle(&self) -> String {
        self.authorities.concat()
    }

    /// Publishes `authorities`, too, as far as they are certificates and there is room. They sign nothing any more, and
    /// are dropped when the serving certificate is [`OVERLAP`] old.
    pub fn trust_also(&mut self, authorities: impl IntoIterator<Item = String>) {
        for authority in authorities {
            let known = self.authorities.iter().any(|known| known.trim() == authority.trim());
            if self.authorities.len() < MAX_AUTHORITIES && !known && is_certificate(&authority) {
                self.authorities.push(authority);
            }
        }
    }

    /// Carries `plan` out at `now` (seconds since 1970) for a server of the DNS names `hosts`.
    ///
    /// # Errors
    /// When a key cannot be made or read.
    pub fn follow(this: Option<&Self>, plan: Plan, hosts: &[String], now: i64) -> Result<Self, IssueError> {
        match (plan, this) {
            (Plan::Make, _) | (_, None) => {
                let (authority, authority_key) = issue::authority(now)?;
                let (certificate, key) = issue::leaf(&authority, &authority_key, hosts, now)?;
                Ok(Self { authorities: vec![authority], authority_key, certificate, key })
            }
            (Plan::Keep, Some(material)) => Ok(material.clone()),
            (Plan::AddAuthority, Some(material)) => {
                let (authority, authority_key) = issue::authority(now)?;
                let mut authorities = vec![authority];
                authorities.extend(material.authorities.iter().take(MAX_AUTHORITIES - 1).cloned());
                Ok(Self { authorities, authority_key, ..material.clone() })
            }
            (Plan::SignLeaf, Some(material)) => {
                let newest = material.authorities.first().map_or("", String::as_str);
                let (certificate, key) = issue::leaf(newest, &material.authority_key, hosts, now)?;
                Ok(Self { certificate, key, ..material.clone() })
            }
            (Plan::DropAuthorities, Some(material)) => {
                Ok(Self { authorities: material.authorities[..1].to_vec(), ..material.clone() })
            }
        }
    }
}

impl std::fmt::Debug for Material {
    /// Without the keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Material").field("authorities", &self.authorities.len()).finish_non_exhaustive()
    }
}

/// What to do at `now` (seconds since 1970) about certificates for `hosts`.
#[must_use]
pub fn plan(material: Option<&Material>, hosts: &[String], now: i64) -> Plan {
    let Some(material) = material else { return Plan::Make };
    let Ok(Inspected { authorities, leaf, leaf_signed_by }) = inspect(material) else { return Plan::Make };
    let Some(newest) = authorities.first() else { return Plan::Make };
    let outside = |validity: &inspect::Validity| now < validity.not_before || now >= validity.not_after;
    if outside(newest) || outside(&leaf.validity) || leaf.hosts != *hosts {
        return Plan::Make;
    }
    let Some(signer) = leaf_signed_by else { return Plan::Make };
    // Certificates are dated back by CLOCK_SKEW; what counts here is when they were made.
    let age = |validity: &inspect::Validity| now - validity.not_before - CLOCK_SKEW;
    if newest.not_after - now < AUTHORITY_RENEWAL {
        Plan::AddAuthority
    } else if (signer > 0 && age(newest) >= OVERLAP)
        || (signer == 0 && leaf.validity.not_after - now < LEAF_RENEWAL)
    {
        Plan::SignLeaf
    } else if signer == 0 && authorities.len() > 1 && age(&leaf.validity) >= OVERLAP {
        Plan::DropAuthorities
    } else {
        Plan::Keep
    }
}

#[cfg(test)]
mod tests;
