//! `task delete`, `task undelete`, `task purge`.

use api_types::{Body, DeletionDocument, PurgeDocument, PurgedTask};
use app::{
    command::{Command, Output, Rekey},
    purge::deleted_before,
};
use domain::{id::TaskId, task::Task};

use crate::{
    cli::{confirm, expected::ExpectedVersion},
    context::{Context, unexpected},
    deletion,
    fail::{Exit, Fail, Outcome},
    render::{count, document},
    retention,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The tasks
    #[arg(value_name = "ID", required = true)]
    tasks: Vec<String>,
    /// Remove them for good, with their folders, checkpoints and branches
    #[arg(long)]
    purge: bool,
    /// Do not ask
    #[arg(long, short, visible_alias = "force", requires = "purge")]
    yes: bool,
    #[command(flatten)]
    expected: ExpectedVersion,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Undelete {
    /// The tasks
    #[arg(value_name = "ID", required = true)]
    tasks: Vec<String>,
    /// Another key, as its own was taken meanwhile
    #[arg(long, value_name = "KEY", conflicts_with = "no_key")]
    key: Option<String>,
    /// Without its key
    #[arg(long)]
    no_key: bool,
    #[command(flatten)]
    expected: ExpectedVersion,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Purge {
    /// The tasks; without any, those deleted `deletion.keep_days` ago
    #[arg(value_name = "ID")]
    tasks: Vec<String>,
    /// Only say which
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short, visible_alias = "force")]
    yes: bool,
    #[command(flatten)]
    expected: ExpectedVersion,
}

/// What came of the one after the other: the last refusal decides how the command ends.
#[derive(Debug, Default)]
struct Refusals(Vec<Fail>);

impl Refusals {
    /// Prints what was done; where that is nothing, the error is the document.
    fn outcome(mut self, context: &Context, has_done: bool, document: &impl Body) -> Outcome {
        if has_done || self.0.is_empty() {
            context.out.print(document)?;
        }
        let Some(last) = self.0.pop() else {
            return Ok(Exit::Ok);
        };
        for fail in &self.0 {
            context.out.say(fail.render().trim_end());
        }
        Err(last)
    }
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let expected = self.expected.of_one(&self.tasks)?;
        let ids = context.resolve_all(&self.tasks)?;
        context.reconcile()?;
        let number = count(ids.len(), "task");
        let question = format!("Delete {number} for good, with all that they have reached?");
        if self.purge && !self.yes && !confirm(&context.out, &question)? {
            context.out.line("Cancelled.")?;
            return Ok(Exit::Ok);
        }
        let (mut tasks, mut purged) = (Vec::new(), Vec::new());
        let mut refusals = Refusals::default();
        for id in ids {
            match deletion::delete(context, id, expected) {
                Ok(task) => {
                    context.out.line(format_args!("Task {id} deleted."))?;
                    tasks.push(task);
                }
                Err(fail) => refusals.0.push(fail),
            }
        }
        if self.purge && !tasks.is_empty() {
            let ids: Vec<TaskId> = tasks.iter().map(|task| task.id).collect();
            purged = purge_all(context, &ids, ExpectedVersion::default(), &mut refusals)?;
            tasks = context.tasks_of(&ids)?;
        }
        let document = DeletionDocument {
            tasks: tasks.iter().map(document::task).collect(),
            purged,
        };
        refusals.outcome(context, !document.tasks.is_empty(), &document)
    }
}

impl Undelete {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        if self.key.is_some() && self.tasks.len() > 1 {
            return Err(Fail::usage("--key names one task: give one ID"));
        }
        let expected = self.expected.of_one(&self.tasks)?;
        let key = match (self.key, self.no_key) {
            (Some(key), _) => Rekey::To { key },
            (None, true) => Rekey::Without,
            (None, false) => Rekey::Same,
        };
        let mut tasks = Vec::new();
        let mut refusals = Refusals::default();
        for name in &self.tasks {
            match undelete(context, name, &key, expected) {
                Ok(task) => {
                    let status = task.status().as_str();
                    let text = format!("Task {} is back: {status}.", task.id);
                    context.out.line(text)?;
                    tasks.push(document::task(&task));
                }
                Err(fail) => refusals.0.push(fail),
            }
        }
        let purged = vec![];
        let document = DeletionDocument { tasks, purged };
        refusals.outcome(context, !document.tasks.is_empty(), &document)
    }
}

/// A deleted one is meant, whoever has its name meanwhile.
fn undelete(
    context: &Context,
    name: &str,
    key: &Rekey,
    expected: ExpectedVersion,
) -> Result<Task, Fail> {
    let id = context.resolve_deleted(name)?;
    let command = Command::UndeleteTask {
        task: id,
        key: key.clone(),
    };
    match context.change(expected.guard(id, command)) {
        Ok(Output::Task { task, .. }) => Ok(*task),
        Ok(_) => Err(unexpected("undelete")),
        Err(fail) if *key == Rekey::Same && fail.is_taken() => {
            Err(fail
                .hint("another task has its key by now: --key KEY gives it another, --no-key none"))
        }
        Err(fail) => Err(fail),
    }
}

impl Purge {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let expected = self.expected.of_one(&self.tasks)?;
        let ids = if self.tasks.is_empty() {
            due(context)?
        } else {
            let ids = self.tasks.iter();
            ids.map(|name| context.resolve_deleted(name))
                .collect::<Result<_, _>>()?
        };
        if !self.dry_run {
            // What a process that died left undone.
            context.carried_out()?;
            if context.known_project()?.is_some() {
                deletion::purger(context)?.finish()?;
            }
        }
        if ids.is_empty() || self.dry_run {
            for id in &ids {
                context.out.line(format_args!("Would purge {id}."))?;
            }
            context
                .out
                .line(format_args!("{} to purge.", count(ids.len(), "task")))?;
            let purged = ids.iter().map(|id| PurgedTask {
                id: *id,
                removed_references: vec![],
                kept_references: vec![],
                kept: vec![],
            });
            context.out.print(&PurgeDocument {
                purged: purged.collect(),
                dry_run: self.dry_run,
            })?;
            return Ok(Exit::Ok);
        }
        let question = format!("Purge {} for good?", count(ids.len(), "task"));
        if !self.yes && !confirm(&context.out, &question)? {
            context.out.line("Cancelled.")?;
            return Ok(Exit::Ok);
        }
        let mut refusals = Refusals::default();
        let purged = purge_all(context, &ids, expected, &mut refusals)?;
        let document = PurgeDocument {
            purged,
            dry_run: false,
        };
        refusals.outcome(context, !document.purged.is_empty(), &document)
    }
}

/// Those deleted as long ago as the configuration says.
fn due(context: &Context) -> Result<Vec<TaskId>, Fail> {
    let Some(project) = context.known_project()? else {
        return Ok(vec![]);
    };
    let days = context.config()?.settings.deletion.keep_days;
    let before = retention::days_before(context.clock()?.now().wall, days);
    let tasks = deleted_before(&*context.store()?, project.id, before)?;
    Ok(tasks.into_iter().map(|task| task.id).collect())
}

fn purge_all(
    context: &Context,
    ids: &[TaskId],
    expected: ExpectedVersion,
    refusals: &mut Refusals,
) -> Result<Vec<PurgedTask>, Fail> {
    let purger = deletion::purger(context)?;
    let mut purged = Vec::new();
    for id in ids {
        match deletion::purge(context, &purger, *id, expected) {
            Ok(one) => {
                context.out.line(format_args!("Task {id} purged."))?;
                purged.push(one);
            }
            Err(fail) => refusals.0.push(fail),
        }
    }
    purger.finish()?;
    Ok(purged)
}
