//! What a task goes on from when it does not begin anew.

use domain::{
    id::TaskId,
    rejection::Rejected,
    task::{Continuation, TaskStatus},
};

use super::Change;
use crate::error::Error;

/// What the newest attempt of a task left: its commit, published or salvaged, and its conversation.
///
/// # Errors
/// While somebody works on the task, and where nobody ever has.
pub(super) fn continuation(change: &mut Change<'_>, id: TaskId) -> Result<Continuation, Error> {
    let task = change.task(id)?;
    let state = task.status();
    let rejected = |why: &str| Rejected::new(id, state.as_str(), "continue", why);
    if state == TaskStatus::Running {
        return Err(rejected("somebody works on it").into());
    }
    let sessions = change.tx().sessions_of(id)?;
    let newest = sessions
        .into_iter()
        .rev()
        .find(|session| session.status.is_terminal());
    let Some(session) = newest else {
        return Err(rejected("it has left nothing to go on from").into());
    };
    Ok(Continuation {
        session: session.id,
        commit: session.outcome.and_then(|outcome| outcome.commit),
        checkpoint: None,
        rewound: None,
    })
}
