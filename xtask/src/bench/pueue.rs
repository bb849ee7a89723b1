//! Pueue, a queue of shell commands with a daemon, as a peer.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::stage::{quiet, terminate, until};
use crate::shell;

/// Its daemon in a place of its own, which goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Pueue {
    programs: PathBuf,
    folder: PathBuf,
    daemon: Child,
}

/// Builds it as `bench/peers/pueue` says; answers the folder of its programs.
pub(crate) fn build() -> Result<PathBuf> {
    let programs = shell::target().join("bench/pueue");
    let (program, daemon) = (programs.join("bin/pueue"), programs.join("bin/pueued"));
    if !program.exists() || !daemon.exists() {
        let manifest = shell::root().join("bench/peers/pueue/Cargo.toml");
        let text = fs::read_to_string(&manifest)?;
        let table: toml::Table = text.parse()?;
        let version = table
            .get("dependencies")
            .and_then(|all| all.get("pueue")?.as_str()?.strip_prefix('='))
            .with_context(|| format!("{} names the peer's version", manifest.display()))?;
        let mut cargo = shell::cargo();
        cargo
            .args([
                "install",
                "pueue",
                "--locked",
                "--version",
                version,
                "--root",
            ])
            .arg(&programs);
        shell::run(&mut cargo)?;
    }
    Ok(programs.join("bin"))
}

impl Pueue {
    pub(crate) fn start(programs: &Path) -> Result<Self> {
        let folder = shell::target()
            .join("bench")
            .join(format!("peer-{}", std::process::id()));
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let place = folder.display();
        let config = format!(
            "shared:\n  pueue_directory: {place}\n  runtime_directory: {place}\n  use_unix_socket: true\n"
        );
        fs::write(folder.join("pueue.yml"), config)?;
        let daemon = in_place(&programs.join("pueued"), &folder, &[]).spawn()?;
        let peer = Self {
            programs: programs.to_owned(),
            folder,
            daemon,
        };
        until("the peer's daemon", Duration::from_millis(20), || {
            Ok(peer.command(&["status"]).status()?.success())
        })?;
        shell::run(&mut peer.command(&["pause"]))?;
        Ok(peer)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        in_place(&self.programs.join("pueue"), &self.folder, arguments)
    }

    /// Adds so many tasks that do nothing, as a user does: it keeps the environment of each.
    pub(crate) fn add(&self, count: usize, stashed: bool) -> Result<()> {
        for _ in 0..count {
            let mut command = shell::program(self.programs.join("pueue"));
            command
                .arg("-c")
                .arg(self.folder.join("pueue.yml"))
                .arg("add")
                .args(stashed.then_some("--stashed"))
                .args(["--", "true"])
                .stdout(Stdio::null());
            shell::run(&mut command)?;
        }
        Ok(())
    }

    /// How fast what was added is worked off.
    pub(crate) fn tasks_per_second(&self, count: usize, at_once: usize) -> Result<f64> {
        shell::run(&mut self.command(&["parallel", &at_once.to_string()]))?;
        let watch = shell::start_watch();
        shell::run(&mut self.command(&["start"]))?;
        until(
            "the end of the peer's tasks",
            Duration::from_millis(20),
            || self.has_done(count),
        )?;
        Ok(super::agents::per_second(
            count,
            watch.elapsed().as_secs_f64(),
        ))
    }

    fn has_done(&self, count: usize) -> Result<bool> {
        let mut command = self.command(&["status", "--json"]);
        let printed = shell::output(command.stdout(Stdio::piped()))?;
        let found: Value = serde_json::from_str(&printed)?;
        let tasks = found
            .get("tasks")
            .and_then(Value::as_object)
            .context("it lists tasks")?;
        let done = tasks
            .values()
            .filter(|task| task.pointer("/status/Done").is_some());
        Ok(done.count() >= count)
    }
}

impl Drop for Pueue {
    fn drop(&mut self) {
        terminate(&mut self.daemon);
        drop(fs::remove_dir_all(&self.folder));
    }
}

fn in_place(program: &Path, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = quiet(program, &["-c"]);
    command
        .arg(folder.join("pueue.yml"))
        .args(arguments)
        .env("HOME", folder);
    command
}
