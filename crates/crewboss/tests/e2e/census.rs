//! Who is alive, as the kernel says it.

use std::{fs, os::unix::ffi::OsStrExt as _, path::Path, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use testkit::poll::poll_until;

/// A process that has to do with an arena.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resident {
    pub(crate) pid: u32,
    pub(crate) line: String,
}

/// Every living process that has this folder in its arguments, its environment or as its place.
pub(crate) fn residents(root: &Path) -> Vec<Resident> {
    let own = std::process::id();
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own && lives_in(*pid, root))
        .map(|pid| Resident {
            pid,
            line: line(pid),
        })
        .collect()
}

fn lives_in(pid: u32, root: &Path) -> bool {
    let proc = format!("/proc/{pid}");
    let wanted = root.as_os_str().as_bytes();
    let holds = |name: &str| {
        let bytes = fs::read(format!("{proc}/{name}")).unwrap_or_default();
        bytes.windows(wanted.len()).any(|part| part == wanted)
    };
    is_alive(pid)
        && (holds("cmdline")
            || holds("environ")
            || fs::read_link(format!("{proc}/cwd")).is_ok_and(|cwd| cwd.starts_with(root)))
}

/// Whether a process with this number runs; a zombie does not.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rfind(')')
        .and_then(|end| stat.as_bytes().get(end + 2).copied());
    state.is_some_and(|state| !matches!(state, b'Z' | b'X'))
}

/// The arguments of a process.
pub(crate) fn line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// Kills one process and waits until every thread of it has gone.
pub(crate) fn kill(pid: u32) {
    signal(pid, Signal::KILL);
    let has_gone = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let mut rest = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace();
        let state = rest.next();
        state.is_none() || (state == Some("Z") && rest.nth(16) == Some("1"))
    };
    assert!(poll_until(Duration::from_secs(30), has_gone));
}

/// Sends a signal to one process that may have gone.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // One that has gone needs none.
        let _ = kill_process(pid, signal);
    }
}
