//! `timeout`: end a task as timed out, or look after time limits.

use api_types::TimeoutsDocument;
use app::{
    command::{Command, Output},
    overview::TaskLine,
    query::TaskView,
};
use domain::{
    failure::FailureReason,
    session::StopReason,
    task::{Task, TaskStatus},
    time::Now,
};

use super::expected::ExpectedVersion;
use crate::{
    context::{Context, unexpected},
    fail::{Exit, Fail, Outcome},
    render::{document, duration, symbols::Symbol, table, task_table},
    stop::stop,
};

/// A task with less of its time left than this part of it is shown with a warning.
const WARN_PART: u64 = 5;
/// And with less than so many seconds, with both signs.
const WARN_SECONDS: u64 = 60;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    /// The running task that is to end as timed out
    #[arg(value_name = "ID")]
    task: Option<String>,
    #[command(flatten)]
    expected: ExpectedVersion,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List tasks with a time limit
    List,
    /// Give a task more time, a running one too
    Extend {
        /// The task
        #[arg(value_name = "ID")]
        task: String,
        /// Seconds to add, or 5m, 1h30m
        #[arg(value_name = "TIME", allow_hyphen_values = true)]
        seconds: String,
        #[command(flatten)]
        expected: ExpectedVersion,
    },
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        match (self.verb, self.task) {
            (Some(Verb::List), _) => list(context),
            (
                Some(Verb::Extend {
                    task,
                    seconds,
                    expected,
                }),
                _,
            ) => extend(context, &task, &seconds, expected),
            (None, Some(task)) => end(context, &task, self.expected),
            (None, None) => Err(
                Fail::usage("say which task, or `list`, or `extend ID TIME`")
                    .hint("`crewboss timeout --help` says more"),
            ),
        }
    }
}

fn end(context: &Context, name: &str, expected: ExpectedVersion) -> Outcome {
    let id = context.resolve(name)?;
    context.reconcile()?;
    let task = context.details(id)?.view.task;
    let status = task.status();
    if status != TaskStatus::Running && !expected.is_stale(&task) {
        let message = format!(
            "Task {id} is not running (current status: {}).",
            status.as_str()
        );
        return Err(Fail::new(Exit::Conflict, message));
    }
    let stopped = stop(context, id, StopReason::ManualTimeout, expected)?;
    let pid = stopped
        .pid
        .map(|pid| format!(" (PID: {pid} terminated)"))
        .unwrap_or_default();
    context.out.line(format_args!("Task {id} timed out{pid}"))?;
    context.out.print(&document::task(&stopped.task))?;
    Ok(Exit::Ok)
}

fn extend(context: &Context, name: &str, seconds: &str, expected: ExpectedVersion) -> Outcome {
    let extend_seconds = duration::parse_positive(seconds)
        .map_err(|problem| Fail::usage(format!("TIME: {problem}")))?;
    let id = context.resolve(name)?;
    context.reconcile()?;
    let before = context.details(id)?.view;
    let command = Command::SetTimeout {
        task: id,
        extend_seconds,
    };
    let Output::Task { task, .. } = context.change(expected.guard(id, command))? else {
        return Err(unexpected("extend"));
    };
    if let Some(session) = before
        .session
        .filter(|session| !session.status.is_terminal())
    {
        // The runner also hears of it with its next renewal.
        if crate::wiring::runners(&context.places)
            .poke(session.id)
            .is_err()
        {
            context
                .out
                .debug(format_args!("the runner of {} does not answer", session.id));
        }
    }
    let limit = task.limits.timeout_seconds.unwrap_or_default();
    let text = duration::text(u64::from(limit));
    context.out.line(format_args!(
        "Extended timeout for task {id} by {extend_seconds}s (new limit: {limit}s, {text})"
    ))?;
    context.out.print(&document::task(&task))?;
    Ok(Exit::Ok)
}

fn list(context: &Context) -> Outcome {
    context.reconcile()?;
    let now = context.clock()?.now();
    let out = &context.out;
    let tasks = limited(context)?;
    let documents: Vec<_> = tasks.iter().map(document::view).collect();
    out.print(&TimeoutsDocument { tasks: documents })?;
    if tasks.is_empty() {
        out.line("No tasks with timeouts found.")?;
        return Ok(Exit::Ok);
    }
    let names = task_table::names(out, tasks.iter().map(|view| view.task.id));
    let rows: Vec<Vec<String>> = tasks
        .iter()
        .zip(names)
        .map(|(view, name)| row(out.unicode, view, name, &now))
        .collect();
    let header = ["ID", "Status", "Timeout", "Elapsed", "Remaining", "State"];
    out.line(table::render(out, &header, &rows))?;
    let running = tasks
        .iter()
        .filter(|view| view.task.status() == TaskStatus::Running)
        .count();
    let timed_out = tasks.iter().filter(|view| is_timed_out(&view.task)).count();
    out.line(format_args!(
        "\nTotal with timeouts: {} | Running: {running} | Timed out: {timed_out}",
        tasks.len()
    ))?;
    Ok(Exit::Ok)
}

fn limited(context: &Context) -> Result<Vec<TaskView>, Fail> {
    let all = context.listed_tasks()?;
    all.into_iter()
        .filter(|task| task.limits.timeout_seconds.is_some())
        .map(|task| context.details(task.id).map(|details| details.view))
        .collect()
}

fn is_timed_out(task: &Task) -> bool {
    task.failure()
        .is_some_and(|failure| failure.reason == FailureReason::Timeout)
}

fn row(unicode: bool, view: &TaskView, name: String, now: &Now) -> Vec<String> {
    let task = &view.task;
    let limit = u64::from(task.limits.timeout_seconds.unwrap_or_default());
    let short = TaskLine::from(view);
    let elapsed = task_table::elapsed(&short, now);
    let left = task_table::seconds_left(&short, now);
    let remaining = match left {
        Some(0) => "OVERDUE".to_owned(),
        Some(left) => duration::text(left),
        None => "-".to_owned(),
    };
    let state = match (task.status(), left) {
        (TaskStatus::Running, Some(left)) if left < WARN_SECONDS => {
            Symbol::NearTimeout.text(unicode).to_owned()
        }
        (TaskStatus::Running, Some(left)) if left < limit / WARN_PART => {
            Symbol::Warning.text(unicode).to_owned()
        }
        _ if is_timed_out(task) => {
            let (failed, clock) = (Symbol::Failed.text(unicode), Symbol::Running.text(unicode));
            format!("{failed}{clock}")
        }
        (status, _) => Symbol::of(status).text(unicode).to_owned(),
    };
    vec![
        name,
        task.status().as_str().to_owned(),
        duration::text(limit),
        elapsed.map_or_else(|| "-".to_owned(), duration::text),
        remaining,
        state,
    ]
}
