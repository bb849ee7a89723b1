//! The program as it is released.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::shell;

/// Static, so that no loader looks for libraries at every start: that alone is more than half of
/// what `/bin/true` takes. Not position-independent, so that nothing is relocated either.
/// `--target` keeps both away from build scripts and procedural macros, which are loaded as
/// libraries and cannot be static.
const FLAGS: &str = "-C target-feature=+crt-static -C relocation-model=static";

/// The library's way to start a program in another directory without a copy of this process is
/// looked up weakly, which a static program satisfies only if something asks for it.
const LINKED: [&str; 2] = ["-C", "link-arg=-Wl,-u,posix_spawn_file_actions_addchdir_np"];

/// Builds the program, and what measures the store and the logs by themselves; answers the folder
/// that they are in.
pub(crate) fn all() -> Result<PathBuf> {
    build(&["--package", "crewboss", "--bin", "crewboss"])?;
    build(&["--package", "store-sqlite", "--example", "store-speed"])?;
    build(&["--package", "task-folder", "--example", "log-speed"])?;
    folder()
}

fn build(what: &[&str]) -> Result<()> {
    let mut cargo = shell::cargo();
    cargo
        .args(["rustc", "--quiet", "--release", "--target", &host()?])
        .args(what)
        .arg("--")
        .args(LINKED);
    shell::run(cargo.env("RUSTFLAGS", FLAGS))
}

fn folder() -> Result<PathBuf> {
    Ok(shell::target().join(host()?).join("release"))
}

/// The target that this compiler builds for by default.
fn host() -> Result<String> {
    let printed = shell::output(shell::program("rustc").arg("-vV"))?;
    let host = printed.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}
