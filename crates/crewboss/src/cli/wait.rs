//! `wait`: stay until tasks have ended.

use std::{collections::BTreeMap, time::Duration};

use api_types::WaitDocument;
use domain::{
    id::TaskId,
    task::{Task, TaskStatus},
};

use crate::{
    context::Context,
    fail::{Exit, Fail, Outcome},
    interrupt::Interrupt,
    render::{count, document, duration},
};

/// How often the store is asked whether anything has changed.
const LOOK: Duration = Duration::from_millis(50);
/// How often lost sessions are looked for: each time costs a look at their processes.
const RECOVER_MILLIS: u64 = 2_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The tasks; all that have not ended where none is named
    #[arg(value_name = "ID")]
    tasks: Vec<String>,
    /// Until one of them has ended
    #[arg(long)]
    any: bool,
    /// Give up after so long: seconds, or 5m, 1h30m
    #[arg(long, value_name = "TIME", value_parser = duration::parse_positive)]
    timeout: Option<u32>,
}

/// What is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch {
    pub(super) any: bool,
    pub(super) timeout: Option<u32>,
    /// Whether a task that is tried again by itself has ended only when its last retry has.
    pub(super) retries: bool,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let mut ids = context.resolve_all(&self.tasks)?;
        if self.tasks.is_empty() {
            let open = context.all_tasks(&[TaskStatus::Pending, TaskStatus::Running], false)?;
            ids = open.iter().map(|task| task.id).collect();
        }
        if ids.is_empty() {
            context.out.line("No tasks to wait for.")?;
            context.out.print(&WaitDocument { tasks: vec![] })?;
            return Ok(Exit::Ok);
        }
        wait_for(
            context,
            &ids,
            Watch {
                any: self.any,
                timeout: self.timeout,
                retries: true,
            },
        )
    }
}

/// Stays until the tasks have ended.
pub(super) fn wait_for(context: &Context, ids: &[TaskId], watch: Watch) -> Outcome {
    let interrupt = Interrupt::listen()?;
    let clock = context.clock()?;
    let began = clock.now();
    let waited = || clock.now().millis_since(&began.moment).unwrap_or(u64::MAX);
    let mut said: BTreeMap<TaskId, TaskStatus> = BTreeMap::new();
    let (mut seen, mut recover_at, mut warned) = (None, 0, false);
    loop {
        if waited() >= recover_at {
            context.reconcile()?;
            recover_at = waited() + RECOVER_MILLIS;
            seen = None;
        }
        let generation = context.store()?.generation()?;
        if seen != Some(generation) {
            seen = Some(generation);
            let tasks = ends(context, ids, watch.retries)?;
            progress(context, &tasks, &mut said);
            let ended = tasks
                .iter()
                .filter(|task| task.status().is_terminal())
                .count();
            if ended == tasks.len() || (watch.any && ended > 0) {
                return conclude(context, &tasks);
            }
            warned = warned || warn_of_pending(context, &tasks);
        }
        if watch
            .timeout
            .is_some_and(|seconds| waited() >= u64::from(seconds) * 1_000)
        {
            let open = ends(context, ids, watch.retries)?
                .iter()
                .filter(|t| !t.status().is_terminal())
                .count();
            return Err(Fail::new(
                Exit::Timeout,
                format!(
                    "the time to wait is over; {} not ended",
                    count(open, "task")
                ),
            ));
        }
        if interrupt.pause(LOOK) {
            return Ok(Exit::Interrupted);
        }
    }
}

/// The tasks, each followed along its automatic retries where that is wanted.
fn ends(context: &Context, ids: &[TaskId], retries: bool) -> Result<Vec<Task>, Fail> {
    let mut tasks = Vec::with_capacity(ids.len());
    for id in ids {
        let mut task = context.details(*id)?.view.task;
        while let (true, Some(next)) = (retries && task.limits.auto_retry, task.chain.retried_by) {
            task = context.details(next)?.view.task;
        }
        tasks.push(task);
    }
    Ok(tasks)
}

fn progress(context: &Context, tasks: &[Task], said: &mut BTreeMap<TaskId, TaskStatus>) {
    for task in tasks {
        let status = task.status();
        if said.insert(task.id, status) != Some(status) && status != TaskStatus::Pending {
            let text = format!("{} is {}", task.id, status.as_str());
            if context.out.terminal {
                context.out.say(text);
            } else {
                context.out.info(text);
            }
        }
    }
}

/// Says that nothing starts what is pending, where that is so; answers whether it did.
fn warn_of_pending(context: &Context, tasks: &[Task]) -> bool {
    let pending = tasks
        .iter()
        .filter(|task| task.status() == TaskStatus::Pending)
        .count();
    let stuck = pending > 0 && !context.has_daemon();
    if stuck {
        let pending = count(pending, "task");
        context.out.warn(format_args!(
            "{pending} still pending, and nothing starts them: `crewboss run` or `crewboss daemon` does"
        ));
    }
    stuck
}

fn conclude(context: &Context, tasks: &[Task]) -> Outcome {
    for task in tasks {
        let why = task
            .failure()
            .map(|failure| format!(": {}", failure.message));
        let (id, status) = (task.id, task.status().as_str());
        context.out.line(format_args!(
            "Task {id} {status}{}",
            why.unwrap_or_default()
        ))?;
    }
    context.out.print(&WaitDocument {
        tasks: tasks.iter().map(document::task).collect(),
    })?;
    let is_bad = |task: &Task| matches!(task.status(), TaskStatus::Failed | TaskStatus::Cancelled);
    Ok(if tasks.iter().any(is_bad) {
        Exit::Failed
    } else {
        Exit::Ok
    })
}
