//! Ends tasks, and stays until nothing of them is left.

use std::{path::PathBuf, time::Duration};

use app::{
    command::{Command, Output},
    query::TaskDetails,
};
use domain::{
    id::TaskId,
    process::ProcessIdentity,
    session::{Session, StopReason},
    task::{Task, TaskStatus},
};

use crate::{
    cli::expected::ExpectedVersion,
    context::{Context, unexpected},
    fail::{Exit, Fail},
    wiring,
};

/// How long a runner may take beyond the grace of its agent: its commit and salvage.
const SETTLING: Duration = Duration::from_mins(1);
/// How often the end is looked for where no process is left to wait for.
const LOOK: Duration = Duration::from_millis(20);

/// What came of it.
#[derive(Debug)]
pub(crate) struct Stopped {
    pub(crate) before: TaskStatus,
    pub(crate) task: Task,
    /// The process that was ended: the agent's, else the runner's.
    pub(crate) pid: Option<u32>,
}

/// Ends a task for a reason.
///
/// # Errors
/// Where it has ended already, or does not end in time.
pub(crate) fn stop(
    context: &Context,
    id: TaskId,
    reason: StopReason,
    expected: ExpectedVersion,
) -> Result<Stopped, Fail> {
    let before = context.details(id)?.view;
    if before.task.status().is_terminal() && !expected.is_stale(&before.task) {
        let status = before.task.status().as_str();
        let message = match reason {
            StopReason::Cancel | StopReason::Rewind => {
                format!("Task {id} is already {status} and cannot be cancelled.")
            }
            StopReason::ManualTimeout => {
                format!("Task {id} is not running (current status: {status}).")
            }
        };
        return Err(Fail::new(Exit::Conflict, message));
    }
    let status = before.task.status();
    let command = Command::StopTask { task: id, reason };
    match context.change(expected.guard(id, command))? {
        Output::Stopping {
            task,
            session: None,
        } => {
            let pid = before
                .session
                .as_ref()
                .and_then(process)
                .map(|process| process.pid);
            Ok(Stopped {
                before: status,
                task: *task,
                pid,
            })
        }
        Output::Stopping {
            session: Some(session),
            ..
        } => {
            if !crate::layout::end_foreign(context, &session)? {
                wait_until_gone(context, (*session).clone())?;
            }
            let session = context.session(session.id)?;
            crate::layout::show_stopped(context, &session)?;
            let pid = process(&session).map(|process| process.pid);
            let task = context.details(id)?.view.task;
            Ok(Stopped {
                before: status,
                task,
                pid,
            })
        }
        _ => Err(unexpected("stop")),
    }
}

fn process(session: &Session) -> Option<&ProcessIdentity> {
    session.process.as_ref().or(session.runner.as_ref())
}

/// Tells the runner at once, and waits for its end: it ends the agent, keeps the work, and tells
/// the store. A runner that is gone is replaced by recovery.
pub(crate) fn wait_until_gone(context: &Context, session: Session) -> Result<Session, Fail> {
    let processes = context.processes()?;
    let clock = context.clock()?;
    let run = &context.config()?.settings.run;
    let grace = run.cancel_grace_seconds.max(run.timeout_grace_seconds);
    let patience = SETTLING + Duration::from_secs(u64::from(grace));
    let due = clock
        .now()
        .after_millis(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX));
    if wiring::runners(&context.places).poke(session.id).is_err() {
        context
            .out
            .debug(format_args!("the runner of {} does not answer", session.id));
    }
    let mut current = session;
    loop {
        current = context.session(current.id)?;
        if current.status.is_terminal() && processes.members(current.id).is_empty() {
            return Ok(current);
        }
        if due.has_come(&clock.now()) {
            let id = current.id;
            return Err(Fail::new(Exit::Timeout, format!("{id} has not ended yet"))
                .hint("it is told to stop and will; `crewboss status` shows when"));
        }
        if let Some(runner) = current
            .runner
            .as_ref()
            .filter(|runner| processes.is_alive(runner))
        {
            drop(processes.wait_any(std::slice::from_ref(runner), LOOK));
        } else {
            context.reconcile()?;
            std::thread::sleep(LOOK);
        }
    }
}

/// Removes what sessions of a task left on this machine; work that is nowhere else is kept in the
/// repository first.
pub(crate) fn remove_workspaces(
    context: &Context,
    details: &TaskDetails,
) -> Result<Vec<PathBuf>, Fail> {
    use app::ports::workspaces::Removed;
    let workspaces = context.workspaces();
    let mut kept = Vec::new();
    for session in &details.sessions {
        let Some(record) = &session.workspace else {
            continue;
        };
        if !record.path.exists() && record.repository.is_none() {
            continue;
        }
        match workspaces.remove(record, session.id)? {
            Removed::Gone(Some(salvage)) => {
                context.out.info(format_args!(
                    "work of {} kept in {}",
                    session.id, salvage.reference
                ));
            }
            Removed::Kept(path) if path != context.places.project => kept.push(path),
            Removed::Gone(None) | Removed::Kept(_) => {}
        }
    }
    Ok(kept)
}
