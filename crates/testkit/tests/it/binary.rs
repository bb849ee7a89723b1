//! The `scripted-model` program.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use crate::http::{chat, request};

const PROGRAM: &str = env!("CARGO_BIN_EXE_scripted-model");

#[test]
#[expect(clippy::disallowed_methods, reason = "the program is what is tested")]
fn it_serves_a_file_until_its_standard_input_ends() {
    let dir = tempfile::tempdir().unwrap();
    let scenario = dir.path().join("scenario.json");
    let script = r#"{"scripts":[{"name":"s","match":"go","turns":[{"text":"went"}]}]}"#;
    fs::write(&scenario, script).unwrap();
    let mut child = Command::new(PROGRAM)
        .arg(&scenario)
        .args(["--quit-with-stdin", "--home"])
        .arg(dir.path().join("home"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let lines: Vec<String> = stdout
        .lines()
        .map(Result::unwrap)
        .take_while(|line| !line.is_empty())
        .collect();
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("XDG_CONFIG_HOME=")),
        "{lines:?}"
    );
    assert_eq!(request(&lines[0], "GET", "/v1/models", "", "").status, 200);
    let answer = chat(&lines[0], "", true, &[("user", "go")]);
    assert_eq!(answer.joined("/content"), "went");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the program is what is tested")]
fn it_says_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let scenario = dir.path().join("scenario.toml");
    fs::write(&scenario, "scripts = []\ncolour = 1\n").unwrap();
    for (args, code, expected) in [
        (vec!["--speed", "1"], 2, "unknown option `--speed`"),
        (vec![], 2, "no scenario is named"),
        (
            vec!["/nowhere/s.toml"],
            1,
            "cannot read scenario `/nowhere/s.toml`",
        ),
        (
            vec![scenario.to_str().unwrap()],
            1,
            "unknown field `colour`",
        ),
    ] {
        let output = Command::new(PROGRAM).args(args).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{complaint}");
        assert!(complaint.contains(expected), "{complaint}");
        assert!(output.stdout.is_empty());
    }
}
