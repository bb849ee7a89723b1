//! `clean`: delete tasks that have ended, so that they can be brought back.

use api_types::CleanDocument;
use app::{
    command::{Command, Output},
    query::TaskFilter,
};
use domain::{
    id::TaskId,
    task::{Task, TaskStatus},
};

use super::expected::ExpectedVersion;
use crate::{
    context::{Context, unexpected},
    deletion,
    fail::{Exit, Fail, Outcome},
    render::some_of,
    stop::remove_workspaces,
};

/// More tasks than this are only deleted when a person says so.
const UNASKED_MAX: usize = 10;
/// Ids that the answer names.
const NAMED: usize = 5;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// completed, failed, cancelled, all (of these three), or tasks
    #[arg(value_name = "FILTER|ID", default_value = "completed")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Remove them for good, with their folders, checkpoints and branches
    #[arg(long)]
    purge: bool,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let (word, tasks) = self.matching(context)?;
        if tasks.is_empty() {
            context
                .out
                .line(format_args!("No tasks found matching filter: {word}"))?;
            context.out.print(&CleanDocument {
                deleted: vec![],
                kept: vec![],
                purged: vec![],
            })?;
            return Ok(Exit::Ok);
        }
        if tasks.len() > UNASKED_MAX && !self.yes && !agreed(context, &tasks)? {
            context.out.line("Cancelled.")?;
            return Ok(Exit::Ok);
        }
        delete(context, &word, &tasks, self.purge)
    }

    fn matching(&self, context: &Context) -> Result<(String, Vec<Task>), Fail> {
        use TaskStatus as S;
        let word = self.filter.join(" ");
        let statuses: &[TaskStatus] = match word.as_str() {
            "completed" => &[S::Completed],
            "failed" => &[S::Failed],
            "cancelled" => &[S::Cancelled],
            "all" => &[S::Completed, S::Failed, S::Cancelled],
            _ => return Ok((word, self.named(context)?)),
        };
        context.reconcile()?;
        let filter = TaskFilter {
            statuses: statuses.to_vec(),
            ..TaskFilter::default()
        };
        Ok((word, context.tasks(filter)?))
    }

    /// Tasks by name; those that have not ended are not touched.
    fn named(&self, context: &Context) -> Result<Vec<Task>, Fail> {
        let is_name = |name: &String| {
            let digits = name.strip_prefix("task_").unwrap_or(name);
            digits.bytes().any(|byte| byte.is_ascii_digit())
        };
        let mut tasks = Vec::new();
        for name in &self.filter {
            let id = match context.resolve(name) {
                Ok(id) => id,
                Err(fail) if is_name(name) => return Err(fail),
                Err(_) => {
                    let shown = name.escape_debug();
                    return Err(Fail::usage(format!("Invalid filter type '{shown}'."))
                        .hint("Valid filters: completed, failed, cancelled, all, task_<id>"));
                }
            };
            let task = context.details(id)?.view.task;
            if task.status().is_terminal() && task.deleted_at.is_none() {
                tasks.push(task);
            }
        }
        Ok(tasks)
    }
}

fn agreed(context: &Context, tasks: &[Task]) -> Result<bool, Fail> {
    context
        .out
        .say(format_args!("Found {} tasks to delete:", tasks.len()));
    for task in tasks.iter().take(UNASKED_MAX) {
        context
            .out
            .say(format_args!("  - {} ({})", task.id, task.status().as_str()));
    }
    context
        .out
        .say(format_args!("  ... and {} more", tasks.len() - UNASKED_MAX));
    super::confirm(&context.out, "Proceed with deletion?")
}

/// First what is on disk, so that nothing is forgotten that still has something there.
fn delete(context: &Context, word: &str, tasks: &[Task], purge: bool) -> Outcome {
    let mut ids = Vec::with_capacity(tasks.len());
    let mut kept = Vec::new();
    for task in tasks {
        match remove_workspaces(context, &context.details(task.id)?) {
            Ok(folders) => {
                kept.extend(folders);
                ids.push(task.id);
            }
            Err(fail) => {
                context
                    .out
                    .warn(format_args!("{} stays: {}", task.id, fail.render().trim()));
            }
        }
    }
    let Output::Tasks { tasks: deleted } = context.change(Command::DeleteTasks { tasks: ids })?
    else {
        return Err(unexpected("clean"));
    };
    report(context, word, &deleted)?;
    for folder in kept.iter().filter(|_| !purge) {
        context.out.say(format_args!(
            "Kept the folder {}: there is no other copy of it",
            folder.display()
        ));
    }
    let mut is_whole = deleted.len() == tasks.len();
    for task in tasks.iter().filter(|task| !deleted.contains(&task.id)) {
        context.out.say(format_args!(
            "{} stays: it has not ended, or tasks wait for its retry",
            task.id
        ));
    }
    let mut purged = Vec::new();
    if purge {
        let purger = deletion::purger(context)?;
        for id in &deleted {
            match deletion::purge(context, &purger, *id, ExpectedVersion::default()) {
                Ok(one) => purged.push(one),
                Err(fail) => {
                    is_whole = false;
                    let why = fail.render();
                    let why = why.trim();
                    context
                        .out
                        .warn(format_args!("{id} is deleted and not purged: {why}"));
                }
            }
        }
    }
    context.out.print(&CleanDocument {
        deleted,
        kept,
        purged,
    })?;
    Ok(if is_whole { Exit::Ok } else { Exit::Failed })
}

fn report(context: &Context, word: &str, deleted: &[TaskId]) -> Result<(), Fail> {
    match deleted {
        [] => Ok(()),
        [one] => context.out.line(format_args!("Cleaned up 1 task: {one}")),
        many => {
            // The layout's own words are `5 all tasks`.
            let is_all = word == "all" && context.places.layout.is_some();
            let is_filter = is_all || matches!(word, "completed" | "failed" | "cancelled");
            let kind = if is_filter {
                format!("{word} ")
            } else {
                String::new()
            };
            let list = some_of(many, NAMED);
            context.out.line(format_args!(
                "Cleaned up {} {kind}tasks: {list}",
                many.len()
            ))
        }
    }
}
