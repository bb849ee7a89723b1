//! What tests may change from outside. Absent from builds without debug assertions.

#![expect(
    clippy::disallowed_methods,
    reason = "these variables are for tests, not part of the configuration"
)]

mod aim;

use app::{
    crash_points::{self, CrashPoint},
    faults,
};
use sandbox_host::CgroupRoot;

use self::aim::Aim;

/// `CREWBOSS_CRASH_AT=<point>`: the process ends at that moment, as if it were killed.
///
/// `CREWBOSS_FAULT=<point>,<moment>,<hit>,<what>`: at one moment of one act something happens, as
/// [`Aim`] says. `CREWBOSS_FAULT=list` prints every point with its moments instead of anything
/// else: then this is true, and there is nothing more to do.
pub(crate) fn install() -> bool {
    if std::env::var_os("CREWBOSS_CRASH_AT").is_some() {
        crash_points::at_each(crash_if_asked);
    }
    let Ok(fault) = std::env::var("CREWBOSS_FAULT") else {
        return false;
    };
    if fault == "list" {
        aim::list();
        return true;
    }
    let counter = std::env::var_os("CREWBOSS_FAULT_COUNTER").map(Into::into);
    if Aim::take(&fault, counter) {
        crash_points::at_each(|point| aim::come(point.as_str(), "at"));
        faults::at_each(|act, when| aim::come_to(&act.to_string(), &when.to_string()));
    }
    false
}

fn crash_if_asked(point: CrashPoint) {
    if std::env::var("CREWBOSS_CRASH_AT").is_ok_and(|name| name == point.as_str()) {
        aim::die();
    }
}

/// `CREWBOSS_TEST_CGROUP=off`: as on a machine without control groups.
pub(crate) fn cgroup_root() -> CgroupRoot {
    match std::env::var("CREWBOSS_TEST_CGROUP").as_deref() {
        Ok("off") => CgroupRoot::Off,
        _ => CgroupRoot::Detect,
    }
}
