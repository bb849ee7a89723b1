//! The store's time: that of the server, which is the same for every process that uses it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use app::ports::clock::Clock;
use domain::time::{BootId, Moment, Now, Timestamp};

use crate::row::int;

/// Where a store takes its time from.
#[derive(Debug, Clone)]
pub enum Time {
    /// From the server; the clock is this machine's, and only counts on from what the server said.
    Server(Arc<dyn Clock>),
    /// From this clock, as it is: for tests that move it.
    Given(Arc<dyn Clock>),
}

/// Counts on from what the server last said, by this machine's boot clock, and never goes back. Its
/// boot is the store's: moments that different machines took of it can be compared.
pub struct StoreClock {
    local: Arc<dyn Clock>,
    boot: BootId,
    /// Added to the local boot clock.
    offset: AtomicI64,
    /// The latest time that was shown.
    shown: AtomicI64,
}

impl fmt::Debug for StoreClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreClock")
            .field("boot", &self.boot)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

impl StoreClock {
    /// A clock of the store with this id, whose server has just said its time.
    pub(crate) fn new(local: Arc<dyn Clock>, store: &str, server_millis: i64) -> Self {
        let clock = Self {
            local,
            boot: BootId(format!("store-{store}")),
            offset: AtomicI64::new(0),
            shown: AtomicI64::new(0),
        };
        clock.heard(server_millis);
        clock
    }

    /// The server has just said its time.
    pub(crate) fn heard(&self, server_millis: i64) {
        let local = int(self.local.now().moment.millis);
        self.offset.store(server_millis - local, Ordering::Relaxed);
    }

    /// A time of the store.
    pub(crate) fn at(&self, millis: i64) -> Now {
        Now {
            wall: Timestamp::from_millis(millis),
            moment: Moment {
                boot: self.boot.clone(),
                millis: u64::try_from(millis).unwrap_or(0),
            },
        }
    }
}

impl Clock for StoreClock {
    fn now(&self) -> Now {
        let local = int(self.local.now().moment.millis);
        let millis = local + self.offset.load(Ordering::Relaxed);
        let before = self.shown.fetch_max(millis, Ordering::Relaxed);
        self.at(millis.max(before))
    }
}

#[cfg(test)]
mod tests {
    use testkit::contract::clock::ManualClock;

    use super::*;

    #[test]
    fn it_follows_the_server_and_never_goes_back() {
        let local = Arc::new(ManualClock::default());
        let clock = StoreClock::new(Arc::clone(&local) as _, "x", 5_000);
        assert_eq!(clock.now().moment.millis, 5_000);
        local.advance(100);
        assert_eq!(clock.now().wall.as_millis(), 5_100);
        // Somebody sets this machine's wall clock: nobody notices.
        local.set_wall(1);
        assert_eq!(clock.now().wall.as_millis(), 5_100);
        clock.heard(4_000);
        assert_eq!(clock.now().moment.millis, 5_100);
        local.advance(2_000);
        assert_eq!(clock.now().moment.millis, 6_000);
    }
}
