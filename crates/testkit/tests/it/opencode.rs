//! Real `OpenCode` against the scripted model.

use std::{
    fs::{self, File},
    io::{Seek as _, SeekFrom, Write as _},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;
use testkit::{
    poll::poll_until,
    requirements,
    scripted_model::{Answer, Scenario, ScriptedModel, isolated_env},
    temp_repo::TempRepo,
};

/// Several times what a run takes on a busy machine.
const RUN_MAX: Duration = Duration::from_mins(3);

const SCENARIO: &str = r#"
title = "Two files and a command"

[[scripts]]
name = "two-files"
match = ["write two files", "run a command"]
[[scripts.turns]]
text = "First the files."
reasoning = "Two calls at once."
usage = { prompt = 1000, cached = 200, completion = 50, reasoning = 7 }
tools = [
  { name = "write", arguments = { filePath = "{{cwd}}/a.txt", content = "A\n" } },
  { name = "write", arguments = { filePath = "{{cwd}}/sub/b.txt", content = "{{prompt}}\n" } },
]
[[scripts.turns]]
tools = [{ name = "bash", arguments = { command = "cat a.txt > c.txt", description = "Copies" } }]
[[scripts.turns]]
text = "All three are there."

[[scripts]]
name = "more"
match = "one more"
[[scripts.turns]]
tools = [{ name = "write", arguments = { filePath = "{{cwd}}/d.txt", content = "D\n" } }]
[[scripts.turns]]
text = "One more is there."

[[scripts]]
name = "limited"
match = "be limited"
[[scripts.turns]]
tools = [{ name = "write", arguments = { filePath = "{{cwd}}/a.txt", content = "A\n" } }]
faults = [{ kind = "status", status = 429, retry_after_s = 1 }]
[[scripts.turns]]
text = "This text is cut off before it is complete, and comes again."
faults = [{ kind = "drop-mid-stream" }]
"#;

/// One `opencode run`.
struct Run {
    code: Option<i32>,
    events: Vec<Value>,
    stderr: String,
}

impl Run {
    fn of_type(&self, kind: &str) -> Vec<&Value> {
        self.events
            .iter()
            .filter(|event| event["type"] == kind)
            .collect()
    }

    fn session(&self) -> &str {
        self.events[0]["sessionID"].as_str().unwrap()
    }

    /// Asserts that it ended well, and what it last said.
    fn assert_said(&self, text: &str) {
        let described = || format!("{:?} {:?}\n{}", self.code, self.events, self.stderr);
        assert_eq!(self.code, Some(0), "{}", described());
        let last = self.events.last().unwrap();
        assert_eq!(last["part"]["reason"], "stop", "{}", described());
        let said = self.of_type("text");
        assert_eq!(
            said.last().unwrap()["part"]["text"],
            text,
            "{}",
            described()
        );
        assert!(self.of_type("error").is_empty(), "{}", described());
    }
}

fn model() -> ScriptedModel {
    ScriptedModel::start(Scenario::from_toml(SCENARIO).unwrap()).unwrap()
}

/// Runs `OpenCode` in `directory`, with the prompt on standard input.
#[expect(
    clippy::disallowed_methods,
    reason = "the test is what starts OpenCode here"
)]
fn run(
    opencode: &Path,
    env: &[(String, String)],
    directory: &Path,
    args: &[&str],
    prompt: &str,
) -> Run {
    let mut stdin = tempfile::tempfile().unwrap();
    stdin.write_all(prompt.as_bytes()).unwrap();
    stdin.seek(SeekFrom::Start(0)).unwrap();
    let outputs = tempfile::tempdir().unwrap();
    let (stdout, stderr) = (outputs.path().join("stdout"), outputs.path().join("stderr"));
    let mut child = Command::new(opencode)
        .args(["run", "--format", "json", "--auto"])
        .args(args)
        .current_dir(directory)
        .env_clear()
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdin(stdin)
        .stdout(File::create(&stdout).unwrap())
        .stderr(File::create(&stderr).unwrap())
        .spawn()
        .unwrap();
    if !poll_until(RUN_MAX, || child.try_wait().unwrap().is_some()) {
        child.kill().unwrap();
    }
    let code = child.wait().unwrap().code();
    let events = fs::read_to_string(stdout).unwrap();
    Run {
        code,
        events: events
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
        stderr: fs::read_to_string(stderr).unwrap(),
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn opencode_writes_files_runs_a_command_and_can_be_resumed() {
    let Some(opencode) = requirements::opencode() else {
        return;
    };
    let (model, repo) = (model(), TempRepo::new());
    let env = isolated_env(&repo.beside("home"), &model.base_url()).unwrap();
    let prompt = "Please write two files and run a command.\nIt's \"important\".";
    let first = run(&opencode, &env, &repo.path(), &[], prompt);
    first.assert_said("All three are there.");
    assert_eq!(read(&repo.path().join("a.txt")), "A\n");
    assert_eq!(read(&repo.path().join("sub/b.txt")).trim_end(), prompt);
    assert_eq!(read(&repo.path().join("c.txt")), "A\n");
    let tokens = &first.of_type("step_finish")[0]["part"]["tokens"];
    assert_eq!(
        (&tokens["input"], &tokens["output"]),
        (&800.into(), &43.into()),
        "{tokens}"
    );
    assert_eq!(
        (&tokens["reasoning"], &tokens["cache"]["read"]),
        (&7.into(), &200.into())
    );
    assert_eq!(model.answered(Answer::Title), 1);
    assert_eq!(model.calls_of("two-files"), 3);

    let second = run(
        &opencode,
        &env,
        &repo.path(),
        &["-s", first.session()],
        "Now one more.",
    );
    second.assert_said("One more is there.");
    assert_eq!(second.session(), first.session());
    assert_eq!(read(&repo.path().join("d.txt")), "D\n");
    assert_eq!(model.calls_of("more"), 2);
    let requests = model.requests();
    assert!(
        requests
            .iter()
            .all(|r| r.conversation.as_deref() == Some(first.session()))
    );
    let directory = repo.path().canonicalize().unwrap();
    assert_eq!(
        requests.last().unwrap().directory.as_deref(),
        directory.to_str()
    );
    assert_eq!(model.answered(Answer::Unmatched), 0);
}

#[test]
fn opencode_tries_again_after_a_rate_limit_and_a_dropped_connection() {
    let Some(opencode) = requirements::opencode() else {
        return;
    };
    let (model, repo) = (model(), TempRepo::new());
    let env = isolated_env(&repo.beside("home"), &model.base_url()).unwrap();
    let run = run(
        &opencode,
        &env,
        &repo.path(),
        &["--title", "t"],
        "Please be limited.",
    );
    run.assert_said("This text is cut off before it is complete, and comes again.");
    assert_eq!(read(&repo.path().join("a.txt")), "A\n");
    let played: Vec<_> = model
        .requests()
        .iter()
        .map(|request| (request.answer, request.turn.unwrap()))
        .collect();
    let expected = [
        (Answer::Fault, 0),
        (Answer::Turn, 0),
        (Answer::Fault, 1),
        (Answer::Turn, 1),
    ];
    assert_eq!(played, expected);
}

/// Each has a database of its own, as sessions have: two that make one at the same time may both
/// begin with its first table.
#[test]
fn four_opencodes_at_once_do_not_disturb_each_other() {
    let Some(opencode) = requirements::opencode() else {
        return;
    };
    let (model, repo) = (model(), TempRepo::new());
    let env = isolated_env(&repo.beside("home"), &model.base_url()).unwrap();
    thread::scope(|scope| {
        for number in 0..4 {
            let directory = repo.beside(&format!("work-{number}"));
            let database = repo.beside("home").join(format!("{number}.db"));
            let mut env = env.clone();
            env.push(("OPENCODE_DB".to_owned(), database.display().to_string()));
            let opencode = &opencode;
            scope.spawn(move || {
                let prompt = format!("Number {number}: write two files and run a command.");
                let run = run(opencode, &env, &directory, &["--title", "t"], &prompt);
                run.assert_said("All three are there.");
                assert_eq!(read(&directory.join("sub/b.txt")).trim_end(), prompt);
                assert_eq!(read(&directory.join("c.txt")), "A\n");
            });
        }
    });
    assert_eq!(model.calls_of("two-files"), 12);
    assert_eq!(model.answered(Answer::Turn), 12);
}

/// The first test again, in a network namespace that has nothing but loopback.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "runs this test binary in another namespace"
)]
fn opencode_needs_no_network_but_loopback() {
    if requirements::opencode().is_none() || !requirements::root() {
        return;
    }
    let (Some(unshare), Some(_)) = (
        requirements::program("unshare"),
        requirements::program("ip"),
    ) else {
        return;
    };
    let can = Command::new(&unshare)
        .args(["-n", "true"])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    if !can.success() {
        return requirements::missing("the right to make a network namespace");
    }
    let enter = "ip link set lo up && exec \"$@\"";
    let output = Command::new(unshare)
        .args(["-n", "sh", "-c", enter, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "opencode::opencode_writes_files_runs_a_command_and_can_be_resumed",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    assert!(said.contains("1 passed"), "{said}");
}
