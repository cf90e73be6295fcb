//! The end as a value: one side asks for it, every session holds the other.

use tokio::sync::watch;

/// Asks everything that holds a [`Drain`] to finish. Dropping it asks too.
#[derive(Debug)]
pub struct Signal(watch::Sender<bool>);

/// Tells when the end was asked for.
#[derive(Debug, Clone)]
pub struct Drain(watch::Receiver<bool>);

/// A signal and the drain that hears it.
pub fn channel() -> (Signal, Drain) {
    let (sender, receiver) = watch::channel(false);
    (Signal(sender), Drain(receiver))
}

impl Signal {
    /// Asks for the end.
    pub fn drain(&self) {
        self.0.send_replace(true);
    }
}

impl Drain {
    /// Whether the end was asked for.
    pub fn is_draining(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Waits until the end is asked for.
    pub async fn draining(&mut self) {
        // An error says that the signal was dropped, which asks as well.
        let _ = self.0.wait_for(|draining| *draining).await;
    }
}
