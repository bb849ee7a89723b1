//! `B/archive`: files of tasks that were put away, moved as they are and back.

use app::ports::folders::FolderError;
use domain::id::TaskId;

use crate::{dir::Dir, places};

/// Moves a task's files out of the way; the log and the plan too.
pub(crate) fn put_away(base: &Dir, id: TaskId) -> Result<(), FolderError> {
    let archive = base.made(places::ARCHIVE)?;
    for (folder, name) in files(id) {
        if let Some(folder) = base.existing(folder)? {
            folder.move_to(&name, &archive)?;
        }
    }
    Ok(())
}

/// Moves them back, the same bytes; what has a new file in its place stays away.
pub(crate) fn bring_back(base: &Dir, id: TaskId) -> Result<(), FolderError> {
    let Some(archive) = base.existing(places::ARCHIVE)? else {
        return Ok(());
    };
    for (folder, name) in files(id) {
        let folder = base.made(folder)?;
        if !folder.has(&name) {
            archive.move_to(&name, &folder)?;
        }
    }
    Ok(())
}

/// Removes what is in the archive of a task.
pub(crate) fn remove(base: &Dir, id: TaskId) -> Result<(), FolderError> {
    let Some(archive) = base.existing(places::ARCHIVE)? else {
        return Ok(());
    };
    for (_, name) in files(id) {
        archive.remove(&name)?;
    }
    Ok(())
}

/// The task's file last: while it is there the move is not over.
fn files(id: TaskId) -> [(&'static str, String); 3] {
    [
        (places::PLANS, places::plan_file(id)),
        (places::LOGS, places::log_file(id)),
        (places::TASKS, places::task_file(id)),
    ]
}
