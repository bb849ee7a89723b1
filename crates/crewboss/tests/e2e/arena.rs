//! A project, a home and a store that belong to one test alone.

use std::{
    ffi::OsStr,
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use testkit::{poll::poll_until, temp_repo::TempRepo};

use crate::census::{self, Resident};

/// Longer than anything takes on a machine that has much else to do.
pub(crate) const LONG: Duration = Duration::from_mins(1);

/// An agent whose prompt is the script that it runs; short graces.
const CONFIG: &str = r#"
[agents.sh]
driver = "command"
command = "sh"
args = ["-c", "{prompt}"]

[run]
cancel_grace_seconds = 1
timeout_grace_seconds = 1
"#;

/// How one run of the program ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// The run, which must have succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.with(0)
    }

    /// The run, which must have ended with this code.
    #[track_caller]
    pub(crate) fn with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// The one error, which must be a single line and maybe hints.
    #[track_caller]
    pub(crate) fn error(&self) -> &str {
        let errors = self.err.lines().filter(|line| line.starts_with("error: "));
        assert_eq!(errors.clone().count(), 1, "{self:#?}");
        assert!(!self.err.contains("panicked"), "{self:#?}");
        self.err
            .lines()
            .find(|line| line.starts_with("error: "))
            .unwrap()
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Arena {
    root: PathBuf,
    project: PathBuf,
    environment: Vec<(String, String)>,
    holder: Holder,
}

#[derive(Debug)]
enum Holder {
    Repo(TempRepo),
    Folder(tempfile::TempDir),
}

impl Arena {
    /// In a git repository with one commit.
    pub(crate) fn repository() -> Self {
        let repo = TempRepo::new();
        let root = repo.path().parent().unwrap().to_owned();
        Self::at(&root, repo.path(), Holder::Repo(repo))
    }

    /// In a plain folder.
    pub(crate) fn folder() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("crewboss-e2e-")
            .tempdir()
            .unwrap();
        let root = folder.path().to_owned();
        Self::at(&root, root.join("project"), Holder::Folder(folder))
    }

    fn at(root: &Path, project: PathBuf, holder: Holder) -> Self {
        let arena = Self {
            root: root.to_owned(),
            project,
            environment: testkit::postgres::environment(),
            holder,
        };
        for folder in ["home/config/crewboss", "tmp", "project"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        arena.configure("");
        arena
    }

    /// The folder of everything.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn project(&self) -> &Path {
        &self.project
    }

    /// Where the store is.
    pub(crate) fn store(&self) -> PathBuf {
        self.root.join("cb")
    }

    pub(crate) fn repo(&self) -> &TempRepo {
        match &self.holder {
            Holder::Repo(repo) => repo,
            Holder::Folder(folder) => panic!("{} is no repository", folder.path().display()),
        }
    }

    /// The user's own configuration, with more behind it.
    pub(crate) fn configure(&self, more: &str) {
        let file = self.root.join("home/config/crewboss/config.toml");
        fs::write(file, format!("{CONFIG}{more}")).unwrap();
    }

    /// A variable of everything that is run from now on.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn command<I: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = I>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crewboss"));
        let home = self.root.join("home");
        command
            .args(args)
            .current_dir(&self.project)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &home)
            .env("XDG_CONFIG_HOME", home.join("config"))
            .env("XDG_DATA_HOME", home.join("data"))
            .env("XDG_STATE_HOME", home.join("state"))
            .env("XDG_CACHE_HOME", home.join("cache"))
            .env("TMPDIR", self.root.join("tmp"))
            .env("CREWBOSS_HOME", self.store())
            .env("USER", "tester")
            .env("LANG", "C.UTF-8")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        ended(self.command(args).spawn().unwrap())
    }

    /// Several at the same moment; their ends in the order of the commands.
    pub(crate) fn at_once(&self, commands: &[&[&str]]) -> Vec<Ran> {
        let children: Vec<Child> = commands
            .iter()
            .map(|args| self.command(*args).spawn().unwrap())
            .collect();
        children.into_iter().map(ended).collect()
    }

    /// Queues a script and answers the task's id.
    #[track_caller]
    pub(crate) fn start(&self, script: &str, flags: &[&str]) -> String {
        let args: Vec<&str> = ["start", "sh", script, "--json"]
            .into_iter()
            .chain(flags.iter().copied())
            .collect();
        let ran = self.run(&args).ok();
        let document: Value = serde_json::from_str(&ran.out).unwrap();
        document["id"].as_str().unwrap().to_owned()
    }

    /// Everything about a task. A look that recovers what is lost, as every command's.
    #[track_caller]
    pub(crate) fn show(&self, id: &str) -> Value {
        serde_json::from_str(
            &self
                .run(&["show", id, "--include-deleted", "--json"])
                .ok()
                .out,
        )
        .unwrap()
    }

    #[track_caller]
    pub(crate) fn status_of(&self, id: &str) -> String {
        self.show(id)["status"].as_str().unwrap().to_owned()
    }

    /// Waits for a daemon, whichever store it is of.
    #[track_caller]
    pub(crate) fn until_a_daemon(&self) {
        let is_answered = |entry: fs::DirEntry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with("daemon")
                && name.ends_with(".sock")
                && UnixStream::connect(entry.path()).is_ok()
        };
        self.until("a daemon", || {
            let found = fs::read_dir(self.store());
            found.is_ok_and(|mut found| found.any(|entry| entry.is_ok_and(is_answered)))
        });
    }

    /// The runner of a task whose agent is at work.
    #[track_caller]
    pub(crate) fn runner_at_work(&self, id: &str) -> u32 {
        let mut shown = Value::Null;
        let at_work = poll_until(LONG, || {
            shown = self.show(id);
            shown["session_status"] == "running"
        });
        assert!(at_work, "{shown:#}");
        let pid = shown["session"]["runner_pid"].as_u64().unwrap();
        u32::try_from(pid).unwrap()
    }

    /// Everyone who has to do with this arena.
    pub(crate) fn residents(&self) -> Vec<Resident> {
        census::residents(&self.root)
    }

    /// Runners that have not ended.
    pub(crate) fn runners(&self) -> Vec<Resident> {
        let mut runners = self.residents();
        runners.retain(|resident| resident.line.contains(" runner --session "));
        runners
    }

    /// Lines of a file of the arena.
    pub(crate) fn lines(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.root.join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until everybody has gone.
    #[track_caller]
    pub(crate) fn until_deserted(&self) {
        assert!(
            poll_until(LONG, || self.residents().is_empty()),
            "{:#?}",
            self.residents()
        );
    }

    /// Waits for something that will be soon.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, holds: impl FnMut() -> bool) {
        assert!(
            poll_until(LONG, holds),
            "never {what}: {}\n{:#?}",
            self.run(&["status"]).out,
            self.residents()
        );
    }
}

/// How a program that runs already ends.
pub(crate) fn ended(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Nobody outlives a test. A test that has not failed yet fails here if somebody would.
impl Drop for Arena {
    fn drop(&mut self) {
        let deserted = !std::thread::panicking()
            && poll_until(Duration::from_secs(10), || self.residents().is_empty());
        let left = self.residents();
        let gone = poll_until(Duration::from_secs(10), || {
            let residents = self.residents();
            for one in &residents {
                census::kill(one.pid);
            }
            residents.is_empty()
        });
        assert!(
            std::thread::panicking() || (deserted && gone),
            "left behind: {left:#?}"
        );
    }
}

/// Whether sessions on this machine have control groups of their own.
pub(crate) fn has_control_groups() -> bool {
    use app::ports::processes::{Containment, Processes as _};
    let shim = Some((PathBuf::from(env!("CARGO_BIN_EXE_crewboss")), vec![]));
    let options = sandbox_host::HostOptions {
        shim,
        ..Default::default()
    };
    sandbox_host::HostProcesses::new(options)
        .unwrap()
        .containment()
        == Containment::Cgroup
}
