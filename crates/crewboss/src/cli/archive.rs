//! `archive`: move old tasks out of the lists, or back.

use app::command::{Command, Output};
use domain::{id::TaskId, task::Task, time::Timestamp};
use serde_json::json;

use super::expected::ExpectedVersion;
use crate::{
    config::Settings,
    context::{Context, unexpected},
    fail::{Exit, Fail, Outcome},
    render::document,
    retention,
};

/// More tasks than this are only archived when a person says so.
const UNASKED_MAX: usize = 10;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    /// Only say what would be archived
    #[arg(long)]
    dry_run: bool,
    /// Archive although archive.enabled is false, and do not ask
    #[arg(long, short)]
    force: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Count what is archived
    Stats,
    /// List what is archived
    List,
    /// Put tasks back into the lists
    Restore {
        /// The tasks
        #[arg(value_name = "ID", required = true)]
        tasks: Vec<String>,
        #[command(flatten)]
        expected: ExpectedVersion,
    },
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        match &self.verb {
            Some(Verb::Stats) => stats(context),
            Some(Verb::List) => list(context),
            Some(Verb::Restore { tasks, expected }) => restore(context, tasks, *expected),
            None => self.archive(context),
        }
    }

    fn archive(&self, context: &Context) -> Outcome {
        let (out, settings) = (&context.out, &context.config()?.settings);
        if !settings.archive.enabled && !self.force && !self.dry_run {
            return Err(Fail::new(
                Exit::Conflict,
                "Auto-archival is disabled. Use --force to archive anyway.",
            )
            .hint("`crewboss config set archive.enabled true` enables it, for the daemon too"));
        }
        context.reconcile()?;
        let now = context.clock()?.now().wall;
        let tasks = eligible(context, settings, now)?;
        let ids: Vec<TaskId> = tasks.iter().map(|task| task.id).collect();
        if tasks.is_empty() {
            out.line("No tasks eligible for archival.")?;
            out.document(
                "archive",
                &json!({ "archived": [], "dry_run": self.dry_run }),
            )?;
            return Ok(Exit::Ok);
        }
        out.line(format_args!(
            "Found {} task(s) eligible for archival:",
            tasks.len()
        ))?;
        for task in &tasks {
            let status = crate::layout::word(context, task.status());
            let days = retention::age_days(task, now);
            out.line(format_args!("  {} ({status}, {days} days old)", task.id))?;
        }
        if self.dry_run {
            out.line("[Dry run - no changes made]")?;
            out.document("archive", &json!({ "archived": ids, "dry_run": true }))?;
            return Ok(Exit::Ok);
        }
        let ask = tasks.len() > UNASKED_MAX && !self.yes && !self.force;
        if ask && !super::confirm(out, &format!("Archive {} tasks?", tasks.len()))? {
            out.line("Cancelled.")?;
            return Ok(Exit::Ok);
        }
        let archived = archive(context, ids)?;
        let errors = tasks.len() - archived.len();
        out.line(format_args!(
            "Archived: {}, Errors: {errors}",
            archived.len()
        ))?;
        out.document(
            "archive",
            &json!({ "archived": archived, "dry_run": false }),
        )?;
        Ok(if errors == 0 { Exit::Ok } else { Exit::Failed })
    }
}

fn archive(context: &Context, tasks: Vec<TaskId>) -> Result<Vec<TaskId>, Fail> {
    let command = Command::ArchiveTasks {
        tasks,
        archived: true,
    };
    match context.change(command)? {
        Output::Tasks { tasks } => Ok(tasks),
        _ => Err(unexpected("archive")),
    }
}

fn eligible(context: &Context, settings: &Settings, now: Timestamp) -> Result<Vec<Task>, Fail> {
    match context.known_project()? {
        Some(project) => Ok(retention::eligible(
            &*context.store()?,
            project.id,
            settings,
            now,
        )?),
        None => Ok(vec![]),
    }
}

fn stats(context: &Context) -> Outcome {
    let (out, settings) = (&context.out, &context.config()?.settings.archive);
    let total = context.archived_tasks()?.len();
    out.line("Archive Statistics:")?;
    out.line(format_args!("  Total archived tasks: {total}"))?;
    out.line(format_args!("  Location: {}", context.places.store_name()))?;
    let word = if settings.enabled {
        "ENABLED"
    } else {
        "DISABLED"
    };
    out.line(format_args!("Auto-archival: {word}"))?;
    out.line(format_args!(
        "  Completed tasks: {} days",
        settings.max_completed_age_days
    ))?;
    out.line(format_args!(
        "  Failed tasks: {} days",
        settings.max_failed_age_days
    ))?;
    let body = json!({
        "total": total,
        "enabled": settings.enabled,
        "max_completed_age_days": settings.max_completed_age_days,
        "max_failed_age_days": settings.max_failed_age_days,
    });
    out.document("archive_stats", &body)?;
    Ok(Exit::Ok)
}

fn list(context: &Context) -> Outcome {
    let tasks = context.archived_tasks()?;
    let documents: Vec<_> = tasks.iter().map(document::task).collect();
    context
        .out
        .document("archive_list", &json!({ "tasks": documents }))?;
    if tasks.is_empty() {
        context.out.line("No archived tasks.")?;
    }
    for task in &tasks {
        let (status, name) = (task.status().as_str(), &task.spec.name);
        context
            .out
            .line(format_args!("{} ({status}) {name}", task.id))?;
    }
    Ok(Exit::Ok)
}

fn restore(context: &Context, names: &[String], expected: ExpectedVersion) -> Outcome {
    let expected = expected.of_one(names)?;
    let ids = context.resolve_all(names)?;
    let asked = ids.len();
    let command = Command::ArchiveTasks {
        tasks: ids.clone(),
        archived: false,
    };
    let command = match ids.as_slice() {
        [only] => expected.guard(*only, command),
        _ => command,
    };
    let Output::Tasks { tasks: restored } = context.change(command)? else {
        return Err(unexpected("archive"));
    };
    for id in &restored {
        context.out.line(format_args!("Task {id} restored."))?;
    }
    if restored.len() < asked {
        context.out.say(format_args!(
            "{} of them not archived",
            asked - restored.len()
        ));
    }
    context
        .out
        .document("archive_restore", &json!({ "restored": restored }))?;
    Ok(Exit::Ok)
}
