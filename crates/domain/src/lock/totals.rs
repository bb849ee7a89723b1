//! What has happened since the beginning, in numbers.

use serde::{Deserialize, Serialize};

use super::{Gone, LockEvent, LockRefused, LockState};

/// Counters of one project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Locks that were given.
    pub granted: u64,
    /// Those of them that had waited.
    pub waited: u64,
    /// How long these had waited, together.
    pub wait_millis: u64,
    /// The longest wait that ended with a lock.
    pub longest_wait_millis: u64,
    /// Requests that somebody was in the way of.
    pub conflicts: u64,
    /// Those of them that did not wait.
    pub refused: u64,
    /// Waits that were over before their turn came.
    pub timed_out: u64,
    /// Waiters that left by themselves, or were not heard of.
    pub left: u64,
    /// Locks that were released.
    pub released: u64,
    /// Locks that were not renewed in time.
    pub expired: u64,
    /// Locks that were taken away.
    pub forced: u64,
    /// Requests that were refused because of a deadlock.
    pub deadlocks: u64,
    /// How long locks that have ended were held, together.
    pub held_millis: u64,
    /// The longest of these times.
    pub longest_hold_millis: u64,
}

impl Totals {
    /// Counts an event.
    pub fn count(&mut self, event: &LockEvent) {
        match event {
            LockEvent::Granted { lock, has_waited } => self.grant(&lock.state, *has_waited),
            LockEvent::Queued { .. } => self.conflicts += 1,
            LockEvent::Released { held_millis, .. } => {
                self.released += 1;
                self.hold(*held_millis);
            }
            LockEvent::LeftQueue {
                timed_out: true, ..
            } => self.timed_out += 1,
            LockEvent::LeftQueue { .. } => self.left += 1,
            LockEvent::Taken { lock, held_millis } => {
                if let LockState::Gone { why, .. } = &lock.state {
                    self.lose(why);
                }
                if let Some(held) = held_millis {
                    self.hold(*held);
                }
            }
            LockEvent::Entered { .. } | LockEvent::Renewed { .. } | LockEvent::Forgotten { .. } => {
            }
        }
    }

    /// Counts a refusal.
    pub fn refuse(&mut self, refused: &LockRefused) {
        if matches!(
            refused,
            LockRefused::Busy { .. } | LockRefused::QueueFull { .. }
        ) {
            self.conflicts += 1;
            self.refused += 1;
        }
    }

    fn grant(&mut self, state: &LockState, has_waited: bool) {
        self.granted += 1;
        if let (true, LockState::Held { waited_millis, .. }) = (has_waited, state) {
            self.waited += 1;
            self.wait_millis += waited_millis;
            self.longest_wait_millis = self.longest_wait_millis.max(*waited_millis);
        }
    }

    fn lose(&mut self, why: &Gone) {
        match why {
            Gone::Expired => self.expired += 1,
            Gone::Forced { .. } | Gone::SessionEnded => self.forced += 1,
            Gone::Deadlock { .. } => self.deadlocks += 1,
        }
    }

    fn hold(&mut self, millis: u64) {
        self.held_millis += millis;
        self.longest_hold_millis = self.longest_hold_millis.max(millis);
    }
}
