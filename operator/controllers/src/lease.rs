//! Leader election on a Lease: taken with its version, stepped down from without the server's help.

pub mod decision;

use decision::{Next, Sighting, held, next, released};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long a lease lasts, and how eagerly it is renewed.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// How long the others wait for a silent leader.
    pub duration: Duration,
    /// How long the leader goes on without a renewal; shorter than `duration`, so that it has stopped before
    /// another may start.
    pub renew_deadline: Duration,
    /// Pause between two attempts.
    pub retry: Duration,
    /// Limit of one call to the API server.
    pub call: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
            call: Duration::from_secs(5),
        }
    }
}

/// Why this process leads no longer. There is one right answer to it: stop everything and exit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// No renewal succeeded before the deadline.
    #[error("the lease could not be renewed within its deadline")]
    Deadline,
    /// Another holds it.
    #[error("the lease is held by {0}")]
    Taken(String),
}

/// One candidate for one lease.
#[derive(Debug)]
pub struct Election {
    api: Api<Lease>,
    name: String,
    me: String,
    timing: Timing,
    sighting: Option<Sighting>,
    renewed: Option<Instant>,
}

/// Why one attempt did not get an answer.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("the API server did not answer in time")]
    Timeout,
    #[error(transparent)]
    Api(#[from] kube::Error),
}

impl Election {
    /// A candidate called `me`, a name that no other process ever had: a restarted one must not take itself for
    /// the leader that it was.
    pub fn new(api: Api<Lease>, name: &str, me: String, timing: Timing) -> Self {
        Self { api, name: name.to_owned(), me, timing, sighting: None, renewed: None }
    }

    /// Waits until the lease is ours, however long that takes.
    pub async fn acquire(&mut self) {
        loop {
            let sent = Instant::now();
            match self.attempt().await {
                Ok(None) => {
                    self.renewed = Some(sent);
                    return;
                }
                Ok(Some(holder)) => tracing::debug!(%holder, "following"),
                Err(error) => tracing::warn!(%error, lease = self.name, "could not read or take the lease"),
            }
            sleep(crate::jitter::lengthen(self.timing.retry)).await;
        }
    }

    /// Renews the lease for as long as that succeeds, and says why it no longer does.
    ///
    /// The deadline counts from the sending of the last request that succeeded, so a server that is frozen,
    /// slow, or gone makes no difference to when this returns.
    pub async fn hold(&mut self) -> Lost {
        let mut renewed = *self.renewed.get_or_insert_with(Instant::now);
        loop {
            let deadline = renewed + self.timing.renew_deadline;
            let retry = crate::jitter::lengthen(self.timing.retry);
            if timeout_at(deadline, sleep(retry)).await.is_err() {
                return Lost::Deadline;
            }
            let sent = Instant::now();
            match timeout_at(deadline, self.attempt()).await {
                Err(_) => return Lost::Deadline,
                Ok(Ok(None)) => {
                    renewed = sent;
                    self.renewed = Some(sent);
                }
                Ok(Ok(Some(holder))) => return Lost::Taken(holder),
                Ok(Err(error)) => tracing::warn!(%error, lease = self.name, "could not renew the lease"),
            }
        }
    }

    /// Lets go of the lease if it is ours, so that the next leader need not wait. Call it when everything that
    /// only a leader may do has stopped.
    pub async fn release(&mut self) {
        let release = async {
            let Some(lease) = self.api.get_opt(&self.name).await? else { return Ok(()) };
            if next(&self.me, Some(&lease), &mut None, Instant::now()) != Next::Renew {
                return Ok(());
            }
            let lease = released(lease, MicroTime(Timestamp::now()));
            self.api.replace(&self.name, &PostParams::default(), &lease).await.map(drop)
        };
        match timeout(self.timing.call, release).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "the lease was not released; the next leader waits for its end")
            }
            Err(_) => tracing::warn!("the lease was not released in time; the next leader waits for its end"),
        }
    }

    /// Reads, decides, writes: `None` if the lease is ours now, or its holder.
    async fn attempt(&mut self) -> Result<Option<String>, AttemptError> {
        let limit = self.timing.call;
        timeout(limit, self.read_and_write()).await.map_err(|_| AttemptError::Timeout)?
    }

    async fn read_and_write(&mut self) -> Result<Option<String>, AttemptError> {
        let lease = self.api.get_opt(&self.name).await?;
        let post = PostParams::default();
        let decided = next(&self.me, lease.as_ref(), &mut self.sighting, Instant::now());
        let wall = MicroTime(Timestamp::now());
        match decided {
            Next::Wait { holder, remaining } => {
                tracing::trace!(%holder, ?remaining, "the lease is valid");
                return Ok(Some(holder));
            }
            Next::Create => {
                let lease = held(None, &self.name, &self.me, self.timing.duration, wall);
                self.api.create(&post, &lease).await?;
            }
            Next::Take | Next::Renew => {
                let lease = held(lease, &self.name, &self.me, self.timing.duration, wall);
                self.api.replace(&self.name, &post, &lease).await?;
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
