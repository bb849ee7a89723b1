//! Deleting tasks, and purging what was deleted.

use api_types::PurgedTask;
use app::{
    command::{Command, Output},
    purge::{PurgeError, Purger},
};
use domain::{
    id::TaskId,
    session::StopReason,
    task::{Task, TaskStatus},
};

use crate::{
    cli::expected::ExpectedVersion,
    context::{Context, unexpected},
    fail::{Exit, Fail},
    stop::{remove_workspaces, stop},
    wiring,
};

/// Others may start a task again and again while it is to be deleted.
const ATTEMPTS: usize = 5;

/// Deletes a task that can be brought back; one that runs is cancelled first. What its sessions left
/// on the machine goes, after their work was kept.
pub(crate) fn delete(
    context: &Context,
    id: TaskId,
    expected: ExpectedVersion,
) -> Result<Task, Fail> {
    let (mut left, mut expected) = (ATTEMPTS, expected);
    loop {
        let details = context.details(id)?;
        let command = Command::DeleteTask { task: id };
        if expected.is_stale(&details.view.task) {
            return deleted(context.change(expected.guard(id, command))?);
        }
        if details.view.task.status() == TaskStatus::Running {
            match stop(context, id, StopReason::Cancel, expected) {
                // It is no longer as it was seen, and that is our doing.
                Ok(_) => expected = ExpectedVersion::default(),
                // Its runner was quicker.
                Err(fail) if fail.exit == Exit::Conflict && expected.version().is_none() => {}
                Err(fail) => return Err(fail),
            }
        }
        remove_workspaces(context, &context.details(id)?)?;
        match context.change(expected.guard(id, command)) {
            Ok(output) => return deleted(output),
            Err(fail) if left == 0 || fail.exit != Exit::Conflict => return Err(fail),
            // Somebody may have started it meanwhile.
            Err(fail) => match context.details(id)?.view.task.status() {
                TaskStatus::Running => left -= 1,
                _ => return Err(fail),
            },
        }
    }
}

fn deleted(output: Output) -> Result<Task, Fail> {
    match output {
        Output::Task { task, .. } => Ok(*task),
        _ => Err(unexpected("delete")),
    }
}

/// What purges tasks of this project.
pub(crate) fn purger(context: &Context) -> Result<Purger, Fail> {
    let Some(project) = context.known_project()? else {
        return Err(Fail::new(Exit::NotFound, "there is no project here"));
    };
    Ok(Purger {
        store: context.store()?,
        workspaces: context.workspaces(),
        folders: context.folders(),
        layers: match context.places.layout {
            None => Some(wiring::layers()),
            Some(_) => None,
        },
        project,
        meta: context.meta(),
    })
}

/// Purges a deleted task, and says what is kept of its work.
pub(crate) fn purge(
    context: &Context,
    purger: &Purger,
    id: TaskId,
    expected: ExpectedVersion,
) -> Result<PurgedTask, Fail> {
    let purged = purger.purge_expecting(id, expected.version())?;
    let out = &context.out;
    for reference in &purged.kept {
        out.say(format_args!(
            "Kept {reference}: no branch has what is in it"
        ));
    }
    for folder in &purged.folders {
        out.say(format_args!(
            "Kept the folder {}: there is no other copy of it",
            folder.display()
        ));
    }
    Ok(PurgedTask {
        id,
        removed_references: purged.removed,
        kept_references: purged.kept,
        kept: purged.folders,
    })
}

impl From<PurgeError> for Fail {
    fn from(error: PurgeError) -> Self {
        match error {
            PurgeError::Store(error) => error.into(),
            PurgeError::Workspace(error) => error.into(),
            PurgeError::Folder(error) => error.into(),
        }
    }
}
