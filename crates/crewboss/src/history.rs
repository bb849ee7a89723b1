//! Logs of tasks, brought up to what the store knows. The store is the truth; a log is made from it
//! and may be made again.

use std::path::Path;

use app::{
    error::Error,
    history::entry,
    ports::{
        folders::{FolderError, Folders},
        journal::{Journal, Projected},
        layers::Layers,
        store::Store,
    },
    purge::PurgeError,
    query::{Query, View},
};
use domain::id::{ProjectId, TaskId};

use crate::fail::{Exit, Fail};

/// Events that are read in one go: some of them carry a prompt.
pub(crate) const PAGE: usize = 64;

/// Others append at the same time, and a hand may remove the file.
const ATTEMPTS: usize = 5;

/// Why a log is behind.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Behind {
    #[error("the store cannot be read")]
    Store(#[from] Error),
    #[error("the folder cannot be written")]
    Folder(#[from] FolderError),
    #[error("what is left of the task cannot be kept")]
    Rest(#[from] PurgeError),
    #[error("its log is changed by another program over and over")]
    Restless,
}

impl Behind {
    /// All of it in one line.
    pub(crate) fn reason(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}

impl From<Behind> for Fail {
    fn from(behind: Behind) -> Self {
        Self::caused(Exit::Unavailable, "the task's log is behind", &behind)
    }
}

/// Takes back what was written into the folder of a task that was purged meanwhile: whoever purged it
/// may have removed the folder before.
pub(crate) fn take_back_if_purged(
    store: &dyn Store,
    folders: &dyn Folders,
    root: &Path,
    task: TaskId,
) -> Result<(), Behind> {
    let View::Tasks { tasks } = store.read(&Query::TasksOf { ids: vec![task] })? else {
        return Ok(());
    };
    if tasks.iter().any(|task| task.purged_at.is_some()) {
        folders.remove_task(root, task)?;
    }
    Ok(())
}

/// Appends to a task's log what the store knows and the log does not. At the end it holds every
/// event that was committed before the call.
pub(crate) fn bring_up(
    store: &dyn Store,
    journal: &dyn Journal,
    root: &Path,
    task: TaskId,
) -> Result<(), Behind> {
    let after = journal.projected(root, task)?;
    bring_up_from(after, store, journal, root, task).map(drop)
}

/// The same where the log was seen to hold the events up to `after`; answers how far it is now.
pub(crate) fn bring_up_from(
    mut after: u64,
    store: &dyn Store,
    journal: &dyn Journal,
    root: &Path,
    task: TaskId,
) -> Result<u64, Behind> {
    let mut left = ATTEMPTS;
    loop {
        let events = events(store, task, after)?;
        let Some(last) = events.last().map(|event| event.position) else {
            return Ok(after);
        };
        let entries: Vec<_> = events.iter().map(entry).collect::<Result<_, _>>()?;
        match journal.project(root, task, after, &entries)? {
            Projected::Done if events.len() < PAGE => return Ok(last),
            Projected::Done => after = last,
            Projected::Behind if left == 0 => return Err(Behind::Restless),
            Projected::Behind => {
                left -= 1;
                after = journal.projected(root, task)?;
            }
        }
    }
}

/// A page of the events of a task and of its sessions.
pub(crate) fn events(
    store: &dyn Store,
    task: TaskId,
    after: u64,
) -> Result<Vec<app::history::EventRecord>, Error> {
    let query = Query::TaskEvents {
        task,
        after,
        limit: PAGE,
    };
    match store.read(&query)? {
        View::TaskEvents { events } => Ok(events),
        _ => Err(Error::unavailable(
            "the store gave another answer than was asked for (task events)",
        )),
    }
}

/// Writes those events of a project into its `project.jsonl` that no task's folder holds.
pub(crate) fn bring_up_project(
    store: &dyn Store,
    layers: &dyn Layers,
    root: &Path,
    project: ProjectId,
) -> Result<(), Behind> {
    let mut after = 0;
    loop {
        let query = Query::ProjectEvents {
            project,
            after,
            limit: PAGE,
        };
        let View::TaskEvents { events } = store.read(&query)? else {
            return Err(
                Error::unavailable("project events were answered by something else").into(),
            );
        };
        let entries: Vec<_> = events.iter().map(entry).collect::<Result<_, _>>()?;
        layers.add_to_project(root, &entries)?;
        match events.last() {
            Some(last) if events.len() == PAGE => after = last.position,
            _ => return Ok(()),
        }
    }
}
