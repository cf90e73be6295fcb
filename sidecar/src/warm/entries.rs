//! Entries that the last sidecar has left, on their way into a memory that nobody uses yet.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use synapse_core::clock::{Deadline, SystemClock};
use synapse_core::memory::{Kept, Recalled};
use synapse_server::backend::Backend;
use synapse_warm::format::{Kind, Record};
use synapse_warm::left::{Left, Refused};
use tracing::info;

use super::Ended;

/// The way of entries into a backend that nobody uses yet.
pub(super) struct Door {
    backend: Arc<Backend>,
    /// Nothing that comes late may undo what a client has done.
    is_open: Mutex<bool>,
}

// === impl Door ===

impl Door {
    pub(super) fn new(backend: Arc<Backend>) -> Self {
        Self { backend, is_open: Mutex::new(true) }
    }

    /// Does something to the backend, unless the door is closed.
    pub(super) fn pass<R>(&self, then: impl FnOnce(&Backend) -> R) -> Option<R> {
        let is_open = self.is_open.lock().unwrap_or_else(PoisonError::into_inner);
        is_open.then(|| then(&self.backend))
    }

    /// Whether memory is all there is behind it: else entries have no business there.
    pub(super) fn leads_to_truth(&self) -> bool {
        self.backend.is_truth()
    }

    pub(super) fn close(&self) {
        *self.is_open.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }
}

/// Takes up entries until the file ends, memory is full, or time is up.
pub(super) fn take_up(
    mut left: Left,
    door: &Door,
    clock: &SystemClock,
    until: Instant,
) -> Result<(), Refused> {
    if left.kind() == Kind::Names {
        info!("the last sidecar had a Redis and has left names alone: starting empty");
        return Ok(());
    }
    let (began, hold) = (Instant::now(), left.deadlines_hold());
    let (mut kept, mut over) = (0_u64, 0_u64);
    let ended = loop {
        if Instant::now() >= until {
            break Ended::TimeIsUp;
        }
        let Some(Record { key, value, deadline, heat, .. }) = left.read()? else { break Ended::All };
        let deadline = match deadline {
            None => Deadline::NEVER,
            Some(boot_ms) if hold => clock.at_boot_ms(boot_ms),
            // The machine was started anew: how much of its time is left, nobody knows.
            Some(_) => Deadline::PAST,
        };
        let entry = Kept { key, value: value.unwrap_or_default(), deadline, heat };
        match door.pass(|backend| backend.recall(entry)) {
            Some(Recalled::Kept) => kept += 1,
            Some(Recalled::Unfit) => over += 1,
            Some(Recalled::Full) => break Ended::MemoryIsFull,
            None => break Ended::TimeIsUp,
        }
    };
    let took_ms = began.elapsed().as_millis() as u64;
    info!(kept, over, ?ended, took_ms, "taken up what the last sidecar has left");
    Ok(())
}

#[cfg(test)]
mod tests {
    use synapse_engine::arena_tier::ArenaTier;

    use super::*;

    #[test]
    fn nothing_comes_through_a_closed_door() {
        let clock = SystemClock::start();
        let tier = ArenaTier::new(1 << 20).unwrap();
        let backend = Arc::new(Backend::memory(clock.clone(), tier, None));
        let door = Door::new(Arc::clone(&backend));
        let entry = |key| Kept { key, value: b"v", deadline: Deadline::NEVER, heat: 1 };
        assert_eq!(door.pass(|backend| backend.recall(entry(b"a"))), Some(Recalled::Kept));
        door.close();
        assert_eq!(door.pass(|backend| backend.recall(entry(b"b"))), None);
        assert_eq!(door.pass(Backend::forget_all), None);
        assert_eq!(backend.figures().memory.entries, 1);
    }
}
