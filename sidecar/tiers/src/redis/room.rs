//! What may be under way on one connection: room that operations take and give back.

use std::sync::Arc;

use synapse_core::remote::RemoteError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// The room of one connection, in KiB of arguments.
#[derive(Clone)]
pub(crate) struct Room {
    free: Arc<Semaphore>,
    all: u32,
}

/// A part of it, given back with the value.
pub(crate) type Share = OwnedSemaphorePermit;

/// What the smallest operation takes, in KiB.
const LEAST: u32 = 1;

// === impl Room ===

impl Room {
    /// Room for arguments of so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let all = kib(bytes).max(LEAST);
        Self { free: Arc::new(Semaphore::new(all as usize)), all }
    }

    /// How many operations fill it at most.
    pub(crate) fn operations(bytes: usize) -> usize {
        (kib(bytes) / LEAST).max(1) as usize
    }

    /// Room for an operation, if there is some now. One that is larger than all of it needs all of it.
    pub(crate) fn try_take(&self, bytes: usize) -> Result<Share, RemoteError> {
        Arc::clone(&self.free).try_acquire_many_owned(self.size(bytes)).map_err(|_| RemoteError::Busy)
    }

    /// As [`Room::try_take`], for an operation that may wait until half of its time is over: in turn.
    pub(crate) async fn take(&self, bytes: usize, until: Instant) -> Result<Share, RemoteError> {
        let half = until.saturating_duration_since(Instant::now()) / 2;
        match timeout(half, Arc::clone(&self.free).acquire_many_owned(self.size(bytes))).await {
            Ok(Ok(share)) => Ok(share),
            _ => Err(RemoteError::Busy),
        }
    }

    fn size(&self, bytes: usize) -> u32 {
        kib(bytes).saturating_add(LEAST).min(self.all)
    }
}

fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes >> 10).unwrap_or(u32::MAX)
}
