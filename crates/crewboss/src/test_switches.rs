//! What tests may change from outside. Absent from builds without debug assertions.

#![expect(
    clippy::disallowed_methods,
    reason = "these variables are for tests, not part of the configuration"
)]

use app::crash_points::{CrashPoint, at_each};
use sandbox_host::CgroupRoot;

/// `CREWBOSS_CRASH_AT=<point>`: the process aborts at that moment.
pub(crate) fn install() {
    if std::env::var_os("CREWBOSS_CRASH_AT").is_some() {
        at_each(crash_if_asked);
    }
}

fn crash_if_asked(point: CrashPoint) {
    if std::env::var("CREWBOSS_CRASH_AT").is_ok_and(|name| name == point.as_str()) {
        std::process::abort();
    }
}

/// `CREWBOSS_TEST_CGROUP=off`: as on a machine without control groups.
pub(crate) fn cgroup_root() -> CgroupRoot {
    match std::env::var("CREWBOSS_TEST_CGROUP").as_deref() {
        Ok("off") => CgroupRoot::Off,
        _ => CgroupRoot::Detect,
    }
}
