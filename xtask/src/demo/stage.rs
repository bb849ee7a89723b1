//! Where the demo takes place: a sample repository, homes of its own, a model, and the binary.

use std::{
    fs,
    io::{BufRead as _, BufReader, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::sample::{FILES, Sample};
use crate::{model::Model, shell};

/// How many agents work at once.
const PARALLEL: &str = "3";

/// See the module.
#[derive(Debug)]
pub(crate) struct Stage {
    crewboss: PathBuf,
    pub(crate) repository: PathBuf,
    environment: Vec<(String, String)>,
    _model: Option<Model>,
}

impl Stage {
    /// Makes everything anew below `.demo/`.
    pub(crate) fn set(opencode: &Path, model: Option<&str>) -> Result<Self> {
        let base = shell::root().join(".demo");
        if base.exists() {
            fs::remove_dir_all(&base).context("cannot remove the last demo")?;
        }
        let repository = base.join("text-tools");
        fs::create_dir_all(&repository)?;
        let binaries = shell::target().join("debug");
        let (own_model, mut environment) = if let Some(model) = model {
            (None, own_environment(&repository, model)?)
        } else {
            let scenario = shell::root().join("xtask/demo/scenario.toml");
            let (process, environment) = Model::start(&scenario, &base.join("home"))?;
            (Some(process), environment)
        };
        set(
            &mut environment,
            "CREWBOSS_HOME",
            base.join("crewboss").display().to_string(),
        );
        set(
            &mut environment,
            "XDG_STATE_HOME",
            base.join("state").display().to_string(),
        );
        let folder = opencode.parent().context("OpenCode lies in a folder")?;
        let path = shell::variable("PATH").unwrap_or_default();
        set(
            &mut environment,
            "PATH",
            format!("{}:{path}", folder.display()),
        );
        let stage = Self {
            crewboss: binaries.join("crewboss"),
            repository,
            environment,
            _model: own_model,
        };
        stage.first_commit()?;
        Ok(stage)
    }

    /// The binary, in the sample repository and the demo's environment.
    pub(crate) fn crewboss(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(&self.crewboss);
        command.args(arguments);
        command
    }

    /// Git, in the sample repository.
    pub(crate) fn git(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(Path::new("git"));
        command
            .args(["-c", "user.name=Demo", "-c", "user.email=demo@localhost"])
            .args(arguments);
        command
    }

    fn program(&self, name: &Path) -> Command {
        let mut command = shell::program(name);
        command
            .current_dir(&self.repository)
            .env_clear()
            .stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn first_commit(&self) -> Result<()> {
        for (name, content) in FILES {
            let file = self.repository.join(name);
            fs::create_dir_all(file.parent().unwrap_or(&self.repository))?;
            fs::File::options()
                .append(true)
                .create(true)
                .open(file)?
                .write_all(content.as_bytes())?;
        }
        shell::run(&mut self.git(&["init", "--quiet", "--initial-branch=main"]))?;
        shell::run(&mut self.git(&["add", "--all"]))?;
        shell::run(&mut self.git(&["commit", "--quiet", "--message", "Start"]))
    }

    /// Queues the tasks; answers their ids in the same order.
    pub(crate) fn queue(&self, samples: &[Sample]) -> Result<Vec<String>> {
        println!(
            "\nQueueing {} tasks in {}:",
            samples.len(),
            self.repository.display()
        );
        let mut ids: Vec<String> = Vec::new();
        for sample in samples {
            let mut command = self.crewboss(&["start", "build", sample.prompt]);
            for before in sample.after {
                command.args(["--depends-on", &ids[*before]]);
            }
            let printed = shell::output(&mut command)?;
            print!("  {printed}");
            let id = printed
                .split_whitespace()
                .find(|word| word.starts_with("task_"));
            ids.push(
                id.with_context(|| format!("no id in `{printed}`"))?
                    .to_owned(),
            );
        }
        Ok(ids)
    }

    /// Runs the daemon until all of them have ended, and shows how they get on.
    pub(crate) fn work(&self, tasks: &[String]) -> Result<()> {
        println!("\nRunning them, {PARALLEL} at a time:");
        let mut daemon = self
            .crewboss(&["daemon", "--max-concurrent", PARALLEL])
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("cannot start the daemon")?;
        let lines = daemon
            .stdout
            .take()
            .context("the daemon's output is piped")?;
        let mut lines = BufReader::new(lines).lines().map_while(Result::ok);
        for line in lines.by_ref() {
            println!("  daemon: {line}");
            if line.contains("Ctrl+C") {
                break;
            }
        }
        let show = std::thread::spawn(move || {
            for line in lines {
                println!("  daemon: {line}");
            }
        });
        let wait = self
            .crewboss(&["wait", "--timeout", "600"])
            .args(tasks)
            .status()
            .context("cannot wait for the tasks")?;
        shell::run(shell::program("kill").args(["-TERM", &daemon.id().to_string()]))?;
        let stopped = daemon.wait()?;
        drop(show.join());
        if !stopped.success() {
            bail!("the daemon ended with {stopped}");
        }
        if wait.code() == Some(124) {
            bail!("the tasks did not end within ten minutes");
        }
        if std::io::stdout().is_terminal() {
            println!();
        }
        Ok(())
    }
}

fn set(environment: &mut Vec<(String, String)>, name: &str, value: String) {
    environment.retain(|(known, _)| known != name);
    environment.push((name.to_owned(), value));
}

/// The user's own environment, and a project configuration that names the model.
fn own_environment(repository: &Path, model: &str) -> Result<Vec<(String, String)>> {
    let config = repository.join(".crewboss");
    fs::create_dir_all(&config)?;
    let text = format!("[agents.build]\ndriver = \"opencode\"\nmodel = {model:?}\n\n");
    fs::write(config.join("config.toml"), text)?;
    Ok(std::env::vars().collect())
}
