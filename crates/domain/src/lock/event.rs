//! What happens to a lock.

use serde::{Deserialize, Serialize};

use super::{Lock, LockState};

/// One step of a lock's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "happened", rename_all = "snake_case")]
pub enum LockEvent {
    /// It waits from now on.
    Queued {
        /// As it is now.
        lock: Lock,
    },
    /// It is held from now on.
    Granted {
        /// As it is now.
        lock: Lock,
        /// Whether it had waited, so that its holder has to be told.
        has_waited: bool,
    },
    /// Its holder entered it once more, or left it once and holds it still.
    Entered {
        /// As it is now.
        lock: Lock,
    },
    /// Its holder, or who waits, is there.
    Renewed {
        /// As it is now.
        lock: Lock,
    },
    /// Its holder is done with it.
    Released {
        /// As it was.
        lock: Lock,
        /// How long it was held.
        held_millis: u64,
    },
    /// It waits no longer.
    LeftQueue {
        /// As it was.
        lock: Lock,
        /// Whether its patience was over.
        timed_out: bool,
    },
    /// It was taken away.
    Taken {
        /// As it is now.
        lock: Lock,
        /// How long it was held, where it was.
        held_millis: Option<u64>,
    },
    /// Nobody needs to know of it any more.
    Forgotten {
        /// As it was.
        lock: Lock,
    },
}

impl LockEvent {
    /// The lock, as it is now or as it was in the end.
    #[must_use]
    pub fn lock(&self) -> &Lock {
        match self {
            Self::Queued { lock }
            | Self::Granted { lock, .. }
            | Self::Entered { lock }
            | Self::Renewed { lock }
            | Self::Released { lock, .. }
            | Self::LeftQueue { lock, .. }
            | Self::Taken { lock, .. }
            | Self::Forgotten { lock } => lock,
        }
    }

    /// Whether the lock is there afterwards.
    #[must_use]
    pub fn keeps(&self) -> bool {
        match self {
            Self::Queued { .. }
            | Self::Granted { .. }
            | Self::Entered { .. }
            | Self::Renewed { .. }
            | Self::Taken { .. } => true,
            Self::Released { .. } | Self::LeftQueue { .. } | Self::Forgotten { .. } => false,
        }
    }

    /// Where somebody has to be told.
    #[must_use]
    pub fn wakes(&self) -> Option<&str> {
        match self {
            Self::Granted {
                lock,
                has_waited: true,
            }
            | Self::Taken { lock, .. } => lock.wake.as_deref(),
            Self::Queued { .. }
            | Self::Granted { .. }
            | Self::Entered { .. }
            | Self::Renewed { .. }
            | Self::Released { .. }
            | Self::LeftQueue { .. }
            | Self::Forgotten { .. } => None,
        }
    }

    /// Whether it says that something was taken away which nobody gave back, for other reasons than
    /// that its time was over: people ask for such things later.
    #[must_use]
    pub fn is_for_the_log(&self) -> bool {
        use super::Gone;
        match self {
            Self::Taken { lock, .. } => match &lock.state {
                LockState::Gone { why, .. } => !matches!(why, Gone::Expired),
                LockState::Waiting { .. } | LockState::Held { .. } => false,
            },
            Self::Queued { .. }
            | Self::Granted { .. }
            | Self::Entered { .. }
            | Self::Renewed { .. }
            | Self::Released { .. }
            | Self::LeftQueue { .. }
            | Self::Forgotten { .. } => false,
        }
    }
}
