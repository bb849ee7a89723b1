//! A project and a home of their own to measure in.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::shell;

/// Agents that do nothing, and one that waits to be told to end.
const CONFIG: &str = r#"[workspace]
mode = "folder"

[agents.noop]
driver = "command"
command = "/bin/true"

[agents.patient]
driver = "command"
command = "/bin/sh"
args = ["-c", "exec sleep 600"]
"#;

/// See the module. It stays until [`clear`]: a file system looks for a while at every file that
/// was removed, which would be measured with the cases that follow.
#[derive(Debug)]
pub(crate) struct Stage {
    folder: PathBuf,
    program: PathBuf,
}

impl Stage {
    pub(crate) fn new(name: &str, program: &Path) -> Result<Self> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = stages().join(format!("{name}-{number}"));
        for name in ["project/.crewboss", "home"] {
            fs::create_dir_all(folder.join(name))?;
        }
        let stage = Self {
            folder: folder.canonicalize()?,
            program: program.to_owned(),
        };
        fs::write(stage.project().join(".crewboss/config.toml"), CONFIG)?;
        Ok(stage)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn project(&self) -> PathBuf {
        self.folder.join("project")
    }

    pub(crate) fn store_file(&self) -> PathBuf {
        self.folder.join("home/crewboss/crewboss.db")
    }

    /// The program in this place, silent.
    pub(crate) fn crewboss(&self, arguments: &[&str]) -> Command {
        let mut command = quiet(&self.program, arguments);
        command
            .current_dir(self.project())
            .env("HOME", self.folder.join("home"))
            .env("CREWBOSS_HOME", self.folder.join("home/crewboss"))
            .env("XDG_CONFIG_HOME", self.folder.join("home/config"));
        command
    }

    pub(crate) fn print(&self, arguments: &[&str]) -> Result<String> {
        shell::output(self.crewboss(arguments).stdout(Stdio::piped()))
    }

    /// Queues a task; answers its id.
    pub(crate) fn start(&self, agent: &str) -> Result<String> {
        let printed = self.print(&["start", agent, "work"])?;
        let id = printed
            .split_whitespace()
            .find(|word| word.starts_with("task_"));
        Ok(id
            .with_context(|| format!("no task id in `{printed}`"))?
            .to_owned())
    }

    pub(crate) fn show(&self, id: &str) -> Result<Value> {
        serde_json::from_str(&self.print(&["show", id, "--json"])?)
            .context("`show --json` printed no JSON")
    }

    /// Waits for a task's end, and until its runner is gone too.
    pub(crate) fn wait(&self, id: &str) -> Result<()> {
        shell::run(&mut self.crewboss(&["wait", "--timeout", "60", id]))
    }

    /// A daemon that listens.
    pub(crate) fn daemon(&self, tasks_max: usize) -> Result<Daemon> {
        let mut command = self.crewboss(&["daemon", "--max-concurrent", &tasks_max.to_string()]);
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let printed = child.stdout.take().context("its output is a pipe")?;
        let mut daemon = Daemon {
            child,
            printed: BufReader::new(printed),
        };
        daemon.wait_for("Press Ctrl+C")?;
        Ok(daemon)
    }
}

/// The stages of this process.
fn stages() -> PathBuf {
    let own = format!("stages-{}", std::process::id());
    shell::target().join("bench").join(own)
}

/// Removes every stage of this process, after the last measurement.
pub(crate) fn clear() {
    drop(fs::remove_dir_all(stages()));
}

/// A program that says nothing and hears nothing, with little around it.
pub(crate) fn quiet(program: &Path, arguments: &[&str]) -> Command {
    let mut command = shell::program(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// A daemon's process; told to end when dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    printed: BufReader<ChildStdout>,
}

impl Daemon {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Reads what it prints up to a line with these words.
    pub(crate) fn wait_for(&mut self, words: &str) -> Result<()> {
        let mut line = String::new();
        while self.printed.read_line(&mut line)? > 0 {
            if line.contains(words) {
                return Ok(());
            }
            line.clear();
        }
        bail!("the daemon ended before it said `{words}`")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        terminate(&mut self.child);
    }
}

/// Tells a child to end and waits for it.
pub(crate) fn terminate(child: &mut Child) {
    if let Ok(pid) = i32::try_from(child.id()) {
        // That it has gone already is all that can go wrong.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    drop(child.wait());
}

/// Looks until something is so.
pub(crate) fn until(
    what: &str,
    pause: Duration,
    mut is_so: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let watch = shell::start_watch();
    while !is_so()? {
        if watch.elapsed() > Duration::from_mins(2) {
            bail!("{what} did not come to be in two minutes");
        }
        std::thread::sleep(pause);
    }
    Ok(())
}

/// Whether a process runs; a zombie does not.
pub(crate) fn runs(pid: u64) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        let state = stat.rsplit(')').next().unwrap_or_default();
        !state.trim_start().starts_with(['Z', 'X'])
    })
}
