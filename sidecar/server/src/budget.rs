//! The memory that unfinished requests of all sessions may hold together.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of bytes that sessions share.
#[derive(Debug)]
pub(crate) struct Budget {
    left: AtomicUsize,
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
        Arc::new(Self { left: AtomicUsize::new(bytes) })
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
    /// When the others leave less than that; the share is what it was.
    pub(crate) fn hold(&mut self, bytes: usize) -> io::Result<()> {
        let left = &self.budget.left;
        if bytes <= self.held {
            left.fetch_add(self.held - bytes, Ordering::Relaxed);
        } else {
            let more = bytes - self.held;
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(more)).map_err(
                |left| {
                    let text =
                        format!("unfinished requests hold too much memory: {more} bytes wanted, {left} left");
                    io::Error::new(io::ErrorKind::OutOfMemory, text)
                },
            )?;
        }
        self.held = bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.held, Ordering::Relaxed);
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
        assert_eq!(budget.left.load(Ordering::Relaxed), 100);
    }
}
