//! Where a batch of rounds takes place, and how commands are given there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{
    agent,
    moments::{Fault, STORE_BYTE, What},
};
use crate::{
    chaos::arena::{Arena, id_in},
    shell,
};

/// An arena that is a git repository, with room for what rounds leave.
#[derive(Debug)]
pub(super) struct Stage {
    arena: Arena,
    files: AtomicU32,
}

/// How a command ended.
#[derive(Debug)]
pub(super) struct Ran {
    /// `None` where it was killed.
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

impl Ran {
    pub(super) fn ok(&self) -> bool {
        self.code == Some(0)
    }

    pub(super) fn id(&self) -> Result<Option<String>> {
        self.ok().then(|| id_in(&self.out)).transpose()
    }

    pub(super) fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.out).with_context(|| format!("no JSON: {self:?}"))
    }
}

impl Stage {
    pub(super) fn new(seed: u64) -> Result<Self> {
        let name = format!("faults-{}-{seed:x}", std::process::id());
        // Nothing here is about power cuts, and memory is quicker.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() {
            memory.join("crewboss-chaos").join(name)
        } else {
            shell::target().join("chaos").join(name)
        };
        let arena = Arena::at(folder, "0", agent::SCRIPT, agent::config)?;
        let stage = Self {
            arena,
            files: AtomicU32::new(0),
        };
        stage.git(&["init", "--quiet", "--initial-branch=main"])?;
        stage.git(&["add", "--all"])?;
        stage.git(&["commit", "--quiet", "--message", "begin"])?;
        Ok(stage)
    }

    /// Leaves everything where it is; answers where.
    pub(super) fn keep(self) -> PathBuf {
        let folder: &Path = self.arena.as_ref();
        let folder = folder.to_owned();
        std::mem::forget(self);
        folder
    }

    pub(super) fn git(&self, arguments: &[&str]) -> Result<String> {
        let mut git = shell::program("git");
        git.args(["-c", "user.name=chaos", "-c", "user.email=chaos@localhost"]);
        git.args(arguments).current_dir(self.arena.project());
        shell::output(&mut git)
    }

    pub(super) fn home(&self) -> PathBuf {
        self.arena.home()
    }

    pub(super) fn project(&self) -> PathBuf {
        self.arena.project()
    }

    /// Lines of agents: word, task, session.
    pub(super) fn log(&self) -> Result<Vec<(String, String, String)>> {
        self.arena.log()
    }

    /// Lets an agent that waits come to its end.
    pub(super) fn let_go(&self, task: &str) -> Result<()> {
        let folder: &Path = self.arena.as_ref();
        fs::write(folder.join(format!("locks/go-{task}")), "")?;
        Ok(())
    }

    /// A file that does not exist yet.
    pub(super) fn new_file(&self, name: &str) -> PathBuf {
        let folder: &Path = self.arena.as_ref();
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        folder.join(format!("tmp/{name}-{number}"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let folder: &Path = self.arena.as_ref();
        let mut command = self.arena.crewboss(arguments);
        command
            .env("CREWBOSS_AUDIT_HEADS", folder.join("home/second-heads"))
            .env("CREWBOSS_AUDIT_HEAD_EVENTS", "40")
            .env("CREWBOSS_ARCHIVE_MAX_COMPLETED_AGE_DAYS", "0")
            .env("CREWBOSS_ARCHIVE_MAX_FAILED_AGE_DAYS", "0")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// A command to which nothing happens.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<Ran> {
        finish(self.command(arguments), arguments)
    }

    /// One that must succeed.
    pub(super) fn must(&self, arguments: &[&str]) -> Result<Ran> {
        let ran = self.run(arguments)?;
        if !ran.ok() {
            bail!("`crewboss {}` must succeed: {ran:#?}", arguments.join(" "));
        }
        Ok(ran)
    }

    /// A command to which a fault may happen.
    pub(super) fn armed(&self, fault: &Fault, counter: &Path, arguments: &[&str]) -> Result<Ran> {
        finish(self.aimed(fault, counter, arguments), arguments)
    }

    pub(super) fn aimed(&self, fault: &Fault, counter: &Path, arguments: &[&str]) -> Command {
        if fault.moment.point == STORE_BYTE {
            return self.limited(fault, arguments);
        }
        let mut command = self.command(arguments);
        command
            .env("CREWBOSS_FAULT", fault.variable())
            .env("CREWBOSS_FAULT_COUNTER", counter);
        command
    }

    /// A command that can write so far behind the end of the store's log, and no byte further.
    fn limited(&self, fault: &Fault, arguments: &[&str]) -> Command {
        let log = self.home().join("crewboss/crewboss.db-wal");
        let length = fs::metadata(log).map_or(0, |log| log.len());
        let limit = format!("--fsize={}", length + fault.hit);
        let whole = self.command(arguments);
        // Whoever ignores the signal gets an error instead.
        let ignored = if fault.what == What::Kill {
            ""
        } else {
            "trap '' XFSZ; "
        };
        let script = format!("{ignored}exec prlimit --core=0 {limit} \"$0\" \"$@\"");
        let mut command = shell::program("sh");
        command.arg("-c").arg(script).arg(whole.get_program());
        command.args(whole.get_args()).env_clear();
        command.envs(
            whole
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        if let Some(directory) = whole.get_current_dir() {
            command.current_dir(directory);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(super) fn show(&self, id: &str) -> Result<Value> {
        self.must(&["show", id, "--json"])?.json()
    }
}

fn finish(mut command: Command, arguments: &[&str]) -> Result<Ran> {
    let output = command.output()?;
    let ran = Ran {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    // 2 is a mistake of ours, and whatever is not in the list one of the program's.
    if !matches!(ran.code, None | Some(0 | 1 | 3 | 4 | 5 | 124)) || ran.err.contains("panicked") {
        bail!("`crewboss {}` ended badly: {ran:#?}", arguments.join(" "));
    }
    Ok(ran)
}
