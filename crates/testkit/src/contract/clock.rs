//! A clock that goes where a test puts it.

use std::sync::{Mutex, PoisonError};

use app::ports::clock::Clock;
use domain::time::{BootId, Moment, Now, Timestamp};

/// Stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock(Mutex<Now>);

impl Default for ManualClock {
    fn default() -> Self {
        Self(Mutex::new(Now {
            wall: Timestamp::from_millis(1_800_000_000_000),
            moment: Moment {
                boot: BootId("boot-b".to_owned()),
                millis: 1_000_000,
            },
        }))
    }
}

impl ManualClock {
    fn change(&self, change: impl FnOnce(&mut Now)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Moves both clocks on.
    pub fn advance(&self, millis: u64) {
        self.change(|now| {
            let due = now.after_millis(millis);
            *now = Now {
                wall: due.wall,
                moment: due.moment,
            };
        });
    }

    /// Sets the wall clock forward or back; the boot clock does not notice.
    pub fn set_wall(&self, millis: i64) {
        self.change(|now| now.wall = Timestamp::from_millis(millis));
    }

    /// Starts another boot.
    pub fn reboot(&self, boot: &str) {
        self.change(|now| {
            now.moment = Moment {
                boot: BootId(boot.to_owned()),
                millis: 1_000,
            };
        });
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Now {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
