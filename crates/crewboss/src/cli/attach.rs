//! `attach`: follow a running task until it ends.

use domain::task::TaskStatus;

use crate::{
    context::Context,
    fail::{Exit, Fail, Outcome},
    render::named,
};

use super::logs::{Record, follow};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The task
    #[arg(value_name = "ID")]
    task: String,
    /// The bytes as they are printed, where the agent speaks a protocol too
    #[arg(long)]
    raw: bool,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let id = context.resolve(&self.task)?;
        if context.out.json {
            return Err(Fail::usage("attach shows live output and has no --json")
                .hint("`crewboss logs ID --transcript --follow` prints JSON lines"));
        }
        let record = if self.raw { Record::Log } else { Record::Words };
        let exit = follow(context, id, record, None)?;
        if exit == Exit::Interrupted {
            context.out.say(format_args!(
                "{id} goes on; `crewboss attach {id}` comes back to it"
            ));
            return Ok(Exit::Ok);
        }
        let task = context.details(id)?.view.task;
        let why = task
            .failure()
            .map(|failure| format!(": {}", failure.message));
        let status = task.status();
        context.out.say(format_args!(
            "Task {} {}{}",
            named(&task),
            status.as_str(),
            why.unwrap_or_default()
        ));
        Ok(if status == TaskStatus::Completed {
            Exit::Ok
        } else {
            Exit::Failed
        })
    }
}
