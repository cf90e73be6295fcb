//! The end as a value: one side asks for it, every session holds the other.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

/// Asks everything that holds a [`Drain`] to finish. Dropping it asks too.
#[derive(Debug)]
pub struct Signal(Arc<Asked>);

/// Tells when the end was asked for.
#[derive(Debug, Clone)]
pub struct Drain(Arc<Asked>);

/// A wait for the end that is begun once and looked at often: it is entered in the list of those to be woken when it is
/// first polled, and costs a load from then on.
pub(crate) struct Draining {
    asked: Arc<Asked>,
    wait: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
    /// Who is woken.
    waker: Option<Waker>,
}

#[derive(Debug, Default)]
struct Asked {
    asked: AtomicBool,
    notify: Notify,
}

/// A signal and the drain that hears it.
pub fn channel() -> (Signal, Drain) {
    let asked = Arc::<Asked>::default();
    (Signal(Arc::clone(&asked)), Drain(asked))
}

impl Signal {
    /// Asks for the end.
    pub fn drain(&self) {
        self.0.asked.store(true, Ordering::Release);
        self.0.notify.notify_waiters();
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        self.drain();
    }
}

impl Drain {
    /// Whether the end was asked for.
    pub fn is_draining(&self) -> bool {
        self.0.asked.load(Ordering::Acquire)
    }

    /// Waits until the end is asked for.
    pub async fn draining(&self) {
        wait(&self.0).await;
    }

    /// The same wait, to be kept by a session.
    pub(crate) fn watch(&self) -> Draining {
        let asked = Arc::clone(&self.0);
        Draining { asked: Arc::clone(&asked), wait: Box::pin(async move { wait(&asked).await }), waker: None }
    }
}

async fn wait(asked: &Asked) {
    let mut notified = std::pin::pin!(asked.notify.notified());
    // Entered before the question, or the answer could come in between.
    notified.as_mut().enable();
    if !asked.asked.load(Ordering::Acquire) {
        notified.await;
    }
}

impl Draining {
    /// Whether the end was asked for.
    pub(crate) fn is_over(&self) -> bool {
        self.asked.asked.load(Ordering::Acquire)
    }
}

impl Future for Draining {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.is_over() {
            return Poll::Ready(());
        }
        if self.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            return Poll::Pending;
        }
        self.waker = Some(context.waker().clone());
        self.wait.as_mut().poll(context)
    }
}

impl std::fmt::Debug for Draining {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draining").field("asked", &self.asked).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::time::timeout;

    /// Longer than any wake-up takes.
    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn who_waits_is_woken_by_the_signal_or_its_end() {
        for by_dropping in [false, true] {
            let (signal, drain) = channel();
            let mut kept = drain.watch();
            // Looked at more than once before the end comes.
            for _ in 0..3 {
                let look = poll_fn(|context| Poll::Ready(Pin::new(&mut kept).poll(context)));
                assert!(look.await.is_pending() && !drain.is_draining());
            }
            let asked = drain.clone();
            let early = tokio::spawn(async move { asked.draining().await });
            // There is one thread: the task waits when this one goes on.
            tokio::task::yield_now().await;
            if by_dropping {
                drop(signal);
            } else {
                signal.drain();
                assert!(drain.is_draining());
                std::mem::forget(signal);
            }
            timeout(PATIENCE, kept).await.unwrap();
            timeout(PATIENCE, early).await.unwrap().unwrap();
            timeout(PATIENCE, drain.draining()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_wait_that_another_task_goes_on_with_wakes_that_one() {
        let (signal, drain) = channel();
        let mut kept = drain.watch();
        let look = poll_fn(|context| Poll::Ready(Pin::new(&mut kept).poll(context)));
        assert!(look.await.is_pending());
        let other = tokio::spawn(kept);
        tokio::task::yield_now().await;
        signal.drain();
        timeout(PATIENCE, other).await.unwrap().unwrap();
    }
}
