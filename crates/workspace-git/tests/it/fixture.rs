//! A repository with a user, a state directory and the adapter under test.

#![expect(
    clippy::disallowed_methods,
    reason = "tests play the user and the agent with git"
)]

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use app::ports::workspaces::{
    Authorship, Committed, Dependency, PrepareRequest, Published, Workspaces,
};
use domain::{
    id::{SessionId, TaskId},
    workspace::{CommitId, WorkspaceMode, WorkspaceRecord},
};
use workspace_git::{GitWorkspaces, Settings};

pub(crate) struct Fixture {
    pub(crate) root: tempfile::TempDir,
    pub(crate) project: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) workspaces: Box<dyn Workspaces>,
}

pub(crate) fn task(number: u64) -> TaskId {
    TaskId::from_number(number).expect("a task")
}

pub(crate) fn session(number: u64) -> SessionId {
    SessionId::from_number(number).expect("a session")
}

impl Fixture {
    /// A repository with one commit on `main`.
    pub(crate) fn new() -> Self {
        let fixture = Self::without_commits("project");
        fixture.write("README.md", "hello\n");
        fixture.commit_all("start");
        fixture
    }

    pub(crate) fn without_commits(name: &str) -> Self {
        let fixture = Self::plain(name);
        fixture.git(["init", "--quiet", "--initial-branch=main"]);
        fixture.git(["config", "user.name", "Ada"]);
        fixture.git(["config", "user.email", "ada@example.org"]);
        fixture
    }

    /// The fixture with its project elsewhere below its root.
    pub(crate) fn in_project(mut self, project: PathBuf) -> Self {
        self.project = project;
        self
    }

    /// A directory that is no repository.
    pub(crate) fn plain(name: &str) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let real = fs::canonicalize(root.path()).expect("its name");
        let (project, state) = (real.join(name), real.join("state"));
        fs::create_dir_all(&project).expect("project");
        fs::create_dir_all(real.join("home")).expect("home");
        let settings = Settings::new(state.clone(), environment(&real));
        let workspaces = Box::new(GitWorkspaces::new(settings));
        Self {
            root,
            project,
            state,
            workspaces,
        }
    }

    pub(crate) fn real_root(&self) -> PathBuf {
        fs::canonicalize(self.root.path()).expect("root")
    }

    pub(crate) fn environment(&self) -> Vec<(OsString, OsString)> {
        environment(&self.real_root())
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        write(&self.project, name, text);
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.project.join(name)).expect("a file")
    }

    pub(crate) fn git<I: IntoIterator<Item: AsRef<OsStr>>>(&self, args: I) -> String {
        self.git_in(&self.project, args)
    }

    pub(crate) fn git_in<I: IntoIterator<Item: AsRef<OsStr>>>(
        &self,
        directory: &Path,
        args: I,
    ) -> String {
        let (ok, text) = self.try_git(directory, args);
        assert!(ok, "{text}");
        text
    }

    pub(crate) fn try_git<I: IntoIterator<Item: AsRef<OsStr>>>(
        &self,
        directory: &Path,
        args: I,
    ) -> (bool, String) {
        let mut command = Command::new("git");
        command
            .env_clear()
            .envs(self.environment())
            .env("GIT_OPTIONAL_LOCKS", "0");
        command
            .env("GIT_EDITOR", "true")
            .args(["-c", "protocol.file.allow=always"]);
        let output = command
            .args(args)
            .current_dir(directory)
            .output()
            .expect("git");
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            text.push_str(&String::from_utf8_lossy(&output.stderr));
        }
        (output.status.success(), text)
    }

    pub(crate) fn commit_all(&self, message: &str) -> CommitId {
        self.commit_all_in(&self.project, message)
    }

    pub(crate) fn commit_all_in(&self, directory: &Path, message: &str) -> CommitId {
        self.git_in(directory, ["add", "-A"]);
        let name = ["-c", "user.name=Agent", "-c", "user.email=agent@localhost"];
        let commit = [
            "commit",
            "--quiet",
            "--no-verify",
            "--allow-empty",
            "-m",
            message,
        ];
        self.git_in(directory, name.iter().chain(&commit));
        self.tip(directory, "HEAD")
    }

    pub(crate) fn tip(&self, directory: &Path, name: &str) -> CommitId {
        self.git_in(directory, ["rev-parse", "--verify", name])
            .trim()
            .parse()
            .expect("an id")
    }

    /// All that belongs to the user and may not change.
    pub(crate) fn users_state(&self) -> Vec<String> {
        let mut state: Vec<String> = [
            &["status", "--porcelain", "--branch"][..],
            &["stash", "list"],
            &["symbolic-ref", "HEAD"],
            &["rev-parse", "HEAD"],
            &["ls-files", "--stage"],
            &["config", "--list", "--local"],
        ]
        .iter()
        .map(|args| self.git(*args))
        .collect();
        let index = fs::read(self.project.join(".git/index")).unwrap_or_default();
        state.push(format!("{index:?}"));
        state
    }

    pub(crate) fn request(&self, number: u64) -> PrepareRequest {
        PrepareRequest {
            project: self.project.clone(),
            task: task(number),
            session: session(number),
            title: format!("Task {number}: do it"),
            mode: WorkspaceMode::Worktree,
            target: None,
            base: None,
            continue_from: None,
            restore: None,
            remote: None,
            dependencies: Vec::new(),
        }
    }

    pub(crate) fn prepare(&self, number: u64) -> WorkspaceRecord {
        self.workspaces
            .prepare(&self.request(number))
            .expect("prepared")
    }

    pub(crate) fn prepare_after(&self, number: u64, tasks: &[(u64, &CommitId)]) -> PrepareRequest {
        let dependencies = tasks.iter().map(|(number, commit)| Dependency {
            task: task(*number),
            commit: (*commit).clone(),
        });
        PrepareRequest {
            dependencies: dependencies.collect(),
            ..self.request(number)
        }
    }

    pub(crate) fn commit(&self, record: &WorkspaceRecord, number: u64) -> Committed {
        let committed = self.workspaces.commit(record, &authorship(number));
        committed.expect("committed").expect("a worktree")
    }

    /// A task's whole life: prepared, one file written, committed, published.
    pub(crate) fn finished(&self, number: u64, name: &str, text: &str) -> Published {
        let record = self.prepare(number);
        write(&record.path, name, text);
        let committed = self.commit(&record, number);
        self.workspaces
            .publish(&record, &committed.commit, None)
            .expect("published")
    }
}

pub(crate) fn authorship(number: u64) -> Authorship {
    Authorship {
        title: format!("Task {number}: do it\nwith more"),
        task: task(number),
        session: session(number),
        agent: "coder".to_owned(),
    }
}

pub(crate) fn write(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("parent");
    fs::write(path, text).expect("written");
}

/// Writes a program. Another process does, so that no child of another test's thread inherits a
/// descriptor that is open for writing, which would keep the program from being executed.
pub(crate) fn write_program(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("parent");
    let mut command = Command::new("/bin/sh");
    command
        .args([
            "-c",
            r#"printf %s "$1" > "$2" && chmod +x "$2""#,
            "sh",
            text,
        ])
        .arg(path);
    assert!(command.status().expect("sh").success());
}

fn environment(root: &Path) -> Vec<(OsString, OsString)> {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    vec![
        ("PATH".into(), path.into()),
        ("HOME".into(), root.join("home").into()),
        ("GIT_CONFIG_NOSYSTEM".into(), "1".into()),
        ("GIT_AUTHOR_DATE".into(), "2026-11-20T00:00:00Z".into()),
    ]
}
