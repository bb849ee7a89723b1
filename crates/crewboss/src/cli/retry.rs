//! `retry`: try a failed task again, as a new task.

use app::command::{Command, Output};
use domain::task::TaskStatus;

use super::expected::ExpectedVersion;
use crate::{
    context::{Context, unexpected},
    fail::{Exit, Fail, Outcome},
    launch::{Wanted, launch},
    render::document,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The failed task
    #[arg(value_name = "ID")]
    task: String,
    /// Retries that the chain may have from now on
    #[arg(value_name = "MAX_RETRIES")]
    retries: Option<u32>,
    /// The same as an option
    #[arg(long, value_name = "N", conflicts_with = "retries")]
    max_retries: Option<u32>,
    /// Try again by itself after further failures
    #[arg(long)]
    auto: bool,
    /// Go on from what the failed attempt left, its conversation too where the agent can, rather
    /// than from the beginning
    #[arg(long = "continue")]
    continues: bool,
    /// Start the new task at once
    #[arg(long)]
    run: bool,
    #[command(flatten)]
    expected: ExpectedVersion,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let id = context.resolve(&self.task)?;
        context.reconcile()?;
        let old = context.details(id)?.view.task;
        let is_stale = self.expected.is_stale(&old);
        if old.status() != TaskStatus::Failed && !is_stale {
            let status = old.status().as_str();
            let message = format!("Task {id} is not in failed state (current: {status}).");
            return Err(
                Fail::new(Exit::Conflict, message).hint("Only failed tasks can be retried.")
            );
        }
        let retries_max = self.max_retries.or(self.retries);
        let limit = retries_max.unwrap_or(old.limits.retries_max);
        if !is_stale && old.chain.retried_by.is_none() && old.chain.retry_count >= limit {
            let count = old.chain.retry_count;
            let message = format!("Task {id} has reached max retries ({count}/{limit}).");
            return Err(Fail::new(Exit::Conflict, message)
                .hint("Cannot retry. Raise the limit with --max-retries."));
        }
        let auto_retry = self.auto.then_some(true);
        let command = Command::RetryTask {
            task: id,
            retries_max,
            auto_retry,
            continues: self.continues,
        };
        let Output::Task { task, .. } = context.change(self.expected.guard(id, command))? else {
            return Err(unexpected("retry"));
        };
        let out = &context.out;
        let (new, count, max) = (task.id, task.chain.retry_count, task.limits.retries_max);
        out.line(format_args!(
            "Task {new} created as retry for {id} (attempt {count}/{max})"
        ))?;
        if task.limits.auto_retry {
            out.line("Auto-retry enabled - will automatically retry on future failures")?;
        }
        out.print(&document::task(&task))?;
        if !self.run {
            if out.terminal {
                out.say(format_args!("hint: `crewboss run {new}` starts it"));
            }
            return Ok(Exit::Ok);
        }
        let project = context.ensure_project()?;
        let launches = launch(context, &project, Wanted::Task(new))?;
        for one in &launches.started {
            out.line(format_args!(
                "Started task {new} (PID: {}).",
                one.runner.pid
            ))?;
        }
        for (_, why) in &launches.failed {
            out.say(format_args!("Error starting task: {why}"));
        }
        Ok(launches.exit())
    }
}
