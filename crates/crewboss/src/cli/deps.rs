//! `deps`: what depends on what.

use std::collections::BTreeMap;

use api_types::{
    DependencyEdges, DependencyRef, DepsDocument, DepsGraphDocument, DepsValidateDocument,
};
use domain::{
    graph::find_cycle,
    id::TaskId,
    task::{Task, TaskStatus},
};

use crate::{
    context::Context,
    fail::{Exit, Fail, Outcome},
    render::{named, symbols::Symbol, task_table, with_key},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// What one task waits for, and what waits for it
    Show {
        /// The task
        #[arg(value_name = "ID")]
        task: String,
    },
    /// All tasks with dependencies
    Graph,
    /// Look for circles
    Validate,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        match self.verb {
            Verb::Show { task } => show(context, &task),
            Verb::Graph => graph(context),
            Verb::Validate => validate(context),
        }
    }
}

fn show(context: &Context, name: &str) -> Outcome {
    let id = context.resolve(name)?;
    context.reconcile()?;
    let details = context.details(id)?;
    let out = &context.out;
    let status = details.view.task.status();
    out.print(&DepsDocument {
        task: id,
        status,
        dependencies: details
            .dependencies
            .iter()
            .map(DependencyRef::from)
            .collect(),
        dependants: details.dependants.clone(),
    })?;
    out.line(format_args!("Task: {}", named(&details.view.task)))?;
    out.line(format_args!("Status: {}", status.as_str()))?;
    if details.dependencies.is_empty() {
        out.line("No dependencies")?;
    } else {
        out.line(format_args!(
            "\nDependencies ({}):",
            details.dependencies.len()
        ))?;
    }
    for task in &details.dependencies {
        let sign = Symbol::of(task.status()).text(out.unicode);
        out.line(format_args!(
            "  {sign} {} ({})",
            named(task),
            task.status().as_str()
        ))?;
    }
    if !details.dependants.is_empty() {
        out.line(format_args!("\nNeeded by ({}):", details.dependants.len()))?;
    }
    for dependant in context.tasks_of(&details.dependants)? {
        let status = dependant.status().as_str();
        out.line(format_args!("  {} ({status})", named(&dependant)))?;
    }
    Ok(Exit::Ok)
}

/// Every task that is no retry, by id, archived ones included.
fn chains(context: &Context) -> Result<(Vec<Task>, BTreeMap<TaskId, TaskStatus>), Fail> {
    let mut all = context.archived_tasks()?;
    all.extend(context.listed_tasks()?);
    all.sort_by_key(|task| task.id);
    // The newest of a chain speaks for it, and comes last.
    let statuses = all
        .iter()
        .map(|task| (task.chain.root, task.status()))
        .collect();
    Ok((all, statuses))
}

fn graph(context: &Context) -> Outcome {
    context.reconcile()?;
    let (tasks, statuses) = chains(context)?;
    let out = &context.out;
    let linked: Vec<&Task> = tasks
        .iter()
        .filter(|task| !task.spec.depends_on.is_empty())
        .collect();
    let edges = linked.iter().map(|task| DependencyEdges {
        id: task.id,
        status: task.status(),
        depends_on: task.spec.depends_on.clone(),
    });
    out.print(&DepsGraphDocument {
        tasks: edges.collect(),
    })?;
    if linked.is_empty() {
        out.line("No tasks with dependencies found")?;
        return Ok(Exit::Ok);
    }
    out.line("Dependency Graph:")?;
    let arrow = Symbol::Arrow.text(out.unicode);
    let keys = task_table::keys(&tasks);
    for task in linked {
        out.line(format_args!(
            "\n{} ({})",
            named(task),
            task.status().as_str()
        ))?;
        for root in &task.spec.depends_on {
            let status = statuses
                .get(root)
                .map_or("missing", |status| status.as_str());
            let root = with_key(root, keys.get(root).copied());
            out.line(format_args!("  {arrow} {root} ({status})"))?;
        }
    }
    Ok(Exit::Ok)
}

fn validate(context: &Context) -> Outcome {
    if let Some(layout) = context.places.layout {
        return crate::layout::validate_files(context, layout);
    }
    let (tasks, _) = chains(context)?;
    let edges: BTreeMap<TaskId, Vec<TaskId>> = tasks
        .iter()
        .map(|task| (task.chain.root, task.spec.depends_on.clone()))
        .collect();
    let cycle = find_cycle(&edges);
    let out = &context.out;
    out.print(&DepsValidateDocument {
        valid: cycle.is_none(),
        cycle: cycle.clone(),
    })?;
    match cycle {
        None => {
            let sign = Symbol::Check.text(out.unicode);
            out.line(format_args!("{sign} No circular dependencies found"))?;
            Ok(Exit::Ok)
        }
        Some(cycle) => {
            let sign = Symbol::Failed.text(out.unicode);
            let path: Vec<String> = cycle.iter().map(ToString::to_string).collect();
            out.line(format_args!("{sign} Circular dependency detected!"))?;
            out.line(format_args!("Cycle: {}", path.join(" -> ")))?;
            Ok(Exit::Failed)
        }
    }
}
