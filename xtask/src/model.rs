//! `cargo xtask model`: a shell in which OpenCode asks the scripted model, for who has no account.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{opencode, packages, shell};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What to run instead of your shell
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    command: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    packages::require(packages::RUN)?;
    let opencode = opencode::install()?;
    println!("Building crewboss …");
    let build = [
        "build",
        "--quiet",
        "--package",
        "crewboss",
        "--package",
        "testkit",
    ];
    shell::run(shell::cargo().args(build))?;
    let base = shell::root().join(".demo/model");
    let scenario = shell::root().join("crates/crewboss/tests/docs/scenario.toml");
    let (model, environment) = Model::start(&scenario, &base)?;
    let own = vec![shell::variable("SHELL").unwrap_or_else(|| "sh".to_owned())];
    let words = if options.command.is_empty() {
        println!("It knows the prompts of the README. `exit` ends it.");
        &own
    } else {
        &options.command
    };
    let (program, arguments) = words.split_first().context("a command has a name")?;
    let mut command = shell::program(program);
    command.args(arguments);
    // Whose commits these are is still known, and projects are where they were.
    command.envs(environment.into_iter().filter(|(name, _)| name != "HOME"));
    command.env("PATH", path(&opencode)?);
    let directory =
        std::env::current_dir().context("the directory that this was called in is gone")?;
    let status = command
        .current_dir(directory)
        .status()
        .with_context(|| format!("cannot start {program}"))?;
    drop(model);
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Crewboss and OpenCode first.
fn path(opencode: &Path) -> Result<String> {
    let opencode = opencode.parent().context("OpenCode lies in a folder")?;
    let binaries = shell::target().join("debug");
    let path = shell::variable("PATH").unwrap_or_default();
    Ok(format!(
        "{}:{}:{path}",
        binaries.display(),
        opencode.display()
    ))
}

/// The scripted model's process; it ends when its standard input does.
#[derive(Debug)]
pub(crate) struct Model(Child);

impl Model {
    /// Starts one that plays a scenario; answers it with the environment for OpenCode, whose home is
    /// made in a folder.
    pub(crate) fn start(scenario: &Path, home: &Path) -> Result<(Self, Vec<(String, String)>)> {
        let mut child = shell::program(shell::target().join("debug/scripted-model"))
            .arg(scenario)
            .arg("--home")
            .arg(home)
            .arg("--quit-with-stdin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the scripted model")?;
        let output = child.stdout.take().context("its output is piped")?;
        let model = Self(child);
        let mut lines = BufReader::new(output).lines();
        let address = lines.next().context("the scripted model said nothing")??;
        println!("A scripted model answers at {address}");
        let mut environment = Vec::new();
        for line in lines {
            let line = line?;
            if line.is_empty() {
                return Ok((model, environment));
            }
            let (name, value) = line.split_once('=').context("NAME=VALUE was expected")?;
            environment.push((name.to_owned(), value.to_owned()));
        }
        bail!("the scripted model ended before it was ready")
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        drop(self.0.wait());
    }
}
