//! A warm start: what the last process on the same path held is taken up, and what this one holds is left.

mod entries;
mod leave;
mod names;

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use synapse_core::clock::SystemClock;
use synapse_server::backend::Backend;
use synapse_warm::claim::Claim;
use synapse_warm::left::{Left, Refused};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{error, info, warn};

use self::entries::{Door, take_up};
use self::leave::{Written, write};
pub(crate) use self::names::ask;

/// The right to leave a file, and how much of it.
pub(crate) struct Warm {
    claim: Claim,
    limit: Option<u64>,
}

/// How the time between the signal and the end is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grace {
    /// For clients to finish.
    pub(crate) sessions: Duration,
    /// For the file.
    pub(crate) writing: Duration,
}

/// Why no more was written, taken up or asked for.
#[derive(Debug, Clone, Copy)]
enum Ended {
    /// There is no more.
    All,
    TimeIsUp,
    MemoryIsFull,
    LimitIsReached,
    /// The configuration has no Redis any more.
    NobodyToAsk,
    /// The rest could not be read.
    Unread,
}

/// The longest that entries are read for; what is left then is colder than what was read.
const LONGEST_READ: Duration = Duration::from_secs(3);

/// The longest that the socket waits for all that, if the disk stands still.
const LONGEST_START: Duration = Duration::from_secs(4);

/// The longest that the file is written for, and its part of the grace period: one in so many.
const LONGEST_WRITE: Duration = Duration::from_secs(5);
const WRITING_SHARE: u32 = 4;

/// The part of that in which entries are added, in quarters: the rest is for the disk.
const ADDING_QUARTERS: u32 = 3;

/// Takes the claim to the file at `path`, and takes up what was left there. Before a Redis only names count: they are
/// answered, to be asked for with [`ask`]. Without the claim the sidecar goes on without a file.
pub(crate) async fn start(
    path: &Path,
    limit: Option<u64>,
    backend: &Arc<Backend>,
    clock: &SystemClock,
) -> (Option<Warm>, Option<Left>) {
    let (done, answer) = oneshot::channel();
    let door = Arc::new(Door::new(Arc::clone(backend)));
    let (path, clock, inner) = (path.to_owned(), clock.clone(), Arc::clone(&door));
    // Not a task of the runtime, which would wait for it at its end, however long the disk takes.
    thread::spawn(move || {
        // Where nobody waits for it any more, it is dropped.
        let _ = done.send(begin(&path, limit, &inner, &clock));
    });
    match timeout(LONGEST_START, answer).await {
        Ok(Ok(begun)) => return begun,
        Ok(Err(_)) => error!("no warm file: reading it failed"),
        Err(_) => error!("no warm file: the disk is too slow; going on with what was taken up so far"),
    }
    door.close();
    (None, None)
}

fn begin(path: &Path, limit: Option<u64>, door: &Door, clock: &SystemClock) -> (Option<Warm>, Option<Left>) {
    let until = Instant::now() + LONGEST_READ;
    let (claim, left) = match Claim::take(path, clock.boot_ms()) {
        Ok(taken) => taken,
        Err(error) => {
            error!(%error, "no warm file: nothing is taken up, and nothing will be left");
            return (None, None);
        }
    };
    let warm = Some(Warm { claim, limit });
    match left {
        Ok(None) => info!("no sidecar has left anything: starting empty"),
        Ok(Some(left)) if !door.leads_to_truth() => return (warm, Some(left)),
        Ok(Some(left)) => {
            if let Err(refused) = take_up(left, door, clock, until) {
                door.pass(Backend::forget_all);
                refuse(&refused);
            }
        }
        Err(refused) => refuse(&refused),
    }
    (warm, None)
}

fn refuse(refused: &Refused) {
    warn!(%refused, "what the last sidecar has left cannot be used: starting empty");
}

// === impl Grace ===

impl Grace {
    /// The parts of `grace`, which is the whole with a file as without one.
    pub(crate) fn of(grace: Duration, is_warm: bool) -> Self {
        let writing = if is_warm { (grace / WRITING_SHARE).min(LONGEST_WRITE) } else { Duration::ZERO };
        Self { sessions: grace - writing, writing }
    }
}

// === impl Warm ===

impl Warm {
    /// Leaves what `backend` holds, which nobody uses any more. Ends within `budget`.
    pub(crate) async fn leave(
        self,
        backend: Arc<Backend>,
        clock: SystemClock,
        capacity: u64,
        budget: Duration,
    ) {
        let began = Instant::now();
        let limit = self.limit.unwrap_or(capacity);
        let (done, answer) = oneshot::channel();
        // Not a task of the runtime either.
        thread::spawn(move || {
            let until = began + budget * ADDING_QUARTERS / 4;
            let _ = done.send(write(&self.claim, &backend, &clock, limit, until));
        });
        let took_ms = || began.elapsed().as_millis() as u64;
        match timeout(budget, answer).await {
            Ok(Ok(Ok(Written { records, bytes, ended }))) => {
                info!(records, bytes, ?ended, took_ms = took_ms(), "left what is held to the next sidecar");
            }
            Ok(Ok(Err(error))) => warn!(%error, "nothing is left to the next sidecar"),
            Ok(Err(_)) => error!("nothing is left to the next sidecar: writing it failed"),
            Err(_) => warn!(?budget, "nothing is left to the next sidecar: the disk is too slow"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_takes_no_longer_with_a_file_than_without_one() {
        let seconds = Duration::from_secs_f64;
        for (grace, sessions, writing) in
            [(20.0, 15.0, 5.0), (60.0, 55.0, 5.0), (2.0, 1.5, 0.5), (0.0, 0.0, 0.0)]
        {
            let expected = Grace { sessions: seconds(sessions), writing: seconds(writing) };
            assert_eq!(Grace::of(seconds(grace), true), expected);
            assert_eq!(Grace::of(seconds(grace), false).sessions, seconds(grace));
        }
    }
}
