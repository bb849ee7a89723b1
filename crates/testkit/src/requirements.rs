//! What some tests need and not every machine has. Where it is missing, a test says so loudly and
//! passes on a developer's machine, and fails where `CI` is set: a skipped test is never a quiet one.

use std::{
    env,
    io::{self, Write as _},
    path::PathBuf,
};

/// The variable that names the `opencode` to test with.
pub const OPENCODE_VARIABLE: &str = "CREWBOSS_TEST_OPENCODE";

/// The real `OpenCode`: what [`OPENCODE_VARIABLE`] names, else `opencode` in the `PATH`.
///
/// # Panics
/// If the variable names what is not a file, or there is none and `CI` is set.
#[must_use = "a test without what it needs must end"]
pub fn opencode() -> Option<PathBuf> {
    if let Some(named) = variable(OPENCODE_VARIABLE) {
        let path = PathBuf::from(named);
        assert!(
            path.is_file(),
            "{OPENCODE_VARIABLE}={} is not a file",
            path.display()
        );
        return Some(path);
    }
    let found = in_path("opencode");
    if found.is_none() {
        missing(&format!(
            "opencode (in PATH, or named by {OPENCODE_VARIABLE})"
        ));
    }
    found
}

/// A program of the `PATH`.
///
/// # Panics
/// If there is none and `CI` is set.
#[must_use = "a test without what it needs must end"]
pub fn program(name: &str) -> Option<PathBuf> {
    let found = in_path(name);
    if found.is_none() {
        missing(&format!("{name} (in PATH)"));
    }
    found
}

/// Whether this process is root.
///
/// # Panics
/// If it is not and `CI` is set.
#[must_use = "a test without what it needs must end"]
pub fn root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        missing("root");
    }
    is_root
}

/// Says loudly that the calling test is skipped for want of `what`.
///
/// # Panics
/// If `CI` is set.
pub fn missing(what: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let message = format!("SKIPPED {test}: this machine lacks {what}");
    assert!(variable("CI").is_none(), "{message}, and CI is set");
    // Past the test harness, which hides what a passing test prints.
    let _unwritten = writeln!(io::stderr().lock(), "{message}");
}

fn in_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&variable("PATH")?)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test has no configuration but its environment"
)]
fn variable(name: &str) -> Option<std::ffi::OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}
