//! Notices at once that the other end of a connection is gone, at no cost to who asks.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};

/// Room for what an allocator does in a thread that is new to it; the thread only waits.
const STACK_BYTES: usize = 256 << 10;

/// Watches one connection, until it ends.
#[derive(Debug, Clone)]
pub(crate) struct Hangup(Arc<AtomicBool>);

impl Hangup {
    /// Watches the connection of which `descriptor` is a duplicate. Where no thread can be had, nothing is noticed.
    pub(crate) fn of(descriptor: OwnedFd) -> Self {
        let gone = Arc::new(AtomicBool::new(false));
        let watched = Self(Arc::clone(&gone));
        let watch = move || {
            let mut waiting = [PollFd::new(&descriptor, PollFlags::RDHUP)];
            // Interrupted calls are begun again; any other end, and any other failure, is one.
            while matches!(poll(&mut waiting, None), Err(rustix::io::Errno::INTR)) {}
            gone.store(true, Ordering::Release);
        };
        let name = "synapse-hangup".to_owned();
        // The lease of the memory says the same a little later.
        let _ = thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(watch);
        watched
    }

    #[inline]
    pub(crate) fn is_gone(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
