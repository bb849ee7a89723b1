//! `merge`: put a task's finished work into a branch.

use std::path::Path;

use api_types::MergeDocument;
use app::query::TaskDetails;
use domain::task::TaskStatus;

use crate::{
    context::Context,
    fail::{Exit, Fail, Outcome},
    render::count,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The completed task
    #[arg(value_name = "ID")]
    task: String,
    /// The branch; by default workspace.target of the configuration, else the one checked out
    #[arg(long, value_name = "BRANCH")]
    into: Option<String>,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let id = context.resolve(&self.task)?;
        context.reconcile()?;
        let details = context.details(id)?;
        let task = &details.view.task;
        if task.status() != TaskStatus::Completed {
            let status = task.status().as_str();
            let message = format!("Task {id} is {status}: only completed work is merged");
            let fail = Fail::new(Exit::Conflict, message);
            return Err(match next_step(&details) {
                Some(step) => fail.hint(step),
                None => fail,
            });
        }
        let branch = details
            .sessions
            .iter()
            .rev()
            .find_map(|session| session.outcome.as_ref()?.branch.clone());
        let Some(branch) = branch else {
            return Err(
                Fail::new(Exit::Conflict, format!("Task {id} left no branch")).hint(
                    "only work in a git worktree has one; `crewboss show` says where it worked",
                ),
            );
        };
        let configured = context.config()?.settings.workspace.target.clone();
        let target = self.into.or(configured);
        let root = context.root_of(task.project)?;
        if context.config()?.settings.checkpoint.before_merge
            && let Err(fail) = super::checkpoint::before_merge(context, id)
        {
            let why = fail.render();
            context.out.warn(format_args!(
                "no checkpoint before the merge: {}",
                why.trim()
            ));
        }
        let merged = context
            .workspaces()
            .merge(Path::new(&root), &branch, target.as_deref())?;
        let out = &context.out;
        if merged.already {
            out.line(format_args!("{} contains {branch} already.", merged.target))?;
        } else {
            let files = count(merged.files.len(), "file");
            let at = merged.commit.short();
            out.line(format_args!(
                "Merged {branch} into {} ({at}, {files}).",
                merged.target
            ))?;
        }
        if let Some(checkout) = &merged.updated {
            out.line(format_args!("Updated {}.", checkout.display()))?;
        }
        out.print(&MergeDocument {
            task: id,
            branch,
            target: merged.target,
            commit: merged.commit,
            already: merged.already,
            updated: merged.updated,
            files: merged.files,
        })?;
        Ok(Exit::Ok)
    }
}

/// What to do about a task that has not completed.
fn next_step(details: &TaskDetails) -> Option<String> {
    let task = &details.view.task;
    let id = task.id;
    if let Some(newest) = details.chain.last().filter(|newest| newest.id != id) {
        return Some(format!("it was tried again as {}", newest.id));
    }
    match task.status() {
        TaskStatus::Failed => Some(format!(
            "`crewboss retry {id}` tries it again; `crewboss diff {id}` shows what it left"
        )),
        TaskStatus::Pending | TaskStatus::Running => {
            Some(format!("`crewboss wait {id}` waits for its end"))
        }
        TaskStatus::Completed | TaskStatus::Cancelled => None,
    }
}
