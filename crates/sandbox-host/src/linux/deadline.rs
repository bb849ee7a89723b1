//! Monotonic waiting inside this adapter.

#![expect(
    clippy::disallowed_methods,
    reason = "how long a system call may block is this adapter's own affair; leases are not"
)]

use std::time::{Duration, Instant};

use rustix::event::Timespec;

/// A point on the monotonic clock up to which something is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// The point `duration` from now; never, where that is beyond what the clock can count.
    pub(crate) fn after(duration: Duration) -> Self {
        Self(Instant::now().checked_add(duration))
    }

    /// What is left; zero once it has passed.
    pub(crate) fn remaining(self) -> Duration {
        self.0.map_or(Duration::MAX, |at| {
            at.saturating_duration_since(Instant::now())
        })
    }

    /// Whether it has passed.
    pub(crate) fn has_passed(self) -> bool {
        self.remaining().is_zero()
    }

    /// What is left, for `poll`; `None` waits without end.
    pub(crate) fn timespec(self) -> Option<Timespec> {
        Timespec::try_from(self.remaining()).ok()
    }
}
