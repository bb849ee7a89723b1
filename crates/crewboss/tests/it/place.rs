//! A project, a home and a store that belong to one test alone.

use std::{
    ffi::OsStr,
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use testkit::{poll::poll_until, temp_repo::TempRepo};

/// Agents that are lines of shell.
pub(crate) const AGENTS: &str = r#"
[agents.writer]
driver = "command"
command = "sh"
args = ["-c", "echo working; printf '%s\n' \"$1\" >result.txt", "sh", "{prompt}"]

[agents.line]
driver = "command"
command = "sh"
args = ["-c", "{prompt}"]

[agents.sleeper]
driver = "command"
command = "sh"
args = ["-c", "echo started; exec sleep 600", "sh", "{prompt}"]

[agents.late7]
driver = "command"
command = "sh"
args = ["-c", "echo no >&2; exit 7", "sh", "{prompt}"]

[agents.echo]
driver = "command"
command = "printf"
args = ["[%s]\n", "{prompt}"]
"#;

/// How one run of the program ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// The run, which must have succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:#?}");
        self
    }

    /// The only task id on stdout.
    #[track_caller]
    pub(crate) fn id(&self) -> String {
        let start = self.out.find("task_").expect("a task id");
        let digits = |c: char| !c.is_ascii_digit();
        let end = self.out[start + 5..]
            .find(digits)
            .map_or(self.out.len(), |end| start + 5 + end);
        self.out[start..end].to_owned()
    }

    /// The one document on stdout.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Place {
    project: PathBuf,
    home: PathBuf,
    environment: Vec<(String, String)>,
    _folder: Option<tempfile::TempDir>,
    repo: Option<TempRepo>,
}

impl Place {
    /// A plain folder with the agents above.
    pub(crate) fn folder() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("crewboss-test-")
            .tempdir()
            .unwrap();
        let project = folder.path().join("project");
        fs::create_dir(&project).unwrap();
        let home = folder.path().join("home");
        Self::at(project, home, Some(folder), None)
    }

    /// A git repository with one commit and the agents above.
    pub(crate) fn repository() -> Self {
        Self::of(TempRepo::new())
    }

    pub(crate) fn of(repo: TempRepo) -> Self {
        let (project, home) = (repo.path(), repo.beside("home"));
        Self::at(project, home, None, Some(repo))
    }

    fn at(
        project: PathBuf,
        home: PathBuf,
        folder: Option<tempfile::TempDir>,
        repo: Option<TempRepo>,
    ) -> Self {
        fs::create_dir_all(&home).unwrap();
        let place = Self {
            project,
            home,
            environment: testkit::postgres::environment(),
            _folder: folder,
            repo,
        };
        let config = place.home.join("config/crewboss/config.toml");
        fs::create_dir_all(config.parent().unwrap()).unwrap();
        fs::write(config, AGENTS).unwrap();
        place
    }

    pub(crate) fn project(&self) -> &Path {
        &self.project
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    pub(crate) fn repo(&self) -> &TempRepo {
        self.repo.as_ref().expect("a place in a repository")
    }

    /// The user's own configuration, with more behind it.
    pub(crate) fn configure(&self, more: &str) {
        let config = self.home.join("config/crewboss/config.toml");
        fs::write(config, format!("{AGENTS}\n{more}")).unwrap();
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn command<I: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = I>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crewboss"));
        command
            .args(args)
            .current_dir(&self.project)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.home)
            .env("XDG_CONFIG_HOME", self.home.join("config"))
            .env("CREWBOSS_HOME", self.home.join("crewboss"))
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
        self.feed(args, None)
    }

    /// The same with something on standard input.
    pub(crate) fn feed(&self, args: &[&str], input: Option<&str>) -> Ran {
        let mut command = self.command(args);
        if input.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn().unwrap();
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            stdin.write_all(input.as_bytes()).unwrap();
        }
        let output = child.wait_with_output().unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Queues a task and answers its id.
    #[track_caller]
    pub(crate) fn start(&self, args: &[&str]) -> String {
        let args: Vec<&str> = ["start"].iter().chain(args).copied().collect();
        self.run(&args).ok().id()
    }

    /// Runs a command and kills it after so many milliseconds, where it has not ended before.
    pub(crate) fn kill_after(&self, millis: u64, args: &[&str]) {
        let mut child = self.command(args).spawn().unwrap();
        let has_ended = poll_until(Duration::from_millis(millis), || {
            child.try_wait().unwrap().is_some()
        });
        if !has_ended {
            child.kill().unwrap();
        }
        child.wait().unwrap();
    }

    /// The messages of a task's log that these flags leave, asked for under one of its names.
    pub(crate) fn messages(&self, verb: &str, id: &str, flags: &[&str]) -> Vec<String> {
        let args = [&[verb, id, "--json"], flags].concat();
        let history = self.run(&args).ok().json();
        let entries = history["entries"].as_array().unwrap().iter();
        entries
            .map(|entry| entry["message"].as_str().unwrap().to_owned())
            .collect()
    }

    pub(crate) fn status_of(&self, id: &str) -> String {
        let shown = self.run(&["show", id, "--json"]).ok().json();
        shown["status"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the agent of a task is at work.
    #[track_caller]
    pub(crate) fn until_at_work(&self, id: &str) {
        let at_work = || {
            let shown = self.run(&["show", id, "--json"]).json();
            shown["session_status"] == "running"
        };
        assert!(
            poll_until(Duration::from_mins(1), at_work),
            "{:#?}",
            self.run(&["show", id])
        );
    }

    /// Text without what differs from run to run.
    pub(crate) fn plain(&self, text: &str) -> String {
        let text = text
            .replace(
                &self.project.canonicalize().unwrap().display().to_string(),
                "PROJECT",
            )
            .replace(&self.home.display().to_string(), "HOME");
        let mut plain = String::new();
        let mut ids: Vec<String> = Vec::new();
        let mut rest = text.as_str();
        while let Some(at) = ["task_", "ses_", "prj_"]
            .iter()
            .filter_map(|p| rest.find(p))
            .min()
        {
            let (before, from) = rest.split_at(at);
            let kind = from.split('_').next().unwrap_or_default();
            let digits = &from[kind.len() + 1..];
            let end = digits
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(digits.len());
            let id = digits[..end].to_owned();
            plain.push_str(before);
            if end == 0 {
                plain.push_str(kind);
                plain.push('_');
            } else {
                let number = ids
                    .iter()
                    .position(|known| *known == id)
                    .unwrap_or_else(|| {
                        ids.push(id.clone());
                        ids.len() - 1
                    });
                let _ = write!(plain, "{kind}_<{}>", number + 1);
            }
            rest = &digits[end..];
        }
        plain.push_str(rest);
        without_numbers_behind(&plain, &["PID: ", "PIDs: ", "PID "])
    }
}

/// Nothing that a test started may go on after it.
impl Drop for Place {
    fn drop(&mut self) {
        let open = self.run(&["status", "--json"]);
        let Ok(document) = serde_json::from_str::<serde_json::Value>(&open.out) else {
            return;
        };
        for task in document["tasks"].as_array().into_iter().flatten() {
            if let (Some("running"), Some(id)) = (task["status"].as_str(), task["id"].as_str()) {
                drop(self.run(&["cancel", id]));
            }
        }
    }
}

fn without_numbers_behind(text: &str, marks: &[&str]) -> String {
    let mut plain = text.to_owned();
    for mark in marks {
        let mut from = 0;
        while let Some(at) = plain[from..].find(mark) {
            let start = from + at + mark.len();
            let other = |c: char| !c.is_ascii_digit();
            let end = plain[start..]
                .find(other)
                .map_or(plain.len(), |end| start + end);
            if end > start {
                plain.replace_range(start..end, "N");
            }
            from = start;
        }
    }
    plain
}
