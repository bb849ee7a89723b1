//! Tries a failed task again, as a new one.

use domain::{
    id::TaskId,
    retry::Backoff,
    task::{Continuation, Limits, Task, TaskCommand, TaskStatus},
};

use super::{Change, continuation, require_place};
use crate::{command::Output, error::Error, ports::store::IdKind};

/// Makes the next task of a chain.
pub(crate) fn retry_task(
    change: &mut Change<'_>,
    id: TaskId,
    retries_max: Option<u32>,
    auto_retry: Option<bool>,
    continues: bool,
) -> Result<Output, Error> {
    let task = change.task(id)?;
    let limits = Limits {
        retries_max: retries_max.unwrap_or(task.limits.retries_max),
        auto_retry: auto_retry.unwrap_or(task.limits.auto_retry),
        ..task.limits.clone()
    };
    let continues = continues.then(|| continuation(change, id)).transpose()?;
    // A retry that comes by itself is never refused: the failure before it has to be stored.
    if task.status() == TaskStatus::Failed {
        require_place(change, task.project, &task.spec.owner)?;
    }
    let next = create_successor(change, task, limits, None, continues)?;
    Ok(Output::Task {
        task: Box::new(next),
        queue_over: None,
    })
}

/// Marks a failed task as retried and queues its successor, together or not at all.
pub(super) fn create_successor(
    change: &mut Change<'_>,
    task: Task,
    limits: Limits,
    wait: Option<&Backoff>,
    continues: Option<Continuation>,
) -> Result<Task, Error> {
    let number = change.tx().next_number(IdKind::Task)?;
    let id = TaskId::from_number(number).ok_or_else(|| Error::corrupt("ids are used up"))?;
    let mut next = task.successor(id, limits, wait, &change.now());
    // Without a wish of its own it begins where the failed one began.
    if continues.is_some() {
        next.spec.continues = continues;
    }
    let retries_max = next.limits.retries_max;
    change.change_task(
        task,
        &TaskCommand::Retry {
            by: id,
            retries_max,
        },
    )?;
    change.create_task(&next)?;
    Ok(next)
}
