//! Gives a task more time.

use domain::{
    id::TaskId,
    rejection::Rejected,
    session::{SessionCommand, SessionStatus},
    task::{Limits, TaskCommand},
    time::Due,
};

use super::Change;
use crate::{command::Output, error::Error};

/// Adds to the limit of a task, and moves the deadline of a session at work.
pub(crate) fn extend_timeout(
    change: &mut Change<'_>,
    id: TaskId,
    seconds: u32,
) -> Result<Output, Error> {
    let task = change.task(id)?;
    if seconds == 0 {
        return Err(Error::invalid("seconds", "is a number from 1"));
    }
    let Some(present) = task.limits.timeout_seconds else {
        let why = "it has no time limit";
        let state = task.status().as_str();
        return Err(Rejected::new(id, state, "extend its timeout", why).into());
    };
    let limits = Limits {
        timeout_seconds: Some(present.saturating_add(seconds)),
        ..task.limits.clone()
    };
    let sessions = task.sessions().to_vec();
    let task = change.change_task(task, &TaskCommand::ChangeLimits { limits })?;
    for session in sessions {
        let session = change.session(session)?;
        if session.status == SessionStatus::Running {
            let (fence, deadline) = (session.fence, later(session.deadline.as_ref(), seconds));
            change.change_session(session, fence, &SessionCommand::MoveDeadline { deadline })?;
        }
    }
    Ok(Output::Task {
        task: Box::new(task),
        queue_over: None,
    })
}

fn later(deadline: Option<&Due>, seconds: u32) -> Option<Due> {
    let millis = u64::from(seconds) * 1_000;
    deadline.map(|due| Due {
        wall: domain::time::Timestamp::from_millis(
            due.wall
                .as_millis()
                .saturating_add(i64::from(seconds) * 1_000),
        ),
        moment: due.moment.plus_millis(millis),
    })
}
