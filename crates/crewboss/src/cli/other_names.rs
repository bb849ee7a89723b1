//! Task commands by the names and flags that other tools have for them. Each stands for a command line of
//! ours, which then does all the work.

use std::ffi::OsString;

use domain::{
    id::CheckpointId,
    task::{TaskKind, TaskStatus},
};
use serde_json::{Map, Value};

use crate::{
    context::Context,
    fail::{Exit, Fail},
    wiring,
};

/// Who acts where nobody is named.
const NOBODY: &str = "system";

/// A task by its place or by its flag.
#[derive(Debug, clap::Args)]
pub(super) struct Target {
    /// The task: its id, the end of one, or its key
    #[arg(value_name = "ID", required_unless_present = "task")]
    id: Option<String>,
    /// The same
    #[arg(long, value_name = "ID", conflicts_with = "id", hide = true)]
    task: Option<String>,
}

impl Target {
    pub(super) fn name(&self) -> Result<String, Fail> {
        let name = self.id.as_ref().or(self.task.as_ref());
        name.cloned()
            .ok_or_else(|| Fail::usage("which task: give its ID, or --task ID"))
    }
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Queue a task that agents attach to (`task create`)
    #[command(name = "create-task", hide = true)]
    Create(Create),
    /// Attach an agent, or start the task (`task attach`, `run`, `checkpoint restore --run`)
    #[command(name = "resume-task", hide = true)]
    Resume(Resume),
    /// List tasks (`task list`)
    #[command(name = "list-tasks", hide = true)]
    List(List),
    /// Let an agent leave (`task detach`)
    #[command(name = "detach", hide = true)]
    Detach(Detach),
    /// Say that a task is done (`task complete`, `task fail`)
    #[command(name = "complete-task", hide = true)]
    Complete(Complete),
    /// Remove a task for good (`task delete --purge`)
    #[command(name = "cleanup-task", hide = true)]
    Cleanup(Cleanup),
    /// Begin again from a checkpoint (`checkpoint restore`, `checkpoint list`)
    #[command(name = "restore-checkpoint", hide = true)]
    Restore(Restore),
    /// Show what happened (`history`)
    #[command(name = "task-history", hide = true)]
    History(History),
    /// List each time that an agent worked on a task (`task executions`)
    #[command(name = "task-executions", hide = true)]
    Executions(Target),
    /// Show the decisions of a task (`decision list`)
    #[command(name = "task-decisions", hide = true)]
    Decisions(Decisions),
    /// Find tasks (`task find`)
    #[command(name = "find-task", hide = true)]
    Find(Find),
    /// Count tasks (`task stats`)
    #[command(name = "task-stats", hide = true)]
    Stats,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// A short title
    name: String,
    /// What is to be done; the title, where it is not said
    #[arg(long)]
    description: Option<String>,
    /// On whose behalf
    #[arg(long, short)]
    owner: Option<String>,
    /// An object of JSON
    #[arg(long, short, value_name = "JSON")]
    metadata: Option<String>,
    /// A name of your own for it
    #[arg(long, value_name = "KEY")]
    task_id: Option<String>,
    /// The agent that it is for
    #[arg(long, short, default_value = NOBODY)]
    agent: String,
    /// Several agents may hold it at once
    #[arg(long)]
    collaborative: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    task: Target,
    /// The agent
    #[arg(long, short, default_value = NOBODY)]
    agent: String,
    /// Go back to this checkpoint first
    #[arg(long, short)]
    checkpoint: Option<CheckpointId>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only tasks in this state
    #[arg(long, short)]
    status: Vec<String>,
    /// Only tasks of this owner
    #[arg(long, short)]
    owner: Option<String>,
    /// At most so many
    #[arg(long, short, default_value_t = 100)]
    limit: usize,
    /// Pass over so many first
    #[arg(long, default_value_t = 0)]
    offset: usize,
    /// Show everything about each
    #[arg(long, short)]
    verbose: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Detach {
    #[command(flatten)]
    task: Target,
    /// The agent; needed where several hold it
    #[arg(long, short)]
    agent: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Complete {
    #[command(flatten)]
    task: Target,
    /// What came of it, as JSON; with `"success": false` the task has failed
    #[arg(long, short, value_name = "JSON")]
    result: Option<String>,
    /// The same in words
    #[arg(long, short)]
    message: Option<String>,
    /// The agent that says so; needed where several hold it
    #[arg(long, short)]
    agent: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Cleanup {
    #[command(flatten)]
    task: Target,
    /// Do not ask
    #[arg(long, short)]
    force: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Restore {
    #[command(flatten)]
    task: Target,
    /// The checkpoint; the newest, where it is not said
    #[arg(long, short)]
    checkpoint: Option<CheckpointId>,
    /// Only list the checkpoints
    #[arg(long, short, conflicts_with = "checkpoint")]
    list: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct History {
    #[command(flatten)]
    task: Target,
    /// Only what is at least as grave
    #[arg(long, short)]
    level: Option<String>,
    /// Only the last so many
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Only from this time on
    #[arg(long)]
    start: Option<String>,
    /// Only up to this time
    #[arg(long)]
    end: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Decisions {
    #[command(flatten)]
    task: Target,
    /// Only those of this agent
    #[arg(long, short)]
    agent: Option<String>,
    /// Only the last so many
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Find {
    /// Only tasks with this in their name, prompt or key
    query: Option<String>,
    /// Only tasks with this in their name
    #[arg(long)]
    name: Option<String>,
    /// Only tasks in this state
    #[arg(long, short)]
    status: Vec<String>,
    /// Only tasks of this owner
    #[arg(long, short)]
    owner: Option<String>,
    /// Only tasks with all of this object of JSON in their metadata
    #[arg(long, short, value_name = "JSON")]
    metadata: Option<String>,
}

/// Words of a command line of ours.
#[derive(Debug)]
struct Words(Vec<String>);

impl Words {
    fn of(words: &[&str]) -> Self {
        Self(words.iter().map(|word| (*word).to_owned()).collect())
    }

    fn word(mut self, word: impl Into<String>) -> Self {
        self.0.push(word.into());
        self
    }

    /// In one word, so that a value may begin with a dash.
    fn flag(self, name: &str, value: Option<impl std::fmt::Display>) -> Self {
        match value {
            Some(value) => self.word(format!("--{name}={value}")),
            None => self,
        }
    }

    fn switch(self, name: &str, is_on: bool) -> Self {
        if is_on {
            self.word(format!("--{name}"))
        } else {
            self
        }
    }

    fn each<T: std::fmt::Display>(mut self, name: &str, values: &[T]) -> Self {
        for value in values {
            self.0.push(format!("--{name}={value}"));
        }
        self
    }
}

impl Verb {
    /// The command line of ours that it stands for.
    pub(super) fn words(&self, context: &Context) -> Result<Vec<String>, Fail> {
        let words = match self {
            Self::Create(args) => args.words()?,
            Self::Resume(args) => args.words(context)?,
            Self::List(args) => Words::of(&["task", "list"])
                .each("status", &args.status)
                .flag("owner", args.owner.as_ref())
                .flag("limit", Some(args.limit))
                .flag("offset", Some(args.offset))
                .switch("verbose", args.verbose),
            Self::Detach(args) => Words::of(&["task", "detach"])
                .flag("agent", args.agent.as_ref())
                .word(args.task.name()?),
            Self::Complete(args) => args.words()?,
            Self::Cleanup(args) => Words::of(&["task", "delete", "--purge"])
                .switch("yes", args.force)
                .word(args.task.name()?),
            Self::Restore(args) => args.words(context)?,
            Self::History(args) => Words::of(&["history"])
                .flag("level", args.level.as_ref())
                .flag("last", Some(args.limit))
                .flag("since", args.start.as_ref())
                .flag("until", args.end.as_ref())
                .word(args.task.name()?),
            Self::Executions(task) => Words::of(&["task", "executions"]).word(task.name()?),
            Self::Decisions(args) => Words::of(&["decision", "list"])
                .flag("agent", args.agent.as_ref())
                .flag("last", Some(args.limit))
                .word(args.task.name()?),
            Self::Find(args) => args.words()?,
            Self::Stats => Words::of(&["task", "stats"]),
        };
        Ok(words.0)
    }
}

impl Create {
    fn words(&self) -> Result<Words, Fail> {
        if self.name.trim().is_empty() {
            return Err(Fail::usage("name: is empty"));
        }
        Ok(Words::of(&["start", "--external"])
            .flag("name", Some(&self.name))
            .flag("owner", self.owner.as_ref())
            .flag("key", self.task_id.as_ref())
            .each("meta", &pairs(self.metadata.as_deref())?)
            .switch("collaborative", self.collaborative)
            .word("--")
            .word(&self.agent)
            .word(self.description.as_ref().unwrap_or(&self.name)))
    }
}

impl Resume {
    fn words(&self, context: &Context) -> Result<Words, Fail> {
        let name = self.task.name()?;
        let task = context.details(context.resolve(&name)?)?.view.task;
        let is_other = self.agent != NOBODY && self.agent != task.spec.agent.as_str();
        if task.spec.kind == TaskKind::External && self.checkpoint.is_none() {
            return Ok(Words::of(&["task", "attach"])
                .flag("agent", Some(&self.agent))
                .word(name));
        }
        if is_other {
            let agent = &task.spec.agent;
            return Err(Fail::usage(format!("--agent: {} is a task for {agent}", task.id))
                .hint("only an agent outside is attached to a task; others are chosen when it is made"));
        }
        if let Some(checkpoint) = self.checkpoint {
            of_task(context, &name, checkpoint)?;
            return Ok(Words::of(&["checkpoint", "restore", "--run"]).word(checkpoint.to_string()));
        }
        if task.status() != TaskStatus::Pending {
            let (id, status) = (task.id, task.status().as_str());
            return Err(Fail::new(
                Exit::Conflict,
                format!("{id} is {status}: only a pending task is started"),
            )
            .hint("`crewboss retry ID` tries a failed one again, `crewboss retry --continue ID` from where it was"));
        }
        Ok(Words::of(&["run"]).word(name))
    }
}

impl Complete {
    fn words(&self) -> Result<Words, Fail> {
        let wrong = |error| Fail::usage(format!("--result: it is no JSON: {error}"));
        let result = self.result.as_deref().map(serde_json::from_str::<Value>);
        let result = result.transpose().map_err(wrong)?;
        let has_failed = result
            .as_ref()
            .is_some_and(|result| result.get("success") == Some(&Value::Bool(false)));
        let text = result.as_ref().map(ToString::to_string);
        let words = if has_failed {
            let said = ["error", "message"].into_iter().find_map(|name| {
                let said = result.as_ref()?.get(name)?.as_str()?;
                Some(said.to_owned())
            });
            let message = self.message.clone().or(said);
            let message = message.unwrap_or_else(|| "its result says so".to_owned());
            Words::of(&["task", "fail"])
                .flag("message", Some(message))
                .flag("details", text)
        } else {
            let parts: Vec<String> = self.message.iter().cloned().chain(text).collect();
            let summary = (!parts.is_empty()).then(|| parts.join("\n"));
            Words::of(&["task", "complete"]).flag("summary", summary)
        };
        Ok(words
            .flag("agent", self.agent.as_ref())
            .word(self.task.name()?))
    }
}

impl Restore {
    fn words(&self, context: &Context) -> Result<Words, Fail> {
        let name = self.task.name()?;
        if self.list {
            return Ok(Words::of(&["checkpoint", "list"]).word(name));
        }
        let words = Words::of(&["checkpoint", "restore"]);
        match self.checkpoint {
            None => Ok(words.word(name)),
            Some(checkpoint) => {
                of_task(context, &name, checkpoint)?;
                Ok(words.word(checkpoint.to_string()))
            }
        }
    }
}

impl Find {
    fn words(&self) -> Result<Words, Fail> {
        let words = Words::of(&["task", "find"])
            .flag("name", self.name.as_ref())
            .each("status", &self.status)
            .flag("owner", self.owner.as_ref())
            .each("meta", &pairs(self.metadata.as_deref())?);
        Ok(match &self.query {
            Some(query) => words.word("--").word(query),
            None => words,
        })
    }
}

/// Refuses a checkpoint of another task.
fn of_task(context: &Context, name: &str, checkpoint: CheckpointId) -> Result<(), Fail> {
    let task = context.resolve(name)?;
    if wiring::checkpointer(context)?.task_of(checkpoint)? == task {
        return Ok(());
    }
    Err(Fail::new(
        Exit::NotFound,
        format!("{checkpoint} is no checkpoint of {task}"),
    )
    .hint(format!("`crewboss checkpoint list {task}` lists them")))
}

/// The fields of an object as we keep metadata: strings as they are, everything else as JSON.
fn pairs(json: Option<&str>) -> Result<Vec<String>, Fail> {
    let Some(json) = json else {
        return Ok(vec![]);
    };
    let fields: Map<String, Value> = serde_json::from_str(json)
        .map_err(|error| Fail::usage(format!("--metadata: expected an object of JSON: {error}")))?;
    let pair = |(name, value): (String, Value)| match value {
        _ if name.is_empty() || name.contains('=') => Err(Fail::usage(format!(
            "--metadata: `{}` cannot be the name of a field",
            name.escape_debug()
        ))),
        Value::String(text) => Ok(format!("{name}={text}")),
        other => Ok(format!("{name}={other}")),
    };
    fields.into_iter().map(pair).collect()
}

/// There `-d` is a description, everywhere else it is `--debug`.
pub(super) fn spell_out(arguments: Vec<OsString>) -> Vec<OsString> {
    let word = |index: usize| arguments.get(index).and_then(|word| word.to_str());
    let is_noun = |next: &str| {
        const VERBS: [&str; 8] = [
            "create", "list", "show", "diff", "restore", "fork", "delete", "prune",
        ];
        VERBS.contains(&next) || next == "help"
    };
    let means_description = match word(1) {
        Some("create-task") => true,
        Some("checkpoint") => !word(2).is_some_and(is_noun),
        _ => false,
    };
    if !means_description {
        return arguments;
    }
    let spelled = |argument: OsString| match argument
        .to_str()
        .and_then(|text| text.strip_prefix("-d"))
    {
        Some("") => OsString::from("--description"),
        Some(value) => OsString::from(format!("--description={}", value.trim_start_matches('='))),
        None => argument,
    };
    arguments.into_iter().map(spelled).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_no_debugging() {
        let spelled = |line: &str| {
            let words = line.split(' ').map(OsString::from).collect();
            let words = spell_out(words).into_iter();
            let words: Vec<String> = words.map(|word| word.into_string().unwrap()).collect();
            words.join(" ")
        };
        for (line, expected) in [
            ("c create-task x -d y", "c create-task x --description y"),
            ("c create-task x -dy", "c create-task x --description=y"),
            ("c checkpoint k -d y", "c checkpoint k --description y"),
            ("c checkpoint list k -d", "c checkpoint list k -d"),
            ("c status -d", "c status -d"),
        ] {
            assert_eq!(spelled(line), expected);
        }
    }

    #[test]
    fn metadata_is_taken_field_by_field() {
        let taken = pairs(Some(r#"{"a":"x y","b":1,"c":{"d":[true]},"e":null}"#)).unwrap();
        assert_eq!(taken, ["a=x y", "b=1", r#"c={"d":[true]}"#, "e=null"]);
        for wrong in ["[]", "1", "{", r#"{"":1}"#, r#"{"a=b":1}"#] {
            assert!(pairs(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
