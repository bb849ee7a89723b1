//! Agents that are a few lines of shell: each does one thing that a real agent does, or should
//! never do.
//!
//! A script is written by a child process, so that this process never holds it open for writing:
//! a thread that forks at that moment would make the script "busy" for whoever starts it.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Writes an executable `/bin/sh` script called `name` into `dir` (made if missing).
///
/// # Panics
/// If the folder or the file cannot be written.
#[expect(
    clippy::disallowed_methods,
    reason = "see the module: the writer must be a child"
)]
pub fn script(dir: &Path, name: &str, body: &str) -> PathBuf {
    fs::create_dir_all(dir).expect("the agents' folder can be made");
    let path = dir.join(name);
    let mut writer = Command::new("/bin/sh")
        .args(["-c", "cat >\"$1\" && chmod 755 \"$1\"", "sh"])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .expect("sh can be started");
    writer
        .stdin
        .take()
        .expect("standard input was piped")
        .write_all(format!("#!/bin/sh\n{body}\n").as_bytes())
        .expect("the script can be handed over");
    assert!(
        writer.wait().expect("sh can be waited for").success(),
        "cannot write {}",
        path.display()
    );
    path
}

/// Says `started`, then sleeps for ever; TERM ends it at once.
pub fn sleeper(dir: &Path) -> PathBuf {
    script(dir, "sleeper", "echo started\nexec sleep 86400")
}

/// Does nothing and ends with `code`.
pub fn exits_with(dir: &Path, code: u8) -> PathBuf {
    script(
        dir,
        &format!("exits-with-{code}"),
        &format!("cat >/dev/null\nexit {code}"),
    )
}

/// Writes `lines` numbered lines to standard error and ends with `code`.
pub fn error_writer(dir: &Path, lines: u32, code: u8) -> PathBuf {
    let body = format!(
        "i=1\nwhile [ $i -le {lines} ]; do echo \"error line $i\" >&2; i=$((i+1)); done\nexit {code}"
    );
    script(dir, &format!("error-writer-{lines}-{code}"), &body)
}

/// Writes its arguments to standard output, each followed by a NUL, and ends with 0.
pub fn echo_argv(dir: &Path) -> PathBuf {
    script(dir, "echo-argv", "[ $# -eq 0 ] || printf '%s\\0' \"$@\"")
}

/// What the grandchildren of a [`Stubborn`] agent do with the environment that marks them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grandchildren {
    /// They keep it.
    KeepEnvironment,
    /// They clear it, so that no marker tells whose they are.
    ClearEnvironment,
}

/// An agent that does not want to end.
#[derive(Debug, Clone)]
pub struct Stubborn {
    /// What to start.
    pub program: PathBuf,
    pids: PathBuf,
}

impl Stubborn {
    /// How many processes announce themselves: the agent and its two grandchildren.
    pub const ANNOUNCED: usize = 3;

    /// The processes that have announced themselves, over all runs of the program.
    pub fn pids(&self) -> Vec<u32> {
        fs::read_to_string(&self.pids)
            .unwrap_or_default()
            .lines()
            .filter_map(|line| line.parse().ok())
            .collect()
    }
}

/// An agent that ignores TERM, INT and HUP and has two grandchildren which do the same, each
/// double-forked into a session of its own, so that neither parent, group nor session leads to
/// them. It says `started` when all three run.
pub fn stubborn(dir: &Path, grandchildren: Grandchildren) -> Stubborn {
    let (name, clear) = match grandchildren {
        Grandchildren::KeepEnvironment => ("stubborn", ""),
        Grandchildren::ClearEnvironment => ("stubborn-unmarked", "env -i PATH=\"$PATH\" "),
    };
    let pids = dir.join(format!("{name}.pids"));
    let child = script(
        dir,
        &format!("{name}-grandchild"),
        "trap '' TERM INT HUP\necho $$ >>\"$1\"\nwhile :; do sleep 1; done",
    );
    let body = format!(
        "trap '' TERM INT HUP\n\
         for n in 1 2; do ({clear}setsid {child} {pids} </dev/null >/dev/null 2>&1 &); done\n\
         echo $$ >>{pids}\n\
         while [ \"$(grep -c . {pids})\" -lt {announced} ]; do sleep 0.01; done\n\
         echo started\n\
         while :; do sleep 1; done",
        child = quoted(&child),
        pids = quoted(&pids),
        announced = Stubborn::ANNOUNCED,
    );
    Stubborn {
        program: script(dir, name, &body),
        pids,
    }
}

/// What one run of a [`FakeOpenCode`] was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedCall {
    /// Arguments, without the program's name.
    pub argv: Vec<String>,
    /// The whole environment (`PWD` and `_` are the shell's own).
    pub env: Vec<(String, String)>,
    /// Everything on standard input.
    pub stdin: Vec<u8>,
    /// The working directory.
    pub directory: PathBuf,
}

impl RecordedCall {
    /// The value of one variable.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.env
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A program called `opencode` that records how it was started and answers from a file.
#[derive(Debug, Clone)]
pub struct FakeOpenCode {
    /// What to start. Its folder may be put in front of `PATH`.
    pub program: PathBuf,
    recordings: PathBuf,
}

impl FakeOpenCode {
    /// The finished recordings, in the order in which they began. A run is recorded before it
    /// writes its first line.
    pub fn calls(&self) -> Vec<RecordedCall> {
        let mut folders: Vec<PathBuf> = fs::read_dir(&self.recordings)
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        folders.retain(|folder| folder.extension().is_some_and(|ending| ending == "call"));
        folders.sort();
        folders.iter().map(|folder| recorded_call(folder)).collect()
    }
}

/// Writes an `opencode` that reads its standard input to the end, records its start, prints
/// `output` and ends with `code`. With `--version` it prints `version` and records nothing.
pub fn opencode(dir: &Path, version: &str, output: &str, code: u8) -> FakeOpenCode {
    let recordings = dir.join("opencode-calls");
    fs::create_dir_all(&recordings).expect("the recordings' folder can be made");
    let answer = dir.join("opencode-output");
    fs::write(&answer, output).expect("the answer can be written");
    let body = format!(
        "if [ \"$1\" = --version ]; then echo {version}; exit 0; fi\n\
         call={recordings}/$(date +%s%N)-$$\n\
         mkdir \"$call.part\"\n\
         cat >\"$call.part/stdin\"\n\
         [ $# -eq 0 ] || printf '%s\\0' \"$@\" >\"$call.part/argv\"\n\
         env -0 >\"$call.part/env\"\n\
         printf %s \"$(pwd -P)\" >\"$call.part/directory\"\n\
         mv \"$call.part\" \"$call.call\"\n\
         cat {answer}\n\
         exit {code}",
        version = quoted(Path::new(version)),
        recordings = quoted(&recordings),
        answer = quoted(&answer),
    );
    FakeOpenCode {
        program: script(dir, "opencode", &body),
        recordings,
    }
}

fn recorded_call(folder: &Path) -> RecordedCall {
    let read = |name: &str| fs::read(folder.join(name)).unwrap_or_default();
    let env = nul_separated(&read("env"))
        .iter()
        .filter_map(|entry| entry.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    RecordedCall {
        argv: nul_separated(&read("argv")),
        env,
        stdin: read("stdin"),
        directory: PathBuf::from(String::from_utf8_lossy(&read("directory")).into_owned()),
    }
}

/// Splits what was written as `value NUL value NUL …`.
pub fn nul_separated(bytes: &[u8]) -> Vec<String> {
    let mut values: Vec<String> = bytes
        .split(|byte| *byte == 0)
        .map(|part| String::from_utf8_lossy(part).into())
        .collect();
    values.pop();
    values
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "the tests start the scripts themselves"
)]
mod tests {
    use std::{io::Read as _, time::Duration};

    use rustix::process::{Pid, Signal, kill_process, test_kill_process};

    use super::*;
    use crate::poll::poll_until;

    fn pid(number: u32) -> Pid {
        Pid::from_raw(i32::try_from(number).unwrap()).unwrap()
    }

    #[test]
    fn arguments_come_back_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let args = ["a b", "", "it's \"so\"\n$HOME", "-n"];
        let output = Command::new(echo_argv(dir.path()))
            .args(args)
            .output()
            .unwrap();
        assert_eq!(nul_separated(&output.stdout), args);
    }

    #[test]
    fn errors_and_exit_codes_are_as_asked() {
        let dir = tempfile::tempdir().unwrap();
        let output = Command::new(error_writer(dir.path(), 2, 7))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(7));
        assert_eq!(output.stderr, b"error line 1\nerror line 2\n");
        let status = Command::new(exits_with(dir.path(), 42))
            .stdin(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(42));
    }

    #[test]
    fn a_sleeper_obeys() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(sleeper(dir.path()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 8];
        child.stdout.take().unwrap().read_exact(&mut said).unwrap();
        kill_process(pid(child.id()), Signal::TERM).unwrap();
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn a_stubborn_agent_and_its_grandchildren_survive_term() {
        let dir = tempfile::tempdir().unwrap();
        for kind in [
            Grandchildren::KeepEnvironment,
            Grandchildren::ClearEnvironment,
        ] {
            let agent = stubborn(dir.path(), kind);
            let mut child = Command::new(&agent.program)
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut said = [0; 8];
            child.stdout.take().unwrap().read_exact(&mut said).unwrap();
            let pids = agent.pids();
            assert_eq!(pids.len(), Stubborn::ANNOUNCED);
            for process in &pids {
                kill_process(pid(*process), Signal::TERM).unwrap();
            }
            for process in &pids {
                test_kill_process(pid(*process)).unwrap();
                kill_process(pid(*process), Signal::KILL).unwrap();
            }
            child.wait().unwrap();
            assert!(poll_until(Duration::from_secs(5), || pids.iter().all(
                |number| {
                    fs::read_to_string(format!("/proc/{number}/stat"))
                        .map_or(true, |stat| stat.contains(") Z "))
                }
            )));
        }
    }

    #[test]
    fn a_fake_opencode_records_how_it_was_started() {
        let dir = tempfile::tempdir().unwrap();
        let fake = opencode(
            &dir.path().join("it's here"),
            "1.18.33",
            "{\"type\":\"x\"}\n",
            3,
        );
        let mut child = Command::new(&fake.program)
            .args(["run", "--format", "json"])
            .env("MULTI", "two\nlines")
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"do it\n").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(output.stdout, b"{\"type\":\"x\"}\n");
        let calls = fake.calls();
        assert_eq!(calls.len(), 1);
        assert_eq!(calls[0].argv, ["run", "--format", "json"]);
        assert_eq!(calls[0].stdin, b"do it\n");
        assert_eq!(calls[0].var("MULTI"), Some("two\nlines"));
        assert_eq!(calls[0].directory, dir.path().canonicalize().unwrap());
        let version = Command::new(&fake.program)
            .arg("--version")
            .output()
            .unwrap();
        assert_eq!(version.stdout, b"1.18.33\n");
        assert_eq!(fake.calls().len(), 1);
    }
}
