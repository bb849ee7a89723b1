//! The clocks of this machine.

use std::io;

use app::ports::clock::Clock;
use domain::time::{BootId, Moment, Now, Timestamp};
use rustix::time::{ClockId, Timespec, clock_gettime};

use super::table::read_boot_id;

/// Wall time and `CLOCK_BOOTTIME`.
///
/// Builds with debug assertions, or with the feature `test-clock`, add offsets in milliseconds:
/// `CREWBOSS_TEST_CLOCK_WALL_OFFSET_MS` and `CREWBOSS_TEST_CLOCK_BOOT_OFFSET_MS`, read once, and
/// the two numbers (wall, boot) in the file that `CREWBOSS_TEST_CLOCK_FILE` names, read each time.
#[derive(Debug)]
pub struct SystemClock {
    boot: BootId,
    #[cfg(any(debug_assertions, feature = "test-clock"))]
    shift: shifted::Shift,
}

impl SystemClock {
    /// The clocks of this boot.
    ///
    /// # Errors
    /// Where the kernel does not name the boot.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            boot: read_boot_id()?,
            #[cfg(any(debug_assertions, feature = "test-clock"))]
            shift: shifted::Shift::from_environment(),
        })
    }

    #[cfg(any(debug_assertions, feature = "test-clock"))]
    fn offsets(&self) -> (i64, i64) {
        self.shift.offsets()
    }

    #[cfg(not(any(debug_assertions, feature = "test-clock")))]
    #[expect(
        clippy::unused_self,
        reason = "the same signature as with the test clock"
    )]
    const fn offsets(&self) -> (i64, i64) {
        (0, 0)
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let (wall, boot) = self.offsets();
        let since_boot = millis(clock_gettime(ClockId::Boottime)).saturating_add(boot);
        Now {
            wall: Timestamp::from_millis(
                millis(clock_gettime(ClockId::Realtime)).saturating_add(wall),
            ),
            moment: Moment {
                boot: self.boot.clone(),
                millis: u64::try_from(since_boot).unwrap_or(0),
            },
        }
    }
}

fn millis(time: Timespec) -> i64 {
    time.tv_sec
        .saturating_mul(1_000)
        .saturating_add(time.tv_nsec / 1_000_000)
}

#[cfg(any(debug_assertions, feature = "test-clock"))]
mod shifted {
    use std::{
        fs,
        path::PathBuf,
        sync::{Mutex, PoisonError},
    };

    /// What is added to the clocks.
    #[derive(Debug)]
    pub(super) struct Shift {
        fixed: (i64, i64),
        file: Option<PathBuf>,
        /// What the file said last, for the moment in which it is being rewritten.
        last: Mutex<(i64, i64)>,
    }

    impl Shift {
        #[expect(clippy::disallowed_methods, reason = "absent from release builds")]
        pub(super) fn from_environment() -> Self {
            let number = |name: &str| {
                std::env::var(name)
                    .ok()
                    .and_then(|text| text.trim().parse().ok())
                    .unwrap_or(0)
            };
            Self::new(
                (
                    number("CREWBOSS_TEST_CLOCK_WALL_OFFSET_MS"),
                    number("CREWBOSS_TEST_CLOCK_BOOT_OFFSET_MS"),
                ),
                std::env::var_os("CREWBOSS_TEST_CLOCK_FILE").map(PathBuf::from),
            )
        }

        pub(super) fn new(fixed: (i64, i64), file: Option<PathBuf>) -> Self {
            Self {
                fixed,
                file,
                last: Mutex::new((0, 0)),
            }
        }

        pub(super) fn offsets(&self) -> (i64, i64) {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(read) = self.read_file() {
                *last = read;
            }
            (
                self.fixed.0.saturating_add(last.0),
                self.fixed.1.saturating_add(last.1),
            )
        }

        fn read_file(&self) -> Option<(i64, i64)> {
            let text = fs::read_to_string(self.file.as_ref()?).ok()?;
            let mut numbers = text.split_ascii_whitespace().map(str::parse);
            Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_clock_does_not_go_back_and_names_its_boot() {
        let clock = SystemClock::new().unwrap();
        let (first, second) = (clock.now(), clock.now());
        assert!(second.millis_since(&first.moment).is_some());
        assert!(second.moment.millis >= first.moment.millis);
        assert!(first.wall.as_millis() > 1_700_000_000_000);
    }

    #[test]
    fn the_file_moves_both_clocks_and_a_torn_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("clock");
        let shift = shifted::Shift::new((5, 7), Some(file.clone()));
        assert_eq!(shift.offsets(), (5, 7));
        std::fs::write(&file, "-1000 60000\n").unwrap();
        assert_eq!(shift.offsets(), (-995, 60_007));
        std::fs::write(&file, "12").unwrap();
        assert_eq!(shift.offsets(), (-995, 60_007));
    }
}
