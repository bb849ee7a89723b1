//! `cargo xtask test`: everything that must hold before a change lands.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result};

use crate::{chaos, codegen, opencode, packages, shell, tidy};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only the tests, without format, lints and licences
    #[arg(long)]
    tests_only: bool,
}

/// What passed and what failed, over everything.
#[derive(Debug, Default)]
struct Tally {
    passed: u64,
    failed: u64,
}

impl Tally {
    fn count(&mut self, name: &str, result: Result<()>) {
        match result {
            Ok(()) => self.passed += 1,
            Err(error) => {
                eprintln!("FAILED {name}: {error:#}");
                self.failed += 1;
            }
        }
    }
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let watch = shell::start_watch();
    packages::require(packages::RUN)?;
    packages::require(packages::TEST)?;
    let opencode = opencode::install()?;
    let mut tally = Tally::default();
    if !options.tests_only {
        checks(&mut tally);
    }
    println!("Building the binaries …");
    shell::run(shell::cargo().args([
        "build",
        "--quiet",
        "--package",
        "crewboss",
        "--package",
        "testkit",
    ]))?;
    tests(&mut tally, &opencode)?;
    on_a_server(&mut tally, &opencode)?;
    for (name, result) in chaos::sample() {
        tally.count(name, result);
    }
    println!("Took {} s.", watch.elapsed().as_secs());
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok(if tally.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn checks(tally: &mut Tally) {
    println!("Checking format, lints, rules and licences …");
    tally.count(
        "format",
        shell::run(shell::cargo().args(["fmt", "--all", "--", "--check"])),
    );
    tally.count("rules", tidy::check());
    tally.count("reference", codegen::check());
    let lints = [
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    tally.count("lints", shell::run(shell::cargo().args(lints)));
    if shell::which("cargo-deny").is_some() {
        let deny = ["deny", "check", "licenses", "bans", "sources"];
        tally.count("licences", shell::run(shell::cargo().args(deny)));
    } else {
        println!("SKIPPED licences: cargo-deny is not installed");
    }
}

fn tests(tally: &mut Tally, opencode: &std::path::Path) -> Result<()> {
    let prepare = |command: &mut Command| {
        command.env("CREWBOSS_TEST_OPENCODE", opencode);
        command.stdin(Stdio::null());
    };
    if shell::which("cargo-nextest").is_some() {
        let mut command = shell::cargo();
        command.args([
            "nextest",
            "run",
            "--workspace",
            "--no-fail-fast",
            "--color",
            "never",
        ]);
        prepare(&mut command);
        harvest(tally, &mut command)?;
        let mut command = shell::cargo();
        command.args([
            "test",
            "--workspace",
            "--doc",
            "--no-fail-fast",
            "--color",
            "never",
        ]);
        prepare(&mut command);
        harvest(tally, &mut command)
    } else {
        let mut command = shell::cargo();
        command.args(["test", "--workspace", "--no-fail-fast", "--color", "never"]);
        prepare(&mut command);
        harvest(tally, &mut command)
    }
}

/// Tests of the whole program that are run once more with its store in PostgreSQL: what changes the
/// file of the store itself, or moves clocks of this machine, is not among them.
const ON_A_SERVER: &str = "package(crewboss) & (
    (binary(it) & test(/^(lifecycle|queue|waiting|listing|deletion|history|external|worktrees|checks)::/)
        - test(=lifecycle::a_daemon_starts_what_comes_and_only_one_lives)
        - test(=external::the_lease_of_an_agent_outside_is_its_own_and_attaching_renews_it))
    | (binary(e2e) & test(/^(at_once|crashes|ends|trees|shutdown)::/)))";

fn on_a_server(tally: &mut Tally, opencode: &std::path::Path) -> Result<()> {
    if shell::which("cargo-nextest").is_none() {
        println!("SKIPPED the program on PostgreSQL: cargo-nextest is not installed");
        return Ok(());
    }
    println!("Once more with the store in PostgreSQL …");
    // It ends with its input, which is ours to close.
    let mut server = shell::cargo()
        .args([
            "run",
            "--quiet",
            "--package",
            "testkit",
            "--bin",
            "test-postgres",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start a server for tests")?;
    let mut url = String::new();
    if let Some(output) = server.stdout.take() {
        BufReader::new(output).read_line(&mut url)?;
    }
    let mut command = shell::cargo();
    command
        .args([
            "nextest",
            "run",
            "--no-fail-fast",
            "--color",
            "never",
            "-E",
            ON_A_SERVER,
        ])
        .env("CREWBOSS_TEST_OPENCODE", opencode)
        .env("CREWBOSS_TEST_STORE", "postgres")
        .env("DATABASE_URL", url.trim())
        .stdin(Stdio::null());
    let harvested = harvest(tally, &mut command);
    drop(server.stdin.take());
    server.wait()?;
    harvested
}

/// Runs a test runner, shows what it prints, and adds up the counts of its closing lines. A runner
/// that fails without having counted a failure counts as one.
fn harvest(tally: &mut Tally, command: &mut Command) -> Result<()> {
    let before = tally.failed;
    let (reader, writer) = std::io::pipe()?;
    let errors = writer.try_clone()?;
    let mut child = command
        .stdout(writer)
        .stderr(errors)
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    // The command keeps the writing ends open; without them the pipe ends with the runner.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    for line in BufReader::new(reader).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("{line}");
        if let Some((passed, failed)) = closing_line(&line) {
            tally.passed += passed;
            tally.failed += failed;
        }
    }
    let status = child.wait()?;
    if !status.success() && tally.failed == before {
        eprintln!("FAILED {command:?}: {status}");
        tally.failed += 1;
    }
    Ok(())
}

/// The counts in `Summary [ 1.2s] 3 tests run: 2 passed, 1 failed, …` (nextest) or in
/// `test result: ok. 2 passed; 1 failed; …`, where that is not what a failed test had printed, which
/// nextest shows indented.
fn closing_line(line: &str) -> Option<(u64, u64)> {
    if !line.trim_start().starts_with("Summary [") && !line.starts_with("test result:") {
        return None;
    }
    let number_before = |word: &str| -> u64 {
        let words: Vec<&str> = line
            .split([' ', ',', ';'])
            .filter(|word| !word.is_empty())
            .collect();
        let place = words.iter().position(|found| *found == word);
        place
            .and_then(|place| words.get(place.wrapping_sub(1))?.parse().ok())
            .unwrap_or(0)
    };
    let failed = number_before("failed") + number_before("timed");
    Some((number_before("passed"), failed))
}

#[cfg(test)]
mod tests {
    use super::closing_line;

    #[test]
    fn closing_lines_of_both_runners_are_read() {
        let nextest = "     Summary [   1.234s] 12 tests run: 9 passed (1 slow), 2 failed, 1 timed out, 3 skipped";
        assert_eq!(closing_line(nextest), Some((9, 3)));
        assert_eq!(
            closing_line("test result: FAILED. 5 passed; 2 failed; 0 ignored"),
            Some((5, 2))
        );
        assert_eq!(closing_line("all 5 passed"), None);
        assert_eq!(
            closing_line("    test result: FAILED. 0 passed; 1 failed"),
            None
        );
    }
}
