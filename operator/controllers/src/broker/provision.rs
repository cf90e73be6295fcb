//! Brings one stream to what it should be: claim, observe, plan, act, observe.

use std::future::Future;

use synapse_desired::topic::status::{Held, Outcome};
use synapse_desired::topic::{Marker, Owner, Seen, Step, Wanted, plan, remembered};

use super::error::BrokerError;
use super::{Claim, Stream};

/// The most trims in one go; what is left is trimmed at the next visit.
const MOST_TRIMS: usize = 400;

/// What was done, and whether there is more of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Provisioned {
    /// For the status.
    pub outcome: Outcome,
    /// Whether retention was cut short to let others have their turn.
    pub more: bool,
    /// Whether something was made that was not there.
    pub created: bool,
}

/// Does all that `wanted` asks of the broker.
///
/// `is_void` tells whether a claim means nothing any more because the object that made it is gone; the stream is then
/// one that belongs to nobody, to be taken only where adoption is asked for.
///
/// # Errors
/// When the broker did not answer or refused; what was done stays, and doing it again does no harm.
pub async fn provision<V: Future<Output = bool>>(
    stream: &Stream,
    wanted: &Wanted,
    is_void: impl Fn(Owner) -> V,
) -> Result<Provisioned, BrokerError> {
    let mut claim = stream.claim(wanted.adopt).await?;
    if let Claim::Taken(owner, text) = &claim
        && is_void(owner.clone()).await
    {
        stream.void_marker(text).await?;
        claim = stream.claim(wanted.adopt).await?;
    }
    let outcome = match claim {
        Claim::Ours(marker, text) => return work(stream, wanted, marker, &text).await,
        Claim::Taken(owner, _) => Outcome::Taken(owner),
        Claim::NotAdopted => Outcome::NotAdopted,
        Claim::NotAStream(kind) => Outcome::NotAStream(kind),
    };
    Ok(Provisioned { outcome, more: false, created: false })
}

async fn work(
    stream: &Stream,
    wanted: &Wanted,
    marker: Marker,
    text: &str,
) -> Result<Provisioned, BrokerError> {
    let seen = stream.observe().await?;
    let plan = plan(wanted, &marker, &seen);
    let (mut held, mut more) = (None, false);
    for step in &plan.steps {
        match step {
            Step::CreateStream => stream.ensure(None).await?,
            Step::CreateGroup { name, after } => stream.ensure(Some((name, after))).await?,
            Step::Trim(limits) => {
                for _ in 0..MOST_TRIMS {
                    let trimmed = stream.trim(*limits, &wanted.groups).await?;
                    (held, more) = (trimmed.held, trimmed.more);
                    if !more {
                        break;
                    }
                }
            }
        }
    }
    let seen = if plan.steps.is_empty() { seen } else { stream.observe().await? };
    note(stream, wanted, &marker, text, &seen).await?;
    let created = plan.steps.iter().any(|step| !matches!(step, Step::Trim(_)));
    Ok(Provisioned { outcome: worked(seen, plan.differences, held), more, created })
}

/// Remembers the groups' positions beside the stream, where a restarted operator finds them.
async fn note(
    stream: &Stream,
    wanted: &Wanted,
    marker: &Marker,
    text: &str,
    seen: &Seen,
) -> Result<(), BrokerError> {
    let now = remembered(marker, wanted, seen);
    if now != *marker && !stream.replace_marker(text, &now).await? {
        return Err(BrokerError::ClaimLost);
    }
    Ok(())
}

fn worked(seen: Seen, differences: Vec<synapse_desired::topic::Difference>, held: Option<Held>) -> Outcome {
    Outcome::Worked { seen, differences, held, draining: None }
}
