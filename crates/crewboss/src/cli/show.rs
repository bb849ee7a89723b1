//! `show`: everything about one task.

use crate::{
    context::Context,
    fail::{Exit, Outcome},
    render::{document, task_details},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The task: its id, the end of one, or its key
    #[arg(value_name = "ID")]
    task: String,
    /// Also a deleted one
    #[arg(long)]
    include_deleted: bool,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        show(context, &self.task, self.include_deleted)
    }
}

/// Prints a task.
pub(super) fn show(context: &Context, name: &str, include_deleted: bool) -> Outcome {
    let id = context.find(name, include_deleted)?;
    context.reconcile()?;
    let details = context.details(id)?;
    context.out.print(&document::details(&details))?;
    let folder = context
        .places
        .project_folder()
        .join("tasks")
        .join(id.to_string());
    let now = context.clock()?.now();
    let folder = if folder.exists() {
        folder.display().to_string()
    } else {
        String::new()
    };
    context
        .out
        .line(task_details::render(&context.out, &details, &now, &folder))?;
    Ok(Exit::Ok)
}
