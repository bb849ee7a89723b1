//! `checkpoint create` of a task at work, beside what git does with the same files.

use std::{
    cell::Cell,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{
    Tools,
    report::{Limit, Row},
    sample::{Sample, in_turns, time},
    stage::{Stage, quiet, until},
};
use crate::shell;

const CONFIG: &str = r#"[agents.patient]
driver = "command"
command = "/bin/sh"
args = ["-c", "exec sleep 3600"]
"#;

const DURABLE: &str = "objects, reference, folder and event synced; git: nothing";

/// Files of the first checkpoint, and of those of a tree that is known.
const FIRST: usize = 5_000;
const KNOWN: usize = 10_000;

/// The first of 5,000 files; 10,000 files that are as they were; ten of them changed.
pub(crate) fn rows(tools: &Tools, rounds: usize) -> Result<Vec<Row>> {
    let mut rows = first(tools, rounds / 4)?;
    rows.extend(known(tools, rounds)?);
    Ok(rows)
}

fn first(tools: &Tools, rounds: usize) -> Result<Vec<Row>> {
    let place = Place::new("first-checkpoint", tools, FIRST)?;
    let bare = place.stage.folder().join("bare");
    let add = |settings: &'static [&'static str]| {
        let (place, bare) = (&place, &bare);
        move || {
            place.write(FIRST)?;
            drop(fs::remove_dir_all(bare));
            fs::create_dir_all(bare.join("objects"))?;
            let script = format!("git {} add -A && git write-tree", settings.join(" "));
            let mut command = quiet(Path::new("/bin/sh"), &["-c", &script]);
            command
                .current_dir(&place.work)
                .env("GIT_INDEX_FILE", bare.join("index"))
                .env("GIT_OBJECT_DIRECTORY", bare.join("objects"));
            time(&mut command)
        }
    };
    let ours = || {
        place.write(FIRST)?;
        place.forget()?;
        place.create()
    };
    let series = in_turns(
        rounds,
        vec![
            Box::new(add(&["-c", "core.compression=0"])),
            Box::new(add(&[
                "-c",
                "core.fsync=committed",
                "-c",
                "core.fsyncMethod=batch",
            ])),
            Box::new(ours),
        ],
    )?;
    place.end()?;
    let of = |index: usize| series.get(index).context("every case was measured");
    let case = "first checkpoint, 5,000 files";
    Ok(vec![
        Row::of_times(
            case,
            of(2)?,
            (
                "git add -A && write-tree, no compression",
                of(0)?.median_micros(),
            ),
            Limit::AtMost(1.3),
            DURABLE,
        ),
        Row::of_times(
            case,
            of(2)?,
            ("git add -A && write-tree, synced", of(1)?.median_micros()),
            Limit::None,
            "both synced",
        ),
    ])
}

fn known(tools: &Tools, rounds: usize) -> Result<Vec<Row>> {
    let place = Place::new("known-checkpoint", tools, KNOWN)?;
    place.create()?;
    let status = || {
        let mut command = quiet(Path::new("/usr/bin/git"), &["status", "--porcelain"]);
        time(command.current_dir(&place.work))
    };
    let unchanged = || {
        // What was changed by the case before is known by then.
        place.create()?;
        place.create()
    };
    let changed = || {
        place.change(10)?;
        place.create()
    };
    let series = in_turns(
        rounds,
        vec![Box::new(status), Box::new(unchanged), Box::new(changed)],
    )?;
    place.end()?;
    let of = |index: usize| series.get(index).context("every case was measured");
    let least = ("git status", of(0)?.median_micros());
    Ok(vec![
        Row::of_times(
            "checkpoint, 10,000 unchanged",
            of(1)?,
            least,
            Limit::AtMost(2.0),
            DURABLE,
        ),
        Row::of_times(
            "checkpoint, 10 of 10,000 changed",
            of(2)?,
            least,
            Limit::AtMost(3.0),
            DURABLE,
        ),
    ])
}

/// A task at work in a worktree with files of its own.
#[derive(Debug)]
struct Place {
    stage: Stage,
    task: String,
    work: PathBuf,
    /// No content is written twice.
    written: Cell<usize>,
}

impl Place {
    fn new(name: &str, tools: &Tools, files: usize) -> Result<Self> {
        let stage = Stage::new(name, &tools.crewboss)?;
        fs::write(stage.project().join(".crewboss/config.toml"), CONFIG)?;
        let git = |arguments: &[&str]| -> Result<()> {
            let mut command = quiet(Path::new("/usr/bin/git"), arguments);
            shell::run(
                command
                    .current_dir(stage.project())
                    .env("GIT_AUTHOR_NAME", "bench")
                    .env("GIT_AUTHOR_EMAIL", "bench@localhost")
                    .env("GIT_COMMITTER_NAME", "bench")
                    .env("GIT_COMMITTER_EMAIL", "bench@localhost"),
            )
        };
        git(&["init", "--quiet", "--initial-branch=main"])?;
        git(&["commit", "--quiet", "--allow-empty", "--message=one"])?;
        let task = stage.start("patient")?;
        shell::run(&mut stage.crewboss(&["run"]))?;
        let mut work = None;
        until("an agent at work", Duration::from_millis(20), || {
            let shown = stage.show(&task)?;
            let path = shown.pointer("/session/workspace/path");
            work = path.and_then(|path| path.as_str()).map(PathBuf::from);
            Ok(shown["session_status"] == "running" && work.is_some())
        })?;
        let work = work.context("it has a workspace")?;
        let place = Self {
            stage,
            task,
            work,
            written: Cell::new(0),
        };
        place.write(files)?;
        Ok(place)
    }

    /// So many files of 2 kB, each with content that was never there before.
    fn write(&self, files: usize) -> Result<()> {
        for number in 0..files {
            let folder = self.work.join(format!("folder-{}", number / 100));
            if number % 100 == 0 {
                fs::create_dir_all(&folder)?;
            }
            fs::write(folder.join(format!("file-{number}")), self.content())?;
        }
        // Git reads again what was written in the second of its index.
        std::thread::sleep(Duration::from_millis(1_100));
        Ok(())
    }

    fn change(&self, files: usize) -> Result<()> {
        for number in 0..files {
            let file = format!("folder-{number}/file-{}", number * 100);
            fs::write(self.work.join(file), self.content())?;
        }
        Ok(())
    }

    fn content(&self) -> String {
        let number = self.written.get();
        self.written.set(number + 1);
        let mut text = String::with_capacity(2_100);
        let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        while text.len() < 2_000 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            // A text takes everything.
            let _written = writeln!(text, "{state:016x} let line = {number};");
        }
        text
    }

    /// Makes the next checkpoint the first of its session, as far as what it knows goes.
    fn forget(&self) -> Result<()> {
        let folder = format!(".crewboss/tasks/{}/checkpoints", self.task);
        let folder = self.stage.project().join(folder);
        let Ok(entries) = fs::read_dir(folder) else {
            return Ok(());
        };
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(".index") {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    fn create(&self) -> Result<Sample> {
        let mut command: Command = self.stage.crewboss(&["checkpoint", "create", &self.task]);
        time(command.stdout(Stdio::null()))
    }

    fn end(&self) -> Result<()> {
        shell::run(&mut self.stage.crewboss(&["cancel", &self.task]))
    }
}
