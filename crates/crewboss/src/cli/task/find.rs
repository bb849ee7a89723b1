//! `task find`, also called `task list`: tasks by what they are and what they hold.

use api_types::TaskListDocument;
use app::{
    overview::TaskLine,
    query::{Deleted, TaskFilter},
};
use domain::{
    agent::AgentName,
    task::{Task, TaskStatus},
};

use crate::{
    cli::status::state,
    context::Context,
    fail::{Exit, Fail, Outcome},
    render::{count, document, task_details, task_table},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// At most so many
    #[arg(long, short, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Pass over so many first
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: usize,
    /// Show everything about each
    #[arg(long, short)]
    verbose: bool,
}

/// Which tasks.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Wanted {
    /// Only tasks with this in their name, prompt or key; case does not matter
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    /// Only tasks with this in their name
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Only tasks in this state; may be repeated
    #[arg(long = "status", short = 's', visible_alias = "state", value_name = "STATE", value_parser = state)]
    statuses: Vec<TaskStatus>,
    /// Only tasks of this owner
    #[arg(long, short, value_name = "NAME")]
    owner: Option<String>,
    /// Only tasks of this agent
    #[arg(long, value_name = "NAME")]
    agent: Option<AgentName>,
    /// Only tasks with this label; may be repeated
    #[arg(long = "label", value_name = "TEXT")]
    labels: Vec<String>,
    /// Only tasks with this in their metadata; may be repeated
    #[arg(long = "meta", short, value_name = "KEY=VALUE")]
    metadata: Vec<String>,
    /// Archived tasks too
    #[arg(long)]
    archived: bool,
    /// Deleted tasks too, as long as they are not purged
    #[arg(long)]
    include_deleted: bool,
}

impl Wanted {
    /// All of them, the newest first.
    pub(super) fn find(&self, context: &Context) -> Result<Vec<Task>, Fail> {
        let metadata = self.metadata()?;
        let deleted = if self.include_deleted {
            Deleted::With
        } else {
            Deleted::Without
        };
        let filter = |archived, deleted| TaskFilter {
            statuses: self.statuses.clone(),
            archived,
            deleted,
            ..TaskFilter::default()
        };
        let mut tasks = context.tasks(filter(false, deleted))?;
        if self.archived {
            tasks.extend(context.tasks(filter(true, Deleted::Without))?);
        }
        tasks.retain(|task| self.is_wanted(task, &metadata));
        tasks.sort_by_key(|task| std::cmp::Reverse(task.id));
        Ok(tasks)
    }

    fn metadata(&self) -> Result<Vec<(&str, &str)>, Fail> {
        let pair = |text: &'_ str| text.find('=').filter(|at| *at > 0);
        let wrong = |text| Fail::usage(format!("--meta {text}: expected KEY=VALUE"));
        let pairs = self.metadata.iter().map(|text| match pair(text) {
            Some(at) => Ok((&text[..at], &text[at + 1..])),
            None => Err(wrong(text)),
        });
        pairs.collect()
    }

    fn is_wanted(&self, task: &Task, metadata: &[(&str, &str)]) -> bool {
        let spec = &task.spec;
        let holds = |text: &str, part: &str| text.to_lowercase().contains(&part.to_lowercase());
        let key = spec.key.as_ref().map_or("", |key| key.as_str());
        let has_text = self.text.as_ref().is_none_or(|part| {
            [&spec.name, &spec.prompt, key]
                .iter()
                .any(|text| holds(text, part))
        });
        let has_name = self
            .name
            .as_ref()
            .is_none_or(|part| holds(&spec.name, part));
        has_text
            && has_name
            && self.owner.as_ref().is_none_or(|owner| *owner == spec.owner)
            && self.agent.as_ref().is_none_or(|agent| *agent == spec.agent)
            && self.labels.iter().all(|label| spec.labels.contains(label))
            && metadata
                .iter()
                .all(|(key, value)| spec.metadata.get(*key).is_some_and(|has| has == value))
    }
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        context.reconcile()?;
        let all = self.wanted.find(context)?;
        let page = all.iter().skip(self.offset).take(self.limit);
        let details: Vec<_> = page
            .map(|task| context.details(task.id))
            .collect::<Result<_, _>>()?;
        let out = &context.out;
        if out.json {
            out.print(&TaskListDocument {
                tasks: details
                    .iter()
                    .map(|details| document::view(&details.view))
                    .collect(),
                total: all.len() as u64,
                offset: self.offset as u64,
            })?;
            return Ok(Exit::Ok);
        }
        if all.is_empty() {
            out.line("No tasks found")?;
            return Ok(Exit::Ok);
        }
        let now = context.clock()?.now();
        if self.verbose {
            for details in &details {
                let text = task_details::render(out, details, &now, "");
                out.line(format_args!("{text}\n"))?;
            }
        } else if !details.is_empty() {
            let lines: Vec<TaskLine> = details
                .iter()
                .map(|details| TaskLine::from(&details.view))
                .collect();
            out.line(task_table::render(out, &lines, &now))?;
        }
        let (shown, total) = (details.len(), count(all.len(), "task"));
        let text = if shown == all.len() {
            format!("\n{total}")
        } else {
            format!("\n{shown} of {total}: --limit and --offset choose which")
        };
        out.line(text)?;
        Ok(Exit::Ok)
    }
}
