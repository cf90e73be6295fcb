//! The memory that unfinished requests of all sessions may hold together.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of bytes that sessions share; the number can change while they hold some of it.
#[derive(Debug)]
pub(crate) struct Budget {
    most: AtomicUsize,
    held: AtomicUsize,
}

/// What one session holds of a budget; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    held: usize,
}

impl Budget {
    /// A budget of so many bytes.
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { most: AtomicUsize::new(bytes), held: AtomicUsize::new(0) })
    }

    /// How many bytes there are, held ones included.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// Makes it `bytes` from now on. What is held beyond that stays held; nobody gets more until it is given back.
    pub(crate) fn set_most(&self, bytes: usize) {
        self.most.store(bytes, Ordering::Relaxed);
    }

    /// A share that holds nothing yet.
    pub(crate) fn share(self: &Arc<Self>) -> Share {
        Share { budget: Arc::clone(self), held: 0 }
    }
}

impl Share {
    /// Makes the share hold exactly `bytes`.
    ///
    /// # Errors
    /// [`io::ErrorKind::OutOfMemory`] when the others leave less than that; the share is what it was.
    pub(crate) fn hold(&mut self, bytes: usize) -> io::Result<()> {
        let Budget { most, held } = &*self.budget;
        if bytes == self.held {
            return Ok(());
        }
        if bytes < self.held {
            held.fetch_sub(self.held - bytes, Ordering::Relaxed);
        } else {
            let (more, most) = (bytes - self.held, most.load(Ordering::Relaxed));
            let grown = |held: usize| held.checked_add(more).filter(|held| *held <= most);
            held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).map_err(|held| {
                let text = format!(
                    "request too large: unfinished requests hold {held} of {most} bytes, a share of the cache's capacity, and this one wants {more} more"
                );
                io::Error::new(io::ErrorKind::OutOfMemory, text)
            })?;
        }
        self.held = bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.held, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_taken_refused_and_given_back() {
        let budget = Budget::new(100);
        let (mut one, mut two) = (budget.share(), budget.share());
        assert!(one.hold(60).is_ok() && two.hold(40).is_ok());
        assert!(two.hold(41).is_err());
        assert!(one.hold(59).is_ok() && two.hold(41).is_ok());
        drop(one);
        assert!(two.hold(100).is_ok());
        drop(two);
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_budget_that_shrank_takes_nothing_back_and_gives_no_more() {
        let budget = Budget::new(100);
        let (mut one, mut two) = (budget.share(), budget.share());
        assert!(one.hold(80).is_ok());
        budget.set_most(50);
        assert!(one.hold(81).is_err() && two.hold(1).is_err() && one.hold(60).is_ok());
        assert!(one.hold(10).is_ok() && two.hold(40).is_ok() && two.hold(41).is_err());
    }
}
