//! Homes and clones side by side, and a repository that joins them.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;
use testkit::poll::poll_until;

use crate::{
    arena::{Arena, LONG, Ran, ended},
    census,
};

/// How long a session may stay silent here.
pub(crate) const LEASE: Duration = Duration::from_secs(3);

const CONFIG: &str = r#"
[agents.sh]
driver = "command"
command = "sh"
args = ["-c", "{prompt}"]
env = ["NODE", "FLEET"]

[run]
cancel_grace_seconds = 1
timeout_grace_seconds = 1
requeues_max = 100
lease_seconds = 3

[serve]
lease_seconds = 2

[project]
remote = "origin"
"#;

#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) nodes: Vec<Home>,
    arena: Arena,
}

/// One node's home, and its clone.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    name: String,
    root: PathBuf,
    fleet: PathBuf,
    more: Vec<(String, String)>,
}

impl Fleet {
    /// On one file, which all homes have.
    pub(crate) fn new(nodes: usize) -> Self {
        Self::with(nodes, None)
    }

    /// On a server, with nothing in common but that and the shared repository.
    pub(crate) fn on_a_server(nodes: usize) -> Option<Self> {
        testkit::postgres::store().map(|url| Self::with(nodes, Some(url)))
    }

    fn with(nodes: usize, url: Option<String>) -> Self {
        let arena = Arena::folder();
        let root = arena.root().to_owned();
        let seed = root.join("seed");
        fs::create_dir_all(seed.join(".crewboss")).unwrap();
        fs::write(seed.join(".crewboss/config.toml"), CONFIG).unwrap();
        git(&root, &["init", "--quiet", "--initial-branch=main", "seed"]);
        git(&seed, &["add", "--force", "."]);
        git(&seed, &["commit", "--quiet", "--message=first"]);
        git(&root, &["clone", "--quiet", "--bare", "seed", "origin.git"]);
        let nodes: Vec<Home> = (0..nodes)
            .map(|number| Home::new(&root, &format!("n{number}")))
            .collect();
        if let Some(url) = url {
            let on_server = |home: Home| home.with("CREWBOSS_STORE", &url);
            let nodes = nodes.into_iter().map(on_server).collect();
            return Self { nodes, arena };
        }
        // The first makes the store, and all use it.
        let first = nodes[0].home().join("crewboss.db");
        nodes[0].start_with("true", &["--in", "1d"]);
        nodes[0].run(&["status"]).ok();
        for node in &nodes[1..] {
            symlink(&first, node.home().join("crewboss.db")).unwrap();
        }
        Self { nodes, arena }
    }

    fn root(&self) -> &Path {
        self.arena.root()
    }

    /// Lets patient agents end.
    pub(crate) fn go(&self) {
        fs::write(self.root().join("go"), "").unwrap();
    }

    /// Lines of the log that begin with this.
    pub(crate) fn count(&self, beginning: &str) -> usize {
        let lines = self.arena.lines("log");
        lines
            .iter()
            .filter(|line| line.starts_with(&format!("{beginning} ")))
            .count()
    }

    #[track_caller]
    pub(crate) fn until(&self, what: &str, holds: impl FnMut() -> bool) {
        let said = || -> Vec<String> {
            let files = self.nodes.iter().map(|node| node.root.join("serve.log"));
            files
                .map(|file| fs::read_to_string(file).unwrap_or_default())
                .collect()
        };
        assert!(
            poll_until(LONG, holds),
            "never {what}: {}\n{}",
            self.nodes[0].run(&["status"]).out,
            said().join("\n---\n")
        );
    }

    #[track_caller]
    pub(crate) fn until_done(&self, id: &str) {
        let last = self.nodes.last().unwrap();
        self.until("it is done", || last.status_of(id) == "completed");
    }

    /// Where a reference of the shared repository points.
    pub(crate) fn remote(&self, reference: &str) -> String {
        let shared = self.root().join("origin.git");
        git(
            &shared,
            &["for-each-ref", "--format=%(objectname)", reference],
        )
    }

    /// A file there.
    pub(crate) fn show(&self, reference: &str, file: &str) -> String {
        let shared = self.root().join("origin.git");
        git(&shared, &["show", &format!("{reference}:{file}")])
    }
}

fn git(directory: &Path, args: &[&str]) -> String {
    let identity = ["-c", "user.name=T", "-c", "user.email=t@localhost"];
    let output = Command::new("git")
        .args(identity)
        .args(args)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Home {
    fn new(fleet: &Path, name: &str) -> Self {
        let root = fleet.join(name);
        for folder in ["home", "cb", "tmp"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        git(&root, &["clone", "--quiet", "../origin.git", "project"]);
        let home = Self {
            name: name.to_owned(),
            root,
            fleet: fleet.to_owned(),
            more: vec![],
        };
        // As its first `serve` would: from then on all that it does is this node's.
        let id = 1 + name
            .bytes()
            .fold(0, |sum, byte| sum * 256 + u64::from(byte));
        fs::write(home.home().join("node"), format!("node_{id}\n")).unwrap();
        home
    }

    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let mut home = self.clone();
        home.more.push((name.to_owned(), value.to_owned()));
        home
    }

    /// Where its state is.
    pub(crate) fn home(&self) -> PathBuf {
        self.root.join("cb")
    }

    fn command<I: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = I>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crewboss"));
        command
            .args(args)
            .current_dir(self.root.join("project"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.root.join("home"))
            .env("TMPDIR", self.root.join("tmp"))
            .env("CREWBOSS_HOME", self.home())
            .env("USER", "tester")
            .env("LANG", "C.UTF-8")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("NODE", &self.name)
            .env("FLEET", &self.fleet)
            .envs(self.more.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        ended(self.command(args).spawn().unwrap())
    }

    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        serde_json::from_str(&self.run(&args).ok().out).unwrap()
    }

    pub(crate) fn serve(&self, more: &[&str]) -> Child {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.root.join("serve.log"))
            .unwrap();
        let args = ["serve", "--name", &self.name, "--interval", "1"];
        let child = self
            .command(args.iter().chain(more))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let is_there = || {
            let entries = fs::read_dir(self.home()).unwrap().flatten();
            let mut sockets = entries
                .map(|entry| entry.path())
                .filter(|path| path.extension() == Some(OsStr::new("sock")));
            sockets.any(|socket| std::os::unix::net::UnixStream::connect(socket).is_ok())
        };
        assert!(poll_until(LONG, is_there), "{} does not serve", self.name);
        child
    }

    #[track_caller]
    pub(crate) fn start(&self, script: &str) -> String {
        self.start_with(script, &[])
    }

    #[track_caller]
    pub(crate) fn start_with(&self, script: &str, flags: &[&str]) -> String {
        let args: Vec<&str> = ["start", "sh", script]
            .into_iter()
            .chain(flags.iter().copied())
            .collect();
        self.json(&args)["id"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn status_of(&self, id: &str) -> String {
        self.json(&["show", id])["status"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Everything of this node, and nothing of the others.
    pub(crate) fn signal_all(&self, signal: Signal) {
        for one in census::residents(&self.root) {
            census::signal(one.pid, signal);
        }
    }

    /// All of it, until nothing is left.
    pub(crate) fn kill_all(&self) {
        let gone = || {
            let residents = census::residents(&self.root);
            for one in &residents {
                census::signal(one.pid, Signal::KILL);
            }
            residents.is_empty()
        };
        assert!(poll_until(LONG, gone));
    }

    /// Runners that have not ended.
    pub(crate) fn runners(&self) -> usize {
        let residents = census::residents(&self.root);
        residents
            .iter()
            .filter(|one| one.line.contains(" runner --session "))
            .count()
    }

    /// Worktrees of sessions.
    pub(crate) fn worktrees(&self) -> usize {
        let listed = git(
            &self.root.join("project"),
            &["worktree", "list", "--porcelain"],
        );
        listed.matches("worktree ").count() - 1
    }
}
