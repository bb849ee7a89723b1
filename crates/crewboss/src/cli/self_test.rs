//! `self-test`: one task from queue to finish, in a place of its own.

use std::{ffi::OsStr, fs, path::Path};

use api_types::SelfTestDocument;
use clap::Parser as _;
use domain::task::TaskStatus;

use crate::{
    context::Context,
    environment::Environment,
    fail::{Exit, Fail, Outcome},
    output::Output,
    render::{duration, symbols::Symbol},
};

/// The project's configuration: an agent that is a line of shell.
const CONFIG: &str = "[agents.self-test]\ndriver = \"command\"\ncommand = \"sh\"\n\
    args = [\"-c\", \"printf %s \\\"$1\\\" >result.txt\", \"sh\", \"{prompt}\"]\n\n\
    [[gates]]\nname = \"result\"\nrun = \"test -s result.txt\"\n\n\
    [workspace]\nmode = \"in-place\"\n";

/// What the task is asked to write.
const PROMPT: &str = "crewboss works";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

impl Args {
    #[expect(clippy::unused_self, reason = "every verb is called alike")]
    pub(crate) fn run(self, env: Environment, out: &Output) -> Outcome {
        let folder = tempfile::Builder::new()
            .prefix("crewboss-self-test-")
            .tempdir()
            .map_err(|error| Fail::io("cannot make a temporary folder", &error))?;
        let context = prepare(folder.path(), env, out.muted())?;
        let clock = context.clock()?;
        let began = clock.now();
        let said = examine(&context, folder.path());
        let millis = clock.now().millis_since(&began.moment).unwrap_or(0);
        out.print(&SelfTestDocument {
            ok: said.is_ok(),
            duration_ms: millis,
        })?;
        match said {
            Ok(()) => {
                let (sign, time) = (Symbol::Check.text(out.unicode), duration::of_millis(millis));
                out.line(format_args!(
                    "{sign} A task went from queue to finish in {time}."
                ))?;
                Ok(Exit::Ok)
            }
            Err(fail) => Err(fail.hint("`crewboss doctor` says what may be missing")),
        }
    }
}

fn prepare(folder: &Path, env: Environment, out: Output) -> Result<Context, Fail> {
    let cannot = |error: &std::io::Error| Fail::io("cannot write to a temporary folder", error);
    let (home, project) = (folder.join("home"), folder.join("project"));
    fs::create_dir_all(&home).map_err(|error| cannot(&error))?;
    fs::create_dir_all(project.join(".crewboss")).map_err(|error| cannot(&error))?;
    fs::write(project.join(".crewboss/config.toml"), CONFIG).map_err(|error| cannot(&error))?;
    let config = folder.join("config");
    let variables: [(&str, &OsStr); 3] = [
        ("CREWBOSS_HOME", home.as_os_str()),
        ("XDG_CONFIG_HOME", config.as_os_str()),
        ("HOME", home.as_os_str()),
    ];
    let env = env.without(&["CREWBOSS_"]).with(project, &variables);
    Context::new(env, out, None, vec![])
}

fn examine(context: &Context, folder: &Path) -> Result<(), Fail> {
    step(
        context,
        &[
            "start",
            "self-test",
            "--key",
            "self-test",
            "--timeout",
            "30",
            PROMPT,
        ],
    )?;
    step(context, &["run", "--wait"])?;
    let details = context.details(context.resolve("self-test")?)?;
    let task = &details.view.task;
    if task.status() != TaskStatus::Completed {
        let why = task
            .failure()
            .map_or("no reason was given", |failure| failure.message.as_str());
        return Err(Fail::new(
            Exit::Failed,
            format!("the task {}: {why}", task.status().as_str()),
        ));
    }
    let result = fs::read_to_string(folder.join("project/result.txt")).unwrap_or_default();
    if result == PROMPT {
        return Ok(());
    }
    Err(Fail::new(
        Exit::Failed,
        "the task is completed, but its work is not there",
    ))
}

fn step(context: &Context, words: &[&str]) -> Result<(), Fail> {
    let words = ["crewboss"].iter().chain(words);
    let cli = super::Cli::try_parse_from(words)
        .map_err(|error| Fail::caused(Exit::Failed, "a step of the test is no command", &error))?;
    let Some(verb) = cli.verb else { return Ok(()) };
    super::dispatch(verb, context).map(drop)
}
