//! Deletes tasks, brings them back, and removes for good what is left of them.

use std::collections::BTreeSet;

use domain::{
    id::{Key, SessionId, TaskId},
    rejection::Rejected,
    task::{Task, TaskCommand, TaskStatus},
};

use super::{Change, require_place};
use crate::{
    command::{Output, Rekey},
    error::Error,
    event::{Stream, StreamKind},
    query::{Deleted, TaskFilter},
};

/// Tasks that are read at once.
const PAGE: usize = 1_000;

/// Deletes those that have ended and that nobody waits for; the others are left as they are and
/// out of the answer.
pub(crate) fn delete_tasks(change: &mut Change<'_>, ids: &[TaskId]) -> Result<Output, Error> {
    let mut deleted = Vec::new();
    for id in ids {
        let task = change.task(*id)?;
        let may = task.deleted_at.is_none() && task.status().is_terminal();
        if may && waits_for(change, &task)?.is_none() {
            change.change_task(task, &TaskCommand::Delete)?;
            deleted.push(*id);
        }
    }
    Ok(Output::Tasks { tasks: deleted })
}

/// Deletes one, also one that waits for its turn. One that is deleted already stays so.
pub(crate) fn delete_task(change: &mut Change<'_>, id: TaskId) -> Result<Output, Error> {
    let task = change.task(id)?;
    if task.deleted_at.is_none()
        && let Some(waiting) = waits_for(change, &task)?
    {
        let why = format!("{waiting} waits for it: cancel or delete that one first");
        let state = task.status().as_str();
        return Err(Rejected::new(id, state, "delete", &why).into());
    }
    Ok(one(change.change_task(task, &TaskCommand::Delete)?))
}

/// Brings a deleted one back as it was, with its key where nobody has that meanwhile.
pub(crate) fn undelete_task(
    change: &mut Change<'_>,
    id: TaskId,
    rekey: &Rekey,
) -> Result<Output, Error> {
    let task = change.task(id)?;
    let key = match rekey {
        Rekey::Same => task.spec.key.clone(),
        Rekey::Without => None,
        Rekey::To { key } => Some(
            Key::try_from(key.clone()).map_err(|error| Error::invalid("key", error.to_string()))?,
        ),
    };
    if let (Some(_), Some(key)) = (task.deleted_at, &key)
        && change.tx().task_of_key(task.project, key)?.is_some()
    {
        return Err(Error::Exists {
            what: "a task with the key".to_owned(),
            name: key.to_string(),
        });
    }
    if task.deleted_at.is_some() && task.status() == TaskStatus::Pending {
        require_place(change, task.project, &task.spec.owner)?;
    }
    let task = change.change_task(task, &TaskCommand::Undelete { key })?;
    Ok(one(task))
}

/// Removes what somebody wrote of deleted tasks: what they were to do, what their sessions said, and
/// the contents of their events. What is purged already is left out of the answer.
///
/// # Errors
/// Where one of them is not deleted, or a task that has not ended goes on from it: then none is.
pub(crate) fn purge_tasks(change: &mut Change<'_>, ids: &[TaskId]) -> Result<Output, Error> {
    let mut purged = Vec::new();
    let mut users: Option<Vec<(TaskId, SessionId)>> = None;
    for id in ids {
        let task = change.task(*id)?;
        if task.purged_at.is_some() {
            continue;
        }
        let sessions = change.tx().sessions_of(*id)?;
        if task.deleted_at.is_some() {
            let known = match users.take() {
                Some(known) => known,
                None => going_on(change)?,
            };
            let own: BTreeSet<SessionId> = sessions.iter().map(|session| session.id).collect();
            let user = known.iter().find(|(_, from)| own.contains(from));
            if let Some((user, _)) = user {
                let why = format!("{user} goes on from it and has not ended");
                return Err(Rejected::new(id, "deleted", "purge", &why).into());
            }
            users = Some(known);
        }
        change.drop_payloads(StreamKind::Task, id.number())?;
        change.change_task(task, &TaskCommand::Purge)?;
        for session in sessions {
            change.drop_payloads(StreamKind::Session, session.id.number())?;
            change.purge_session(session)?;
        }
        purged.push(*id);
    }
    Ok(Output::Tasks { tasks: purged })
}

/// Tasks that have not ended, with the session that they go on from.
fn going_on(change: &mut Change<'_>) -> Result<Vec<(TaskId, SessionId)>, Error> {
    let mut found = Vec::new();
    let mut filter = TaskFilter {
        statuses: vec![TaskStatus::Pending, TaskStatus::Running],
        deleted: Deleted::With,
        ..TaskFilter::default()
    };
    loop {
        let tasks = change.tx().tasks(&filter, PAGE)?;
        filter.after = tasks.last().map(|task| task.id);
        let is_last = tasks.len() < PAGE;
        let uses = tasks.iter().filter_map(|task| {
            let from = task.spec.continues.as_ref()?;
            Some((task.id, from.session))
        });
        found.extend(uses);
        if is_last {
            return Ok(found);
        }
    }
}

/// The task that would be stranded: it waits for the chain, and only this task, or a retry of it,
/// could complete that.
fn waits_for(change: &mut Change<'_>, task: &Task) -> Result<Option<TaskId>, Error> {
    if task.status() == TaskStatus::Completed || task.chain.retried_by.is_some() {
        return Ok(None);
    }
    for dependant in change.tx().dependants(task.chain.root)? {
        if change.task(dependant)?.status() == TaskStatus::Pending {
            return Ok(Some(dependant));
        }
    }
    Ok(None)
}

fn one(task: Task) -> Output {
    Output::Task {
        task: Box::new(task),
        queue_over: None,
    }
}

impl Change<'_> {
    fn drop_payloads(&mut self, kind: StreamKind, id: u64) -> Result<(), Error> {
        self.tx().drop_payloads(Stream { kind, id })
    }
}
