//! What the runner's threads tell its main loop.

/// Something happened. What it means is decided by [`crate::watch::Watch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The agent's process has ended.
    Exited,
    /// The driver's parser asks for the agent's end.
    MustStop,
    /// A sentinel file is there.
    Sentinel,
    /// [`crate::wishes::Wishes`] are others than before.
    Wishes,
}
