//! Deletes tasks that have ended.

use domain::{id::TaskId, task::TaskCommand};

use super::Change;
use crate::{command::Output, error::Error};

/// Deletes those that have ended; the others are left as they are and out of the answer.
pub(crate) fn delete_tasks(change: &mut Change<'_>, ids: &[TaskId]) -> Result<Output, Error> {
    let mut deleted = Vec::new();
    for id in ids {
        let task = change.task(*id)?;
        if task.status().is_terminal() && task.deleted_at.is_none() {
            change.change_task(task, &TaskCommand::Delete)?;
            deleted.push(*id);
        }
    }
    Ok(Output::Tasks { tasks: deleted })
}
