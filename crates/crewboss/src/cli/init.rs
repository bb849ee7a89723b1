//! `init`: make a folder a project. Nothing needs it: the first task does the same unasked.

use std::{fmt::Write as _, fs, io::IsTerminal as _, path::Path};

use crate::{
    config::{commented_default, replace, set_value},
    context::Context,
    fail::{Exit, Fail, Outcome},
    workplace,
};
use api_types::ProjectDocument;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write the /agent:* commands and the coder agent for OpenCode too
    #[arg(long)]
    opencode: bool,
    /// Ask nothing, take the defaults
    #[arg(long, short)]
    yes: bool,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let mut written = Vec::new();
        let config = context.places.project_config();
        let is_new = !config.exists();
        let project = context.ensure_project()?;
        workplace::prepare(&context.places)?;
        if is_new {
            replace(&config, commented_default().as_bytes())?;
            written.push(config.clone());
        }
        let asks = is_new && !self.yes && !context.out.json && std::io::stdin().is_terminal();
        if asks {
            ask(context, &config)?;
        }
        if self.opencode {
            written.extend(write_opencode(context, &context.places.project)?);
        }
        let out = &context.out;
        out.line(format_args!("Project {} ({})", project.root, project.id))?;
        for path in &written {
            out.line(format_args!("Wrote {}", path.display()))?;
        }
        if !is_new {
            out.line(format_args!("Kept {}", config.display()))?;
        }
        if out.terminal {
            out.say("hint: `crewboss start coder \"what is to be done\"`, then `crewboss run`");
        }
        out.print(&ProjectDocument {
            id: project.id,
            root: project.root,
            written,
        })?;
        Ok(Exit::Ok)
    }
}

/// The three questions whose answers differ between projects.
fn ask(context: &Context, config: &Path) -> Result<(), Fail> {
    let settings = &context.config()?.settings;
    let parallel = settings.run.parallel.to_string();
    for (key, question, default) in [
        (
            "run.parallel",
            "How many tasks may run at once?",
            parallel.as_str(),
        ),
        (
            "workspace.target",
            "Which branch is the work for? (empty: the one checked out)",
            "",
        ),
    ] {
        loop {
            let Some(answer) = question_line(question, default)? else {
                return Ok(());
            };
            if answer == default {
                break;
            }
            match set_value(config, key, &answer) {
                Ok(_) => break,
                Err(fail) => context.out.say(fail.render().trim_end()),
            }
        }
    }
    let Some(check) = question_line("Which command checks the work? (empty: none)", "")? else {
        return Ok(());
    };
    if !check.is_empty() {
        let mut text = fs::read_to_string(config)
            .map_err(|error| Fail::io(format!("cannot read {}", config.display()), &error))?;
        let line = toml::Value::String(check);
        let _ = write!(text, "\n[[gates]]\nname = \"check\"\nrun = {line}\n");
        replace(config, text.as_bytes())?;
    }
    Ok(())
}

/// An answer; none where nobody answers any more, which leaves the rest at its defaults.
fn question_line(question: &str, default: &str) -> Result<Option<String>, Fail> {
    use std::io::{BufRead as _, Write as _};
    let mut stderr = std::io::stderr().lock();
    let shown = if default.is_empty() {
        String::new()
    } else {
        format!(" [{default}]")
    };
    drop(write!(stderr, "{question}{shown} "));
    drop(stderr.flush());
    let mut answer = String::new();
    let read = std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| Fail::io("standard input cannot be read", &error))?;
    let answer = answer.trim();
    Ok((read > 0).then(|| {
        if answer.is_empty() {
            default.to_owned()
        } else {
            answer.to_owned()
        }
    }))
}

/// Files that differ from ours are the user's: they stay, and are named.
fn write_opencode(context: &Context, project: &Path) -> Result<Vec<std::path::PathBuf>, Fail> {
    let folder = project.join(".opencode");
    let commands =
        agents::opencode_commands().map(|(name, text)| (format!("command/{name}"), text));
    let files = commands
        .into_iter()
        .chain([("agent/coder.md".to_owned(), agents::CODER_AGENT)]);
    let mut written = Vec::new();
    for (name, text) in files {
        let path = folder.join(name);
        match fs::read_to_string(&path) {
            Ok(found) if found == text => {}
            Ok(_) => context
                .out
                .say(format_args!("Kept {}: it is not ours", path.display())),
            Err(_) => {
                replace(&path, text.as_bytes())?;
                written.push(path);
            }
        }
    }
    Ok(written)
}
