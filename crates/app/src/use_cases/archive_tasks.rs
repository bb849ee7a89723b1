//! Takes tasks that have ended out of the ordinary lists, or puts them back.

use domain::{id::TaskId, task::TaskCommand};

use super::Change;
use crate::{command::Output, error::Error};

/// Archives or restores; what is so already is left out of the answer.
pub(crate) fn archive_tasks(
    change: &mut Change<'_>,
    ids: &[TaskId],
    archived: bool,
) -> Result<Output, Error> {
    let mut moved = Vec::new();
    for id in ids {
        let task = change.task(*id)?;
        let version = task.version;
        let task = change.change_task(task, &TaskCommand::Archive { archived })?;
        if task.version != version {
            moved.push(*id);
        }
    }
    Ok(Output::Tasks { tasks: moved })
}
