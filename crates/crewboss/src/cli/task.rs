//! `task`: look for tasks, delete them, and speak for an agent outside that holds one.

mod complete;
mod delete;
mod executions;
mod find;
mod stats;

use app::command::{Command, Output};
use domain::{
    agent::AgentName,
    failure::{Failure, FailureReason},
};

use super::expected::ExpectedVersion;
use crate::{
    context::{Context, unexpected},
    fail::{Exit, Outcome},
    render::document,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List tasks, the newest first, or those that hold a text
    #[command(visible_alias = "list")]
    Find(find::Args),
    /// Count tasks by status, owner and agent
    Stats(stats::Args),
    /// List each time that an agent worked on a task
    Executions(executions::Args),
    /// Delete tasks, so that they can be brought back; one that runs is cancelled first
    Delete(delete::Args),
    /// Bring deleted tasks back as they were
    Undelete(delete::Undelete),
    /// Remove for good what deleted tasks hold; without ID, of those deleted long enough ago
    Purge(delete::Purge),
    /// Queue a task that agents outside attach to (as `start --external`)
    Create(Box<super::start::Args>),
    /// Make an agent outside the holder of a task
    Attach {
        /// The task
        #[arg(value_name = "ID")]
        task: String,
        /// The agent
        #[arg(long, value_name = "NAME")]
        agent: AgentName,
        #[command(flatten)]
        expected: ExpectedVersion,
    },
    /// Let an agent leave; the task waits for the next
    Detach {
        /// The task
        #[arg(value_name = "ID")]
        task: String,
        /// The agent; needed where several hold it
        #[arg(long, value_name = "NAME")]
        agent: Option<AgentName>,
        #[command(flatten)]
        expected: ExpectedVersion,
    },
    /// Say that the task is done
    ///
    /// The gates of the project and of the task run first, in the project's folder. Where a required
    /// one does not pass, the task stays with its holder.
    Complete(complete::Args),
    /// Say that the task has failed
    Fail {
        /// The task
        #[arg(value_name = "ID")]
        task: String,
        /// Why
        #[arg(long, short, value_name = "TEXT", default_value = "reported as failed")]
        message: String,
        /// More about it; `-` reads standard input
        #[arg(long, value_name = "TEXT")]
        details: Option<String>,
        /// The agent that says so; needed where several hold it
        #[arg(long, value_name = "NAME")]
        agent: Option<AgentName>,
        #[command(flatten)]
        expected: ExpectedVersion,
    },
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        match self.verb {
            Verb::Find(args) => args.run(context),
            Verb::Stats(args) => args.run(context),
            Verb::Executions(args) => args.run(context),
            Verb::Delete(args) => args.run(context),
            Verb::Undelete(args) => args.run(context),
            Verb::Purge(args) => args.run(context),
            Verb::Create(args) => args.external().run(context),
            Verb::Attach {
                task,
                agent,
                expected,
            } => attach(context, &task, agent, expected),
            Verb::Detach {
                task,
                agent,
                expected,
            } => detach(context, &task, agent, expected),
            Verb::Complete(args) => args.run(context),
            Verb::Fail {
                task,
                message,
                details,
                agent,
                expected,
            } => {
                let failure = Failure::new(FailureReason::Reported, message);
                let details = details.map(|text| complete::summary_of(context, &text));
                let failure = match details.transpose()? {
                    Some(details) => failure.with_details(details),
                    None => failure,
                };
                fail(context, &task, agent, failure, expected)
            }
        }
    }
}

fn attach(context: &Context, name: &str, agent: AgentName, expected: ExpectedVersion) -> Outcome {
    let task = context.resolve(name)?;
    let lease_millis = context
        .config()?
        .settings
        .external
        .lease_seconds
        .saturating_mul(1_000);
    let launcher = context.processes()?.own_identity();
    let command = Command::Attach {
        task,
        agent,
        launcher,
        lease_millis,
    };
    let command = expected.guard(task, command);
    let Output::Session { session } = context.change(command)? else {
        return Err(unexpected("attach"));
    };
    context.out.line(format_args!(
        "{} holds task {task} as {}.",
        session.agent, session.id
    ))?;
    context
        .out
        .print(&api_types::SessionDocument::from(&*session))?;
    Ok(Exit::Ok)
}

fn detach(
    context: &Context,
    name: &str,
    agent: Option<AgentName>,
    expected: ExpectedVersion,
) -> Outcome {
    let task = context.resolve(name)?;
    let command = expected.guard(task, Command::Detach { task, agent });
    let Output::Task { task, .. } = context.change(command)? else {
        return Err(unexpected("detach"));
    };
    context.out.line(format_args!(
        "Task {} is {}.",
        task.id,
        task.status().as_str()
    ))?;
    context.out.print(&document::task(&task))?;
    Ok(Exit::Ok)
}

fn fail(
    context: &Context,
    name: &str,
    agent: Option<AgentName>,
    failure: Failure,
    expected: ExpectedVersion,
) -> Outcome {
    let task = context.resolve(name)?;
    let end = complete::End {
        failure: Some(failure),
        expected,
        ..complete::End::default()
    };
    let task = complete::end_task(context, task, agent, end)?;
    let (id, status) = (task.id, task.status().as_str());
    context.out.line(format_args!("Task {id} {status}."))?;
    context.out.print(&document::task(&task))?;
    Ok(Exit::Ok)
}
