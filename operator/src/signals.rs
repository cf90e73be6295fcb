//! SIGTERM and SIGINT, and the one word that everything stops by.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Told to stop, or not yet; every task has a copy.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

/// Who can say it.
#[derive(Debug)]
pub(crate) struct Stopper(watch::Sender<bool>);

/// Nobody was told yet.
pub(crate) fn stop() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

/// Waits for SIGTERM or SIGINT.
///
/// # Errors
/// When the process may not listen to signals.
pub(crate) async fn asked_to_end() -> std::io::Result<&'static str> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

// === impl Stopper ===

impl Stopper {
    /// Tells everyone.
    pub(crate) fn stop(&self) {
        self.0.send_replace(true);
    }
}

// === impl Stop ===

impl Stop {
    /// Waits until everything is to stop; also when nobody is left to say so.
    pub(crate) async fn told(mut self) {
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    /// Whether it was said.
    pub(crate) fn is_told(&self) -> bool {
        *self.0.borrow()
    }
}
