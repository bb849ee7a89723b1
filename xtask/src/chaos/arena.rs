//! A project and a home for one campaign, with an agent that tells on everyone.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::shell;

/// Writes `start TASK SESSION` when it begins and `end TASK SESSION` when it is done, works for a
/// moment in between, and cries `DOUBLE` if another agent of its task is alive: the lock is gone
/// as soon as the process is, however it ends.
const AGENT: &str = r#"#!/bin/sh
exec 9>"$ARENA_LOCKS/$CREWBOSS_TASK"
flock --nonblock 9 || { echo "DOUBLE $CREWBOSS_TASK $CREWBOSS_SESSION" >> "$ARENA_LOG"; exit 1; }
echo "start $CREWBOSS_TASK $CREWBOSS_SESSION" >> "$ARENA_LOG"
sleep "$ARENA_WORK"
echo "$CREWBOSS_SESSION" > result.txt
echo "end $CREWBOSS_TASK $CREWBOSS_SESSION" >> "$ARENA_LOG"
"#;

/// See the module. Removed when dropped.
#[derive(Debug)]
pub(crate) struct Arena {
    folder: PathBuf,
    work_seconds: &'static str,
}

impl Arena {
    /// A fresh one below the target folder.
    pub(crate) fn new(name: &str, work_seconds: &'static str) -> Result<Self> {
        let folder = shell::target()
            .join("chaos")
            .join(format!("{name}-{}", std::process::id()));
        Self::at(folder, work_seconds, AGENT, |agent| {
            format!(
                "[workspace]\nmode = \"folder\"\n\n[run]\nrequeues_max = 1000\n\n[agents.witness]\ndriver = \"command\"\n\
                 command = \"{agent}\"\nenv = [\"ARENA_LOCKS\", \"ARENA_LOG\", \"ARENA_WORK\"]\n"
            )
        })
    }

    /// A fresh one in this folder, with this script as its agent, and a configuration that names it.
    pub(crate) fn at(
        folder: PathBuf,
        work_seconds: &'static str,
        script: &str,
        config: impl FnOnce(&str) -> String,
    ) -> Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        let arena = Self {
            folder,
            work_seconds,
        };
        for name in ["project/.crewboss", "home", "locks", "tmp"] {
            fs::create_dir_all(arena.folder.join(name))?;
        }
        let agent = arena.folder.join("agent.sh");
        fs::write(&agent, script)?;
        fs::set_permissions(&agent, fs::Permissions::from_mode(0o755))?;
        let config = config(&agent.display().to_string());
        fs::write(arena.project().join(".crewboss/config.toml"), config)?;
        Ok(arena)
    }

    pub(crate) fn project(&self) -> PathBuf {
        self.folder.join("project")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    /// The binary in this arena, silent.
    pub(crate) fn crewboss(&self, arguments: &[&str]) -> Command {
        let mut command = shell::program(shell::target().join("debug/crewboss"));
        command
            .args(arguments)
            .current_dir(self.project())
            .env_clear();
        command.env("PATH", shell::variable("PATH").unwrap_or_default());
        for (name, file) in [
            ("HOME", "home"),
            ("CREWBOSS_HOME", "home/crewboss"),
            ("XDG_STATE_HOME", "home/state"),
            ("XDG_CONFIG_HOME", "home/config"),
            ("ARENA_LOCKS", "locks"),
            ("ARENA_LOG", "log.txt"),
            ("TMPDIR", "tmp"),
        ] {
            command.env(name, self.folder.join(file));
        }
        command.env("ARENA_WORK", self.work_seconds);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// What a command prints that must succeed.
    pub(crate) fn print(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.crewboss(arguments);
        let output = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!(
                "`crewboss {}` ended with {}: {errors}",
                arguments.join(" "),
                output.status
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Queues a task; answers its id.
    pub(crate) fn start(&self) -> Result<String> {
        id_in(&self.print(&["start", "witness", "work"])?)
    }

    /// A task as `show --json` has it.
    pub(crate) fn show(&self, id: &str) -> Result<Value> {
        serde_json::from_str(&self.print(&["show", id, "--json"])?)
            .context("`show --json` printed no JSON")
    }

    /// The witnesses' lines: word, task, session.
    pub(crate) fn log(&self) -> Result<Vec<(String, String, String)>> {
        let text = match fs::read_to_string(self.folder.join("log.txt")) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error.into()),
        };
        Ok(text
            .lines()
            .filter_map(|line| {
                let mut words = line.split(' ').map(str::to_owned);
                Some((words.next()?, words.next()?, words.next()?))
            })
            .collect())
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            drop(fs::remove_dir_all(&self.folder));
        }
    }
}

/// The first task id in a text.
pub(crate) fn id_in(text: &str) -> Result<String> {
    let id = text
        .split_whitespace()
        .find(|word| word.starts_with("task_"));
    Ok(id
        .with_context(|| format!("no task id in `{text}`"))?
        .to_owned())
}

/// Where the arena's files are, for people.
impl AsRef<Path> for Arena {
    fn as_ref(&self) -> &Path {
        &self.folder
    }
}
