//! `start`: queue a task.

use std::{
    ffi::OsString,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use app::command::{Command, NewTask, Output as Done, QueueLimits};
use domain::{
    agent::AgentName,
    gate::GateSpec,
    id::{Key, TaskRef},
    task::{Limits, Priority, Task, TaskKind, TaskMode},
    time::Due,
    workspace::WorkspaceMode,
};

use crate::{
    config::Settings,
    context::{Context, unexpected},
    fail::{Exit, Fail, Outcome},
    render::{document, duration},
};

/// Stands before an argument that begins with a dash and is no option: no argument of a program
/// can hold it.
const DASHED: char = '\0';

/// What to do where a prompt was taken for tasks.
pub(super) const DEPENDENCIES_FIRST: &str = "what follows --depends-on is taken for tasks: write the prompt before it, or --depends-on=ID for each";

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Words need no quotes: crewboss start coder Fix the login page
A prompt that begins with a dash goes behind `--`; `-` alone reads it from standard input.")]
pub(crate) struct Args {
    /// The agent; a name that is not configured means OpenCode with the agent of that name
    agent: String,
    /// What is to be done
    #[arg(value_name = "PROMPT")]
    prompt: Vec<String>,
    /// Read the prompt from a file
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    file: Option<PathBuf>,
    /// 1 to 10, higher is more important
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    priority: Option<String>,
    /// Seconds that it may take, or 5m, 1h30m
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    timeout: Option<String>,
    /// Retries that it may have
    #[arg(long, value_name = "N")]
    max_retries: Option<u32>,
    /// Try again by itself after a failure
    #[arg(long)]
    auto_retry: bool,
    /// Tasks that must have completed first; what follows is taken for tasks too, up to the next option
    /// or a text that can be none
    #[arg(long, value_name = "ID", num_args = 1..)]
    depends_on: Vec<String>,
    /// Go on from what this task left: its work, and its conversation where the agent can
    #[arg(long = "continue", value_name = "ID")]
    continues: Option<String>,
    /// A short title
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// A name of your own for it, accepted wherever an id is
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// On whose behalf; you, where it is not said
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// A label; may be repeated
    #[arg(long = "label", value_name = "TEXT")]
    labels: Vec<String>,
    /// Data of your own; may be repeated
    #[arg(long = "meta", value_name = "KEY=VALUE")]
    metadata: Vec<String>,
    /// Where the agent works: worktree, in-place or folder
    #[arg(long, value_name = "MODE")]
    workspace: Option<String>,
    /// A command that must succeed on the finished work; may be repeated
    #[arg(long = "gate", value_name = "COMMAND")]
    gates: Vec<String>,
    /// Take it for failed if no file was changed
    #[arg(long)]
    require_diff: bool,
    /// Do not start before this time, as 2026-11-20T18:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with = "start_in")]
    not_before: Option<String>,
    /// Do not start for so long: seconds, or 5m, 1h30m
    #[arg(long = "in", id = "start_in", value_name = "TIME")]
    start_in: Option<String>,
    /// An agent outside will attach to it and end it; nothing is launched
    #[arg(long)]
    external: bool,
    /// Several outside agents may hold it at once
    #[arg(long, requires = "external")]
    collaborative: bool,
}

/// A prompt such as `- fix it` or `--all of it` is no option: what begins with a dash and holds a
/// space before any `=` is marked, so that it is taken as a word.
pub(crate) fn keep_dashed_prompts(arguments: Vec<OsString>) -> Vec<OsString> {
    let is_start = arguments.iter().skip(1).any(|argument| argument == "start");
    if !is_start {
        return arguments;
    }
    let is_prompt = |argument: &OsString| {
        argument.to_str().is_some_and(|text| {
            let head = text.split('=').next().unwrap_or(text);
            text.starts_with('-') && head.contains(char::is_whitespace)
        })
    };
    let mark = |argument: OsString| {
        let mut marked = OsString::from(DASHED.to_string());
        marked.push(argument);
        marked
    };
    let is_end = arguments.iter().position(|argument| argument == "--");
    arguments
        .into_iter()
        .enumerate()
        .map(|(index, argument)| match is_end {
            Some(end) if index > end => argument,
            _ if is_prompt(&argument) => mark(argument),
            _ => argument,
        })
        .collect()
}

impl Args {
    /// The same, for an agent outside.
    pub(crate) fn external(mut self) -> Self {
        self.external = true;
        self
    }

    pub(crate) fn run(self, context: &Context) -> Outcome {
        let settings = &context.config()?.settings;
        let mut args = self;
        args.give_back_prompt();
        let task = args.new_task(context, settings)?;
        if context.known_project()?.is_none() {
            if let Some(name) = task.depends_on.first() {
                let missing = app::error::Error::not_found("Dependency task", name);
                return Err(args.explain(missing.into()));
            }
            check_repository(context)?;
        }
        let project = context.ensure_project()?;
        let queue = QueueLimits {
            queue_max: settings.limits.queue_max,
            refuse_when_full: settings.limits.queue_refuse,
        };
        let command = Command::CreateTask {
            project: project.id,
            task: Box::new(task),
            queue,
        };
        let done = context.change(command).map_err(|fail| args.explain(fail))?;
        let Done::Task { task, queue_over } = done else {
            return Err(unexpected("start"));
        };
        if let Some(waiting) = queue_over {
            context.out.warn(format_args!(
                "Task queue size ({waiting}) exceeds limit ({}). Consider running: crewboss clean all",
                settings.limits.queue_max
            ));
        }
        report(context, &task, &settings.run.task_limits())?;
        if task.spec.kind == TaskKind::Managed
            && let Some(doubt) = super::doctor::doubt(context, &task.spec.agent)
        {
            context.out.warn(doubt);
        }
        context.out.print(&document::task(&task))?;
        Ok(Exit::Ok)
    }

    /// Without a prompt before it, `--depends-on` takes the prompt for tasks. From the first text
    /// that can be none, it is the prompt.
    fn give_back_prompt(&mut self) {
        if !self.prompt.is_empty() || self.file.is_some() {
            return;
        }
        let is_task = |word: &String| word.parse::<TaskRef>().is_ok();
        let after_first = self.depends_on.iter().skip(1);
        if let Some(at) = after_first.clone().position(|word| !is_task(word)) {
            self.prompt = self.depends_on.split_off(at + 1);
        }
    }

    /// A word of the prompt may have been taken for a task.
    fn explain(&self, fail: Fail) -> Fail {
        if self.depends_on.len() > 1 && fail.exit == Exit::NotFound {
            fail.hint(DEPENDENCIES_FIRST)
        } else {
            fail
        }
    }

    fn new_task(&self, context: &Context, settings: &Settings) -> Result<NewTask, Fail> {
        let agent: AgentName = self.agent.parse().map_err(|error| {
            Fail::usage(format!("agent: {error}")).hint(
                "the agent comes first, then the prompt: crewboss start opencode 'Fix the login'",
            )
        })?;
        let limits = self.limits(&settings.run.task_limits())?;
        let priority = self.priority()?;
        for name in &self.depends_on {
            name.parse::<TaskRef>()
                .map_err(|error| Fail::usage(format!("--depends-on: {error}")))?;
        }
        if let Some(key) = &self.key {
            Key::try_from(key.clone()).map_err(|error| Fail::usage(format!("--key: {error}")))?;
        }
        let workspace = self
            .workspace
            .as_deref()
            .map(str::parse::<WorkspaceMode>)
            .transpose();
        let workspace = workspace.map_err(|error| Fail::usage(format!("--workspace: {error}")))?;
        let not_before = self.due(context)?;
        let prompt = self.prompt(settings.limits.prompt_bytes_max)?;
        Ok(NewTask {
            agent,
            prompt,
            name: self.name.clone(),
            key: self.key.clone(),
            owner: self.owner(context)?,
            labels: self.labels.clone(),
            metadata: self.metadata()?,
            priority,
            depends_on: self.depends_on.clone(),
            workspace,
            gates: self.gates()?,
            require_diff: self.require_diff || settings.run.require_diff,
            continues: self.continues.clone(),
            kind: if self.external {
                TaskKind::External
            } else {
                TaskKind::Managed
            },
            mode: if self.collaborative {
                TaskMode::Collaborative
            } else {
                TaskMode::Exclusive
            },
            limits,
            not_before,
        })
    }

    fn owner(&self, context: &Context) -> Result<String, Fail> {
        match &self.owner {
            None => Ok(context.owner()),
            Some(name) if name.trim().is_empty() => {
                Err(Fail::usage("--owner: is empty: say on whose behalf"))
            }
            Some(name) => Ok(name.clone()),
        }
    }

    fn prompt(&self, bytes_max: u64) -> Result<String, Fail> {
        let words: Vec<&str> = self
            .prompt
            .iter()
            .map(|word| word.strip_prefix(DASHED).unwrap_or(word))
            .collect();
        let text = match (&self.file, words.as_slice()) {
            (Some(file), _) => read_prompt(file)?,
            (None, ["-"]) => {
                let mut text = String::new();
                std::io::stdin()
                    .lock()
                    .take(bytes_max + 1)
                    .read_to_string(&mut text)
                    .map_err(|error| {
                        Fail::caused(
                            Exit::Usage,
                            "the prompt on standard input is unusable",
                            &error,
                        )
                    })?;
                text
            }
            (None, words) => words.join(" "),
        };
        if text.trim().is_empty() {
            let fail = Fail::usage("prompt: is empty: say what is to be done");
            return Err(if self.depends_on.len() > 1 {
                fail.hint(DEPENDENCIES_FIRST)
            } else {
                fail
            });
        }
        if u64::try_from(text.len()).unwrap_or(u64::MAX) > bytes_max {
            return Err(Fail::usage(format!(
                "prompt: is longer than {bytes_max} bytes (limits.prompt_bytes_max)"
            ))
            .hint("put the material into a file of the project and name it in the prompt"));
        }
        if text.contains('\0') {
            return Err(Fail::usage("prompt: holds a NUL character"));
        }
        Ok(text)
    }

    fn priority(&self) -> Result<Priority, Fail> {
        let Some(text) = &self.priority else {
            return Ok(Priority::DEFAULT);
        };
        let wrong = || {
            Fail::usage("--priority: priority is a number from 1 to 10, higher is more important")
        };
        let number: u8 = text.parse().map_err(|_| wrong())?;
        Priority::try_from(number).map_err(|_| wrong())
    }

    fn limits(&self, defaults: &Limits) -> Result<Limits, Fail> {
        let timeout = self
            .timeout
            .as_deref()
            .map(duration::parse_positive)
            .transpose();
        let timeout = timeout.map_err(|problem| Fail::usage(format!("--timeout: {problem}")))?;
        Ok(Limits {
            timeout_seconds: timeout.or(defaults.timeout_seconds),
            timeout_warning_seconds: defaults.timeout_warning_seconds,
            retries_max: self.max_retries.unwrap_or(defaults.retries_max),
            auto_retry: self.auto_retry || defaults.auto_retry,
        })
    }

    fn metadata(&self) -> Result<std::collections::BTreeMap<String, String>, Fail> {
        let pair = |text: &String| {
            let (key, value) = text
                .split_once('=')
                .filter(|(key, _)| !key.is_empty())
                .ok_or_else(|| Fail::usage(format!("--meta {text}: expected KEY=VALUE")))?;
            Ok((key.to_owned(), value.to_owned()))
        };
        self.metadata.iter().map(pair).collect()
    }

    fn gates(&self) -> Result<Vec<GateSpec>, Fail> {
        let gate = |(index, line): (usize, &String)| {
            if line.trim().is_empty() {
                return Err(Fail::usage(
                    "--gate: is empty: say which command must succeed",
                ));
            }
            Ok(GateSpec {
                name: format!("gate-{}", index + 1),
                command: None,
                run: Some(line.clone()),
                timeout_seconds: 600,
                required: true,
            })
        };
        self.gates.iter().enumerate().map(gate).collect()
    }

    fn due(&self, context: &Context) -> Result<Option<Due>, Fail> {
        let now = || context.clock().map(|clock| clock.now());
        if let Some(text) = &self.start_in {
            let seconds =
                duration::parse(text).map_err(|problem| Fail::usage(format!("--in: {problem}")))?;
            return Ok(Some(now()?.after_millis(u64::from(seconds) * 1_000)));
        }
        let Some(text) = &self.not_before else {
            return Ok(None);
        };
        let time: jiff::Timestamp = text.parse().map_err(|_| {
            Fail::usage(format!(
                "--not-before: `{}` is no time",
                text.escape_debug()
            ))
            .hint("write it with its zone: 2026-11-20T18:00:00Z or 2026-11-20T18:00:00+01:00")
        })?;
        let now = now()?;
        let millis = time.as_millisecond().saturating_sub(now.wall.as_millis());
        Ok(Some(now.after_millis(u64::try_from(millis).unwrap_or(0))))
    }
}

fn read_prompt(file: &Path) -> Result<String, Fail> {
    fs::read_to_string(file).map_err(|error| {
        let exit = match error.kind() {
            std::io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::Usage,
        };
        Fail::caused(
            exit,
            format!("cannot read the prompt from {}", file.display()),
            &error,
        )
    })
}

/// A repository without commits is refused before anything is stored: there is nothing that a
/// worktree could start from. Git is only asked where it looks like one.
fn check_repository(context: &Context) -> Result<(), Fail> {
    let git = context.places.project.join(".git");
    let has_objects = git.join("packed-refs").exists()
        || fs::read_dir(git.join("refs/heads")).is_ok_and(|mut heads| heads.next().is_some());
    let settings = &context.config()?.settings.workspace;
    if !git.is_dir()
        || has_objects
        || settings
            .mode
            .is_some_and(|mode| mode != WorkspaceMode::Worktree)
    {
        return Ok(());
    }
    context
        .workspaces()
        .target(&context.places.project, settings.target.as_deref())?;
    Ok(())
}

fn report(context: &Context, task: &Task, defaults: &Limits) -> Result<(), Fail> {
    let out = &context.out;
    out.line(format_args!(
        "Task {} created for {}.",
        task.id, task.spec.agent
    ))?;
    if task.limits.retries_max != defaults.retries_max {
        out.line(format_args!("Max retries: {}", task.limits.retries_max))?;
    }
    if task.limits.auto_retry && !defaults.auto_retry {
        out.line("Auto-retry: enabled")?;
    }
    if task.spec.priority != Priority::DEFAULT {
        out.line(format_args!("Priority: {}", task.spec.priority.value()))?;
    }
    if let Some(seconds) = task.limits.timeout_seconds
        && task.limits.timeout_seconds != defaults.timeout_seconds
    {
        let text = duration::text(u64::from(seconds));
        out.line(format_args!("Timeout: {seconds}s ({text})"))?;
    }
    if !task.spec.depends_on.is_empty() {
        let ids: Vec<String> = task
            .spec
            .depends_on
            .iter()
            .map(ToString::to_string)
            .collect();
        out.line(format_args!("Dependencies: {}", ids.join(", ")))?;
    }
    if let Some(due) = &task.not_before {
        out.line(format_args!("Not before: {}", due.wall))?;
    }
    if task.spec.kind == TaskKind::Managed && !context.has_daemon() && out.terminal {
        out.say("hint: `crewboss run` starts it; `crewboss daemon` starts tasks as they come");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(arguments: &[&str]) -> Vec<String> {
        let kept = keep_dashed_prompts(arguments.iter().map(OsString::from).collect());
        kept.into_iter()
            .map(|argument| argument.into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_sentence_that_begins_with_a_dash_is_no_option() {
        assert_eq!(
            marked(&["crewboss", "start", "a", "- do it"])[3],
            "\0- do it"
        );
        assert_eq!(
            marked(&["crewboss", "start", "a", "--name=a b"])[3],
            "--name=a b"
        );
        assert_eq!(
            marked(&["crewboss", "start", "a", "--", "- x y"])[4],
            "- x y"
        );
        assert_eq!(marked(&["crewboss", "run", "- x y"])[2], "- x y");
    }
}
