//! The program as it is released.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};

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
    let folder = folder()?;
    let found = switches(&fs::read(folder.join("crewboss"))?);
    if let Some(first) = found.first() {
        bail!("the released program knows `{first}`, which is for tests alone");
    }
    build(&["--package", "store-sqlite", "--example", "store-speed"])?;
    build(&["--package", "task-folder", "--example", "log-speed"])?;
    Ok(folder)
}

/// What only tests may say to a program.
const SWITCHES: [&str; 3] = [
    "CREWBOSS_FAULT",
    "CREWBOSS_CRASH_AT",
    "CREWBOSS_TEST_CGROUP",
];

/// The switches that a program knows.
fn switches(program: &[u8]) -> Vec<&'static str> {
    let knows = |name: &&str| {
        program
            .windows(name.len())
            .any(|part| part == name.as_bytes())
    };
    SWITCHES.into_iter().filter(knows).collect()
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

#[cfg(test)]
mod tests {
    use super::switches;

    #[test]
    fn a_program_that_knows_a_switch_is_known() {
        let program = b"\0\x01CREWBOSS_HOME\0xCREWBOSS_FAULT_COUNTER\0";
        assert_eq!(switches(program), ["CREWBOSS_FAULT"]);
        assert_eq!(switches(b"CREWBOSS_HOME CREWBOSS_FAUL"), [""; 0]);
    }
}
