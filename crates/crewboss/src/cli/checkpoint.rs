//! `checkpoint`: keep what a task has reached, look at it, and go back to it.

mod restore;
mod show;

use api_types::CheckpointsDeletedDocument;
use app::{
    checkpoints::{CheckpointError, Checkpointer, Wish},
    ports::checkpoints::{Cause, Found},
};
use domain::{
    id::{CheckpointId, TaskId},
    project::Project,
};

use super::expected::ExpectedVersion;
use crate::{
    context::Context,
    fail::{Exit, Fail, Outcome},
    render::count,
};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(flatten)]
    short: Short,
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// `checkpoint ID`, for `checkpoint create ID` and `checkpoint list ID`.
#[derive(Debug, clap::Args)]
struct Short {
    #[command(flatten)]
    task: super::other_names::Target,
    /// What to remember about it
    #[arg(long, visible_alias = "note", value_name = "TEXT", hide = true)]
    description: Option<String>,
    /// List the checkpoints of the task instead
    #[arg(long, short, conflicts_with = "description", hide = true)]
    list: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Keep what a task has reached: files, plan, decisions and the agent's conversation
    Create {
        /// The task, at work or ended
        #[arg(value_name = "ID")]
        task: String,
        /// What to remember about it
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        /// Keep files that git ignores too
        #[arg(long)]
        include_ignored: bool,
    },
    /// List the checkpoints of a task, and say which are damaged
    List {
        /// The task
        #[arg(value_name = "ID")]
        task: String,
    },
    /// Show everything about a checkpoint, and check every byte of it
    Show {
        /// The checkpoint, or a task of which the newest is meant
        #[arg(value_name = "CHECKPOINT|ID")]
        checkpoint: String,
    },
    /// Show what differs between a checkpoint and another one, or the workspace as it is now
    Diff {
        /// The checkpoint, or a task of which the newest is meant
        #[arg(value_name = "CHECKPOINT|ID")]
        from: String,
        /// The other one
        #[arg(value_name = "CHECKPOINT|ID", conflicts_with = "now")]
        to: Option<String>,
        /// Compare with the task's workspace as it is now; so too where no other is named
        #[arg(long)]
        now: bool,
        /// Only the files, with their lines added and removed
        #[arg(long)]
        stat: bool,
    },
    /// Go back to a checkpoint: a task that has ended begins again as a new task, any other goes on
    /// from there itself
    Restore {
        /// The checkpoint, or a task of which the newest is meant
        #[arg(value_name = "CHECKPOINT|ID")]
        checkpoint: String,
        /// Another agent for the new task of one that has ended
        #[arg(long, value_name = "NAME")]
        agent: Option<String>,
        /// Start it at once; a task that was running is started again in any case
        #[arg(long)]
        run: bool,
        #[command(flatten)]
        expected: ExpectedVersion,
    },
    /// Make another task from a checkpoint, whatever its task is doing
    Fork {
        /// The checkpoint, or a task of which the newest is meant
        #[arg(value_name = "CHECKPOINT|ID")]
        checkpoint: String,
        /// What the new task is told besides
        #[arg(long, value_name = "HINT")]
        with: Option<String>,
        /// Another agent for the new task
        #[arg(long, value_name = "NAME")]
        agent: Option<String>,
        /// Start the new task at once
        #[arg(long)]
        run: bool,
    },
    /// Delete checkpoints
    Delete {
        /// The checkpoints
        #[arg(value_name = "CHECKPOINT", required = true)]
        checkpoints: Vec<String>,
    },
    /// Delete the checkpoints that the configuration does not keep
    Prune {
        /// Only say which
        #[arg(long)]
        dry_run: bool,
    },
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let Some(verb) = self.verb else {
            let task = self.short.task.name()?;
            if self.short.list {
                return show::list(context, &task);
            }
            return create(context, &task, self.short.description, false);
        };
        match verb {
            Verb::Create {
                task,
                note,
                include_ignored,
            } => create(context, &task, note, include_ignored),
            Verb::List { task } => show::list(context, &task),
            Verb::Show { checkpoint } => show::show(context, &checkpoint),
            Verb::Diff { from, to, stat, .. } => show::diff(context, &from, to.as_deref(), stat),
            Verb::Restore {
                checkpoint,
                agent,
                run,
                expected,
            } => restore::restore(context, &checkpoint, agent, run, expected),
            Verb::Fork {
                checkpoint,
                with,
                agent,
                run,
            } => restore::fork(context, &checkpoint, with, agent, run),
            Verb::Delete { checkpoints } => delete(context, &checkpoints),
            Verb::Prune { dry_run } => prune(context, dry_run),
        }
    }
}

/// The project, which must be there, and its checkpoints.
fn of_project(context: &Context) -> Result<(Project, Checkpointer), Fail> {
    let Some(project) = context.known_project()? else {
        return Err(Fail::new(Exit::NotFound, "there is no project here")
            .hint("`crewboss start` makes one with its first task"));
    };
    let checkpointer = crate::wiring::checkpointer(context)?;
    Ok((project, checkpointer))
}

fn parse(text: &str) -> Result<CheckpointId, Fail> {
    text.parse().map_err(|_| {
        let shown: String = text.escape_debug().take(40).collect();
        Fail::usage(format!("`{shown}` is no checkpoint id (ckp_<digits>)"))
            .hint("`crewboss checkpoint list ID` lists those of a task")
    })
}

/// By its id, or by the task that it is the newest of.
fn find(context: &Context, checkpointer: &Checkpointer, text: &str) -> Result<Found, Fail> {
    if text.starts_with(CheckpointId::PREFIX) {
        return Ok(checkpointer.find(parse(text)?)?);
    }
    let task = context.resolve(text)?;
    match checkpointer.newest(task)? {
        Some(id) => Ok(checkpointer.find(id)?),
        None => Err(
            Fail::new(Exit::NotFound, format!("{task} has no checkpoints"))
                .hint(format!("`crewboss checkpoint create {task}` makes one")),
        ),
    }
}

/// A checkpoint that nothing is wrong with.
fn whole(
    context: &Context,
    checkpointer: &Checkpointer,
    text: &str,
) -> Result<app::ports::checkpoints::Manifest, Fail> {
    let found = find(context, checkpointer, text)?;
    match found.manifest {
        Some(manifest) if found.findings.is_empty() => Ok(manifest),
        _ => Err(Fail::new(
            Exit::Failed,
            format!("{} is damaged: {}", found.id, found.findings.join("; ")),
        )
        .code(api_types::ProblemCode::Corrupt)
        .hint("another checkpoint of the task may be whole: `crewboss checkpoint list` says")),
    }
}

fn create(context: &Context, task: &str, note: Option<String>, with_ignored: bool) -> Outcome {
    let id = context.resolve(task)?;
    context.reconcile()?;
    let wish = Wish {
        note,
        cause: Cause::Asked,
        with_ignored,
    };
    let (project, checkpointer) = of_project(context)?;
    let made = checkpointer.create(id, &wish)?;
    for warning in &made.warnings {
        context.out.warn(warning);
    }
    let manifest = &made.manifest;
    let out = &context.out;
    out.line(format_args!("Checkpoint {} of {id} created.", manifest.id))?;
    apply_rules(context, &project, &checkpointer);
    out.print(&show::document(&Found {
        id: manifest.id,
        task: id,
        manifest: Some(manifest.clone()),
        findings: vec![],
    }))?;
    Ok(Exit::Ok)
}

/// One that is asked for is not undone by old ones that stay, nor by an image that is behind.
fn apply_rules(context: &Context, project: &Project, checkpointer: &Checkpointer) {
    drop(context.carried_out());
    let pruned = context
        .config()
        .map_err(|fail| fail.render())
        .and_then(|config| {
            let rules = config.settings.checkpoint.retention();
            let pruned = checkpointer.expire(project.id, &rules, false);
            pruned.map_err(|error| error.to_string())
        });
    match pruned {
        Ok(gone) => {
            for manifest in gone {
                context
                    .out
                    .info(format_args!("{} is not kept any longer", manifest.id));
            }
        }
        Err(why) => context
            .out
            .warn(format_args!("old checkpoints stay: {}", why.trim())),
    }
}

/// Keeps what a task has reached before something is done with its work.
pub(super) fn before_merge(context: &Context, task: TaskId) -> Result<(), Fail> {
    let (project, checkpointer) = of_project(context)?;
    let made = checkpointer.create(task, &Wish::because(Cause::Merge))?;
    context
        .out
        .info(format_args!("checkpoint {}", made.manifest.id));
    apply_rules(context, &project, &checkpointer);
    Ok(())
}

fn delete(context: &Context, names: &[String]) -> Outcome {
    let (project, checkpointer) = of_project(context)?;
    let ids: Vec<CheckpointId> = names
        .iter()
        .map(|name| parse(name))
        .collect::<Result<_, _>>()?;
    let in_use = checkpointer.unended(project.id)?;
    let mut deleted = Vec::new();
    for id in ids {
        let task = checkpointer.task_of(id)?;
        for said in checkpointer.tidy(project.id, task) {
            context.out.warn(said);
        }
        checkpointer.delete(task, id, &in_use)?;
        context.out.line(format_args!("Deleted {id}."))?;
        deleted.push(id);
    }
    context.out.print(&CheckpointsDeletedDocument {
        deleted,
        dry_run: false,
    })?;
    Ok(Exit::Ok)
}

fn prune(context: &Context, dry_run: bool) -> Outcome {
    let (project, checkpointer) = of_project(context)?;
    let rules = context.config()?.settings.checkpoint.retention();
    let gone = if dry_run {
        checkpointer.expire(project.id, &rules, true)?
    } else {
        checkpointer.prune(project.id, &rules)?
    };
    let word = if dry_run { "Would delete" } else { "Deleted" };
    for manifest in &gone {
        let (id, task) = (manifest.id, manifest.task);
        context.out.line(format_args!("{word} {id} of {task}."))?;
    }
    let number = count(gone.len(), "checkpoint");
    let end = if dry_run { "are not kept" } else { "deleted" };
    context.out.line(format_args!("{number} {end}."))?;
    context.out.print(&CheckpointsDeletedDocument {
        deleted: gone.iter().map(|manifest| manifest.id).collect(),
        dry_run,
    })?;
    Ok(Exit::Ok)
}

impl From<CheckpointError> for Fail {
    fn from(error: CheckpointError) -> Self {
        match error {
            CheckpointError::Refused(why) => Self::new(Exit::Conflict, why),
            CheckpointError::NotFound(_) => Self::new(Exit::NotFound, error.to_string())
                .hint("`crewboss checkpoint list ID` lists those of a task"),
            CheckpointError::Store(error) => error.into(),
            CheckpointError::Folder(error) => error.into(),
            CheckpointError::Workspace(error) => error.into(),
        }
    }
}
