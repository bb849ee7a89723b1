//! A runner speaks of its session; what that means for the task follows in the same transaction.

use domain::{
    failure::{Failure, FailureReason},
    id::SessionId,
    session::{Session, SessionCommand, SessionResult, StopReason},
    task::{Task, TaskCommand, TaskStatus},
};

use super::{Change, retry_task::create_successor};
use crate::{
    command::{Output, RecoveryPolicy},
    error::Error,
};

/// Applies what a runner, or whoever recovers its session, says.
///
/// Saying again that a session has ended changes nothing; everything else under a void fence is
/// [`Error::FenceLost`].
pub(crate) fn advance_session(
    change: &mut Change<'_>,
    id: SessionId,
    fence: u64,
    command: &SessionCommand,
    recovery: &RecoveryPolicy,
) -> Result<Output, Error> {
    let session = change.session(id)?;
    let ends = matches!(
        command,
        SessionCommand::Finish { .. } | SessionCommand::Orphan { .. }
    );
    if !ends {
        require_valid(change, &session, fence)?;
    }
    let (session, changed) = change.change_session(session, fence, command)?;
    if changed && ends {
        let counts = !matches!(command, SessionCommand::Orphan { counts: false, .. });
        end_task(change, &session, counts, recovery)?;
    }
    Ok(Output::Session {
        session: Box::new(session),
    })
}

/// Extends the lease of a session and answers what is wanted of it.
pub(crate) fn renew_lease(
    change: &mut Change<'_>,
    id: SessionId,
    fence: u64,
    lease_millis: u64,
) -> Result<Output, Error> {
    let session = change.session(id)?;
    require_valid(change, &session, fence)?;
    let expected = session.version;
    let renewed = Session {
        lease_until: change.now().moment.plus_millis(lease_millis),
        version: expected + 1,
        ..session
    };
    change.tx().update_session(&renewed, expected)?;
    Ok(Output::Session {
        session: Box::new(renewed),
    })
}

fn require_valid(change: &mut Change<'_>, session: &Session, fence: u64) -> Result<(), Error> {
    let task = change.task(session.task)?;
    let held = task.sessions().contains(&session.id);
    if held && fence == session.fence && fence == task.fence && !session.status.is_terminal() {
        return Ok(());
    }
    Err(Error::FenceLost {
        session: session.id.to_string(),
    })
}

/// What the end of a session means for its task; `counts` tells whether a loss is one of the task.
fn end_task(
    change: &mut Change<'_>,
    session: &Session,
    counts: bool,
    recovery: &RecoveryPolicy,
) -> Result<(), Error> {
    let task = change.task(session.task)?;
    if !task.sessions().contains(&session.id) {
        return Ok(());
    }
    let command = task_command(&task, session, counts, recovery);
    let task = change.change_task(task, &command)?;
    auto_retry(change, task, recovery)
}

fn task_command(
    task: &Task,
    session: &Session,
    counts: bool,
    recovery: &RecoveryPolicy,
) -> TaskCommand {
    let fence = session.fence;
    let known = session
        .outcome
        .as_ref()
        .map(|outcome| outcome.result.clone());
    let result = match (known, session.stop) {
        // Only work that was finished before it could be ended stands against going back.
        (Some(result), Some(StopReason::Rewind)) if result != SessionResult::Completed => None,
        // Ended to go back, and then for good.
        (None | Some(SessionResult::Stopped), Some(stop)) if stop != StopReason::Rewind => {
            Some(stop.result())
        }
        (known, _) => known,
    };
    let Some(result) = result else {
        return TaskCommand::Requeue {
            fence,
            requeues_max: recovery.requeues_max,
            counts: counts && session.stop.is_none(),
        };
    };
    match result {
        SessionResult::Completed => TaskCommand::Complete { fence },
        SessionResult::Failed { failure } | SessionResult::TimedOut { failure } => {
            TaskCommand::Fail { fence, failure }
        }
        SessionResult::Cancelled => TaskCommand::Cancel { fence: Some(fence) },
        SessionResult::Stopped => {
            let message = format!("{} left {}", session.agent, task.id);
            TaskCommand::Fail {
                fence,
                failure: Failure::new(FailureReason::Reported, message),
            }
        }
    }
}

/// A failure that asks for it is tried again by exactly one task, made in the same transaction.
pub(super) fn auto_retry(
    change: &mut Change<'_>,
    task: Task,
    recovery: &RecoveryPolicy,
) -> Result<(), Error> {
    let asked = task.limits.auto_retry
        && task.chain.retried_by.is_none()
        && task.chain.retry_count < task.limits.retries_max;
    let worth_it = task.status() == TaskStatus::Failed
        && task
            .failure()
            .is_some_and(|failure| failure.reason.is_retryable());
    if asked && worth_it {
        let limits = task.limits.clone();
        create_successor(change, task, limits, Some(&recovery.backoff), None)?;
    }
    Ok(())
}
