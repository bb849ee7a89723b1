//! Ends a task: at once where nobody works on it, else through its session.

use domain::{
    id::TaskId,
    rejection::Rejected,
    session::{Outcome, SessionCommand, SessionKind, SessionResult, SessionStatus, StopReason},
    task::TaskCommand,
};

use super::Change;
use crate::{command::Output, error::Error};

/// Records that a task is to end. A session whose runner has not spoken yet ends here.
pub(crate) fn stop_task(
    change: &mut Change<'_>,
    id: TaskId,
    reason: StopReason,
) -> Result<Output, Error> {
    let task = change.task(id)?;
    if reason == StopReason::Rewind {
        let why = "only going back to a checkpoint ends a session for that";
        return Err(Rejected::new(id, task.status().as_str(), "stop", why).into());
    }
    let mut told = None;
    for session in task.sessions().to_vec() {
        let session = change.session(session)?;
        let fence = session.fence;
        let unstarted =
            session.kind == SessionKind::External || session.status == SessionStatus::Queued;
        let (session, _) =
            change.change_session(session, fence, &SessionCommand::Stop { reason })?;
        if unstarted {
            let outcome = Box::new(Outcome::bare(reason.result(), change.now().wall));
            change.change_session(session, fence, &SessionCommand::Finish { outcome })?;
        } else {
            told = Some(Box::new(session));
        }
    }
    if told.is_none() {
        let fence = (!task.sessions().is_empty()).then_some(task.fence);
        let command = match (reason.result(), fence) {
            (SessionResult::TimedOut { failure }, Some(fence)) => {
                TaskCommand::Fail { fence, failure }
            }
            _ => TaskCommand::Cancel { fence },
        };
        let task = change.change_task(task, &command)?;
        return Ok(Output::Stopping {
            task: Box::new(task),
            session: None,
        });
    }
    Ok(Output::Stopping {
        task: Box::new(task),
        session: told,
    })
}
