//! The real OpenCode, installed into a folder of this repository that git ignores.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// The version that the tests' expectations were taken from.
pub(crate) const VERSION: &str = "1.18.33";

/// The program; installed first where it is missing.
pub(crate) fn install() -> Result<PathBuf> {
    let folder = shell::target().join("opencode").join(VERSION);
    let program = folder.join("node_modules/.bin/opencode");
    if works(&program) {
        return Ok(program);
    }
    if shell::which("npm").is_none() {
        bail!("npm is missing: install Node.js 20 or newer, which brings it, and try again");
    }
    println!("Installing OpenCode {VERSION} into {} …", folder.display());
    std::fs::create_dir_all(&folder).context("cannot make the folder for OpenCode")?;
    std::fs::write(folder.join("package.json"), "{\"private\":true}\n")?;
    shell::run(
        shell::program("npm")
            .args([
                "install",
                "--no-save",
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
            ])
            .arg(format!("opencode-ai@{VERSION}"))
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null()),
    )?;
    if !works(&program) {
        bail!(
            "OpenCode was installed into {} but does not start",
            folder.display()
        );
    }
    Ok(program)
}

fn works(program: &PathBuf) -> bool {
    let mut command: Command = shell::program(program);
    command
        .arg("--version")
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    command.output().is_ok_and(|output| {
        output.status.success() && String::from_utf8_lossy(&output.stdout).trim() == VERSION
    })
}
