//! `task executions`: each time that an agent worked on a task.

use api_types::{ExecutionsDocument, SessionDocument};
use domain::session::Session;

use crate::{
    context::Context,
    fail::{Exit, Outcome},
    render::{duration, table, task_details},
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
        let task = context.find(&self.task, self.include_deleted)?;
        context.reconcile()?;
        let sessions = context.details(task)?.sessions;
        let out = &context.out;
        out.print(&ExecutionsDocument {
            task,
            executions: sessions.iter().map(SessionDocument::from).collect(),
        })?;
        if sessions.is_empty() {
            out.line(format_args!("Nobody has worked on {task} yet."))?;
            return Ok(Exit::Ok);
        }
        let header = ["Session", "Agent", "Status", "Started", "Took", "Exit"];
        let rows: Vec<Vec<String>> = sessions.iter().map(row).collect();
        out.line(table::render(out, &header, &rows))?;
        Ok(Exit::Ok)
    }
}

fn row(session: &Session) -> Vec<String> {
    let outcome = session.outcome.as_ref();
    let started = session.started_at;
    let took = started.zip(outcome).map(|(started, outcome)| {
        let millis = outcome.ended_at.as_millis() - started.as_millis();
        duration::of_millis(u64::try_from(millis).unwrap_or(0))
    });
    let exit = outcome.and_then(|outcome| outcome.exit);
    vec![
        session.id.to_string(),
        session.agent.to_string(),
        session.status.as_str().to_owned(),
        started.map_or_else(|| "-".to_owned(), |at| at.to_string()),
        took.unwrap_or_else(|| "-".to_owned()),
        exit.map_or_else(|| "-".to_owned(), task_details::exit_text),
    ]
}
