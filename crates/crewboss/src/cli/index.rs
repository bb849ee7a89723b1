//! `index`: the store keeps counters and readiness with every change; this checks them.

use std::collections::BTreeMap;

use api_types::{IndexRebuildDocument, IndexStatsDocument, IndexVerifyDocument};
use app::query::Counts;
use domain::task::{Task, TaskStatus};

use crate::{
    context::Context,
    fail::{Exit, Fail, Outcome},
    history,
    render::{document, symbols::Symbol},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Bring the readable images of tasks up to date, and count them
    Rebuild,
    /// Count tasks by status, agent and priority
    Stats,
    /// Compare the kept counters with the tasks
    Verify,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        if let Some(layout) = context.places.layout {
            return match self.verb {
                Verb::Rebuild => crate::layout::index_rebuild(context, layout),
                Verb::Stats => crate::layout::index_stats(context, layout),
                Verb::Verify => crate::layout::index_verify(context, layout),
            };
        }
        match self.verb {
            Verb::Rebuild => rebuild(context),
            Verb::Stats => stats(context),
            Verb::Verify => verify(context),
        }
    }
}

fn rebuild(context: &Context) -> Outcome {
    let out = &context.out;
    out.line("Rebuilding task index...")?;
    let tasks = context.listed_tasks()?;
    let (folders, journal) = (context.folders(), context.journal()?);
    for task in &tasks {
        history::bring_up(
            &*context.store()?,
            &*journal,
            &context.places.project,
            task.id,
        )?;
        folders.show_task(&context.places.project, task)?;
        history::take_back_if_purged(
            &*context.store()?,
            &*folders,
            &context.places.project,
            task.id,
        )?;
    }
    let sign = Symbol::Check.text(out.unicode);
    out.line(format_args!(
        "{sign} Index rebuilt with {} tasks",
        tasks.len()
    ))?;
    out.print(&IndexRebuildDocument {
        tasks: tasks.len() as u64,
    })?;
    Ok(Exit::Ok)
}

fn counted(tasks: &[Task]) -> Counts {
    let mut counts = Counts::new();
    for task in tasks {
        *counts.entry(task.status()).or_default() += 1;
    }
    counts
}

fn stats(context: &Context) -> Outcome {
    let tasks = context.listed_tasks()?;
    let out = &context.out;
    let counts = counted(&tasks);
    let mut agents: BTreeMap<String, u64> = BTreeMap::new();
    let mut priorities: BTreeMap<u8, u64> = BTreeMap::new();
    for task in &tasks {
        *agents.entry(task.spec.agent.to_string()).or_default() += 1;
        *priorities.entry(task.spec.priority.value()).or_default() += 1;
    }
    out.line("Task Index Statistics:")?;
    out.line(format_args!("Total tasks: {}", tasks.len()))?;
    out.line("\nBy Status:")?;
    for (status, number) in &counts {
        out.line(format_args!("  {}: {number}", status.as_str()))?;
    }
    out.line("\nBy Agent:")?;
    for (agent, number) in &agents {
        out.line(format_args!("  {agent}: {number}"))?;
    }
    out.line("\nBy Priority:")?;
    for (priority, number) in priorities.iter().rev() {
        out.line(format_args!("  Priority {priority}: {number}"))?;
    }
    let named = |(priority, number): (u8, u64)| (priority.to_string(), number);
    out.print(&IndexStatsDocument {
        total: tasks.len() as u64,
        by_status: document::counts(&counts),
        by_agent: agents,
        by_priority: priorities.into_iter().map(named).collect(),
    })?;
    Ok(Exit::Ok)
}

/// Counters and tasks are read one after the other, so a difference is looked at twice more before
/// it is believed: somebody may have changed something in between.
fn verify(context: &Context) -> Outcome {
    let mut drift = differences(context)?;
    for _ in 0..2 {
        if drift.is_empty() {
            break;
        }
        drift = differences(context)?;
    }
    let out = &context.out;
    out.print(&IndexVerifyDocument {
        consistent: drift.is_empty(),
        problems: drift.clone(),
        missing: vec![],
        extra: vec![],
    })?;
    if drift.is_empty() {
        out.line(format_args!(
            "{} Index is consistent",
            Symbol::Check.text(out.unicode)
        ))?;
        return Ok(Exit::Ok);
    }
    for problem in &drift {
        out.line(format_args!(
            "{} {problem}",
            Symbol::Warning.text(out.unicode)
        ))?;
    }
    Ok(Exit::Failed)
}

fn differences(context: &Context) -> Result<Vec<String>, Fail> {
    let Some(project) = context.known_project()? else {
        return Ok(vec![]);
    };
    let (_, kept) = context.status(&project, 1)?;
    let tasks = context.listed_tasks()?;
    let true_counts = counted(&tasks);
    let mut problems: Vec<String> = TaskStatus::ALL
        .iter()
        .filter_map(|status| {
            let number = |counts: &Counts| counts.get(status).copied().unwrap_or(0);
            let (kept, found) = (number(&kept), number(&true_counts));
            (kept != found)
                .then(|| format!("{} {}: the counter says {kept}", found, status.as_str()))
        })
        .collect();
    let folders = context.folders();
    for task in &tasks {
        match folders.shown_version(&context.places.project, task.id) {
            None => problems.push(format!("{} has no image in .crewboss/tasks", task.id)),
            Some(version) if version > task.version => {
                problems.push(format!("the image of {} is newer than the store", task.id));
            }
            Some(_) => {}
        }
    }
    Ok(problems)
}
