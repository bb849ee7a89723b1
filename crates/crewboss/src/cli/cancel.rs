//! `cancel`: end tasks and everything that they started.

use api_types::CancelDocument;
use domain::{session::StopReason, task::TaskStatus};

use crate::{
    context::Context,
    fail::{Exit, Fail, Outcome},
    render::document,
    stop::stop,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The tasks
    #[arg(value_name = "ID", required = true)]
    tasks: Vec<String>,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let ids = context.resolve_all(&self.tasks)?;
        context.reconcile()?;
        let mut cancelled = Vec::new();
        let mut refused: Vec<Fail> = Vec::new();
        for id in ids {
            match stop(context, id, StopReason::Cancel) {
                Ok(stopped) => {
                    let line = match (stopped.before, stopped.pid) {
                        (TaskStatus::Pending, _) => format!("Task {id} cancelled (was pending)."),
                        (_, Some(pid)) => format!("Task {id} cancelled (PID: {pid} terminated)."),
                        (_, None) => format!("Task {id} cancelled."),
                    };
                    context.out.line(line)?;
                    cancelled.push(document::task(&stopped.task));
                }
                Err(fail) => refused.push(fail),
            }
        }
        context.out.print(&CancelDocument { tasks: cancelled })?;
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
