//! A machine for one page: a home, a git identity, places to work in, and a shell that remembers
//! what the page did before, as a reader's does.

use std::{
    fmt::Write as _,
    fs,
    os::unix::{fs::symlink, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use testkit::{poll::poll_until, scripted_model::isolated_env};

use crate::page::{Ground, Page, Step};

/// Many times what a page takes on a busy machine.
const PAGE_MAX: Duration = Duration::from_mins(2);

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) exit: Option<i32>,
    pub(crate) output: String,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Stage {
    folder: TempDir,
    environment: Vec<(String, String)>,
}

impl Stage {
    /// A new machine. `opencode` is on its path; without one, no `opencode` is.
    pub(crate) fn new(model: &str, opencode: Option<&Path>) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("crewboss-docs-")
            .tempdir()
            .unwrap();
        let base = folder.path().canonicalize().unwrap();
        let programs = base.join("bin");
        fs::create_dir_all(&programs).unwrap();
        symlink(env!("CARGO_BIN_EXE_crewboss"), programs.join("crewboss")).unwrap();
        if let Some(opencode) = opencode {
            symlink(opencode.canonicalize().unwrap(), programs.join("opencode")).unwrap();
        }
        let mut environment = isolated_env(&base.join("home"), model).unwrap();
        set(&mut environment, "PATH", |path| {
            let without = path.split(':').filter(|folder| {
                let other = Path::new(folder).join("opencode");
                !other.exists()
            });
            let rest: Vec<&str> = without.collect();
            format!("{}:{}", programs.display(), rest.join(":"))
        });
        environment.push(("USER".to_owned(), "you".to_owned()));
        fs::write(
            base.join("home/.gitconfig"),
            "[user]\nname = You\nemail = you@localhost\n[init]\ndefaultBranch = main\n",
        )
        .unwrap();
        Self {
            folder,
            environment,
        }
    }

    /// A variable that the reader is taken to have set.
    pub(crate) fn know(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Does everything that the page says, up to the first command that ends otherwise.
    pub(crate) fn follow(&self, page: &Page) -> Vec<Ran> {
        let base = self.folder.path();
        let script = base.join("page.sh");
        fs::write(&script, self.script(page)).unwrap();
        let mut shell = self.command("bash");
        shell.arg(&script).process_group(0);
        let mut shell = shell.spawn().unwrap();
        let has_ended = poll_until(PAGE_MAX, || shell.try_wait().unwrap().is_some());
        if !has_ended {
            kill_group(shell.id());
        }
        drop(shell.wait());
        let ran = (0..page.commands().count())
            .map_while(|number| {
                let output = fs::read(base.join(format!("out.{number}"))).ok()?;
                let exit = fs::read_to_string(base.join(format!("exit.{number}"))).ok();
                Some(Ran {
                    exit: exit.and_then(|code| code.trim().parse().ok()),
                    output: String::from_utf8_lossy(&output).into_owned(),
                })
            })
            .collect();
        self.end_all(shell.id());
        ran
    }

    fn script(&self, page: &Page) -> String {
        let base = self.folder.path().display();
        let mut script = String::from("shopt -s expand_aliases\n");
        let (mut commands, mut places) = (0, 0);
        for step in &page.steps {
            match step {
                Step::Go(ground) => {
                    places += 1;
                    let place = self.place(&format!("project{places}"), *ground);
                    let _ = writeln!(script, "cd {}", place.display());
                }
                Step::File { path, text } => {
                    let _ = writeln!(
                        script,
                        "mkdir -p \"$(dirname {path})\"\ncat >>{path} <<'END OF BLOCK'\n{text}END OF BLOCK"
                    );
                }
                Step::Command(command) => {
                    let (text, exit) = (&command.text, command.exit);
                    let _ = writeln!(
                        script,
                        "{{ {text}\n}} >{base}/out.{commands} 2>&1; code=$?\n\
                         echo $code >{base}/exit.{commands}; [ $code = {exit} ] || exit 99"
                    );
                    commands += 1;
                }
            }
        }
        script
    }

    /// A new project.
    pub(crate) fn place(&self, name: &str, ground: Ground) -> PathBuf {
        let place = self.folder.path().join(name);
        fs::create_dir_all(&place).unwrap();
        let git = |args: &[&str]| {
            let mut git = self.command("git");
            let status = git.args(args).current_dir(&place).status().unwrap();
            assert!(status.success(), "git {args:?}");
        };
        if ground != Ground::Folder {
            git(&["init", "--quiet"]);
        }
        if ground == Ground::Repository {
            fs::write(place.join("notes.txt"), "first line\n").unwrap();
            git(&["add", "--all"]);
            git(&["commit", "--quiet", "--message", "Start"]);
        }
        place
    }

    /// A program in this machine's environment.
    pub(crate) fn command(&self, program: &str) -> Command {
        let path = &self
            .environment
            .iter()
            .find(|(name, _)| name == "PATH")
            .unwrap()
            .1;
        let found = path
            .split(':')
            .map(|folder| Path::new(folder).join(program));
        let found = found.into_iter().find(|file| file.is_file());
        let mut command = Command::new(found.unwrap_or_else(|| program.into()));
        command
            .env_clear()
            .envs(self.environment.iter().cloned())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Nothing that a page started may go on after it.
    fn end_all(&self, shell: u32) {
        for number in 1.. {
            let place = self.folder.path().join(format!("project{number}"));
            if !place.is_dir() {
                break;
            }
            let mut status = self.command("crewboss");
            status
                .args(["status", "--json"])
                .current_dir(&place)
                .stdout(Stdio::piped());
            let output = status.output().unwrap();
            let listed: serde_json::Value =
                serde_json::from_slice(&output.stdout).unwrap_or_default();
            for task in listed["tasks"].as_array().into_iter().flatten() {
                if task["status"] == "running" {
                    let mut cancel = self.command("crewboss");
                    cancel
                        .args(["cancel", task["id"].as_str().unwrap()])
                        .current_dir(&place);
                    drop(cancel.status());
                }
            }
        }
        kill_group(shell);
    }
}

fn set(environment: &mut [(String, String)], name: &str, change: impl FnOnce(&str) -> String) {
    let (_, value) = environment
        .iter_mut()
        .find(|(known, _)| known == name)
        .unwrap();
    *value = change(value);
}

fn kill_group(leader: u32) {
    let leader = i32::try_from(leader).ok().and_then(Pid::from_raw);
    if let Some(leader) = leader {
        // It is gone already where the page left nothing behind.
        let _gone = kill_process_group(leader, Signal::KILL);
    }
}
