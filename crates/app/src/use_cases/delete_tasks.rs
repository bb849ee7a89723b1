//! Deletes tasks that have ended.

use domain::{
    id::TaskId,
    task::{Task, TaskCommand, TaskStatus},
};

use super::Change;
use crate::{command::Output, error::Error};

/// Deletes those that have ended and that nobody waits for; the others are left as they are and
/// out of the answer.
pub(crate) fn delete_tasks(change: &mut Change<'_>, ids: &[TaskId]) -> Result<Output, Error> {
    let mut deleted = Vec::new();
    for id in ids {
        let task = change.task(*id)?;
        if task.deleted_at.is_none() && task.status().is_terminal() && !is_needed(change, &task)? {
            change.change_task(task, &TaskCommand::Delete)?;
            deleted.push(*id);
        }
    }
    Ok(Output::Tasks { tasks: deleted })
}

/// Whether a waiting task would be stranded: it waits for the chain, and only a retry of this
/// task could complete that.
fn is_needed(change: &mut Change<'_>, task: &Task) -> Result<bool, Error> {
    if task.status() == TaskStatus::Completed || task.chain.retried_by.is_some() {
        return Ok(false);
    }
    for dependant in change.tx().dependants(task.chain.root)? {
        let waits = change.task(dependant)?.status() == TaskStatus::Pending;
        if waits {
            return Ok(true);
        }
    }
    Ok(false)
}
