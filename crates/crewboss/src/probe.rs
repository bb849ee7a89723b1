//! Asks installed programs for their version. They belong to no session and get no prompt.

#![expect(
    clippy::disallowed_methods,
    reason = "a version is asked of a program that belongs to no session"
)]

use std::{
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

/// A program that takes longer is not well.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// The first line that `program --version` prints.
pub(crate) fn version(program: &Path) -> Result<String, String> {
    first_line(program, &["--version"], Path::new("."))
}

/// The first line that a program prints in a folder.
pub(crate) fn first_line(program: &Path, args: &[&str], folder: &Path) -> Result<String, String> {
    let mut child = Command::new(program)
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut waited = Duration::ZERO;
    while child
        .try_wait()
        .map_err(|error| error.to_string())?
        .is_none()
    {
        if waited >= PATIENCE {
            drop(child.kill());
            drop(child.wait());
            return Err(format!("does not answer within {} s", PATIENCE.as_secs()));
        }
        thread::sleep(LOOK);
        waited += LOOK;
    }
    let output = child
        .wait_with_output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().next().map(str::trim) {
        Some(line) if output.status.success() && !line.is_empty() => Ok(line.to_owned()),
        _ => Err(format!("ended with {}", output.status)),
    }
}
