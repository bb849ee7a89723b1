//! `cancel`: end tasks and everything that they started.

use api_types::CancelDocument;
use domain::{id::TaskId, session::StopReason, task::TaskStatus};

use super::expected::ExpectedVersion;
use crate::{
    context::Context,
    fail::{Exit, Fail, Outcome},
    render::document,
    stop::stop,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The tasks; of one that failed and is being tried again, the retry
    #[arg(value_name = "ID", required = true)]
    tasks: Vec<String>,
    #[command(flatten)]
    expected: ExpectedVersion,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let expected = self.expected.of_one(&self.tasks)?;
        let ids = context.resolve_all(&self.tasks)?;
        context.reconcile()?;
        let mut cancelled = Vec::new();
        let mut refused: Vec<Fail> = Vec::new();
        for asked in ids {
            let id = standing_for(context, asked)?;
            match stop(context, id, StopReason::Cancel, expected) {
                Ok(stopped) => {
                    let line = match (stopped.before, stopped.pid) {
                        (TaskStatus::Pending, _) => format!("Task {id} cancelled (was pending)."),
                        (_, Some(pid)) => format!("Task {id} cancelled (PID: {pid} terminated)."),
                        (_, None) => format!("Task {id} cancelled."),
                    };
                    context.out.line(line)?;
                    if id != asked {
                        context.out.line(format_args!(
                            "It is the retry of {asked}, which has failed."
                        ))?;
                    }
                    cancelled.push(document::task(&stopped.task));
                }
                Err(fail) => refused.push(fail),
            }
        }
        // Where nothing was done the error is the document.
        if refused.is_empty() || !cancelled.is_empty() {
            context.out.print(&CancelDocument { tasks: cancelled })?;
        }
        match refused.pop() {
            None => Ok(Exit::Ok),
            Some(last) => {
                for fail in &refused {
                    context.out.say(fail.render().trim_end());
                }
                Err(last)
            }
        }
    }
}

/// A task that has failed and is tried again goes on as its newest retry: that is what is meant,
/// while it has not ended.
fn standing_for(context: &Context, id: TaskId) -> Result<TaskId, Fail> {
    let details = context.details(id)?;
    let newest = details.chain.last();
    let open =
        newest.filter(|newest| newest.chain.retry_of.is_some() && !newest.status().is_terminal());
    let has_failed = details.view.task.status() == TaskStatus::Failed;
    Ok(open.filter(|_| has_failed).map_or(id, |newest| newest.id))
}
