//! The feed of invalidations: what the truth tells the one who keeps copies of it.

/// Where the tracking connection reports. Every method returns at once and does no I/O: it is called between two
/// messages of the connection, so what is reported here is in force before any later answer is seen.
///
/// The calls of one connection come in the order in which they happened: `armed` first, then any number of
/// `invalidate`, `invalidate_all`, `mark` and `heard`, then `lost`.
pub trait FeedSink: Send + Sync + 'static {
    /// The entry of `key` (without the prefix) has changed.
    fn invalidate(&self, key: &[u8]);

    /// Everything may have changed.
    fn invalidate_all(&self);

    /// Changes are announced from now on; what happened before is unknown.
    fn armed(&self);

    /// A mark for a beat that is about to be sent on the tracking connection.
    fn mark(&self) -> Mark;

    /// The beat that took `mark` was answered: all that was sent on the connection before it has been executed, and
    /// every change up to then has been announced.
    fn heard(&self, mark: Mark);

    /// Nothing is announced any more.
    fn lost(&self);
}

/// A moment in the order of sending, and on the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Sequence number of the last operation that was sent before.
    pub sequence: u64,
    /// Monotonic milliseconds.
    pub mono_ms: u64,
}
