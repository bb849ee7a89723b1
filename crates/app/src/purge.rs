//! Removes for good what deleted tasks hold: rows and contents in the store, folders, checkpoints,
//! branches. What no other branch has is kept under a salvage reference first.
//!
//! Each step may be repeated by anyone. Before the store has purged a task everything that could
//! bring it back is there; after that, whoever comes next finishes.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use domain::{
    id::{ProjectId, TaskId},
    project::Project,
    task::Task,
    time::Timestamp,
};

use crate::{
    command::{Command, Meta, Output, Request},
    crash_points::CrashPoint,
    error::Error,
    history::entry,
    ports::{
        folders::{FolderError, Folders},
        layers::Layers,
        store::Store,
        workspaces::{Removed, WorkspaceError, Workspaces},
    },
    query::{Deleted, Query, TaskDetails, TaskFilter, View},
};

/// Tasks that are read at once.
const PAGE: usize = 1_000;

/// Events that are read at once.
const EVENTS: usize = 256;

/// Why something could not be purged.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    /// The store.
    #[error(transparent)]
    Store(#[from] Error),
    /// Git.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// The task's folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// What purging a task came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purged {
    /// References that are gone.
    pub removed: Vec<String>,
    /// References that keep work which is nowhere else.
    pub kept: Vec<String>,
    /// Folders that stay, as there is no other copy of what they hold.
    pub folders: Vec<PathBuf>,
}

/// Purges tasks of one project.
#[derive(Debug, Clone)]
pub struct Purger {
    /// Where tasks are.
    pub store: Arc<dyn Store>,
    /// Where their work is.
    pub workspaces: Arc<dyn Workspaces>,
    /// Where their folders are.
    pub folders: Arc<dyn Folders>,
    /// The events of projects in their folders; none in a layout.
    pub layers: Option<Arc<dyn Layers>>,
    /// The project.
    pub project: Project,
    /// Who asks.
    pub meta: Meta,
}

impl Purger {
    /// Purges a deleted task. One that is purged already is fine.
    ///
    /// # Errors
    /// Where it is not deleted, or a task that has not ended goes on from it: then nothing is
    /// changed. Else where something is left, which [`Self::finish`] removes another time.
    pub fn purge(&self, id: TaskId) -> Result<Purged, PurgeError> {
        self.purge_expecting(id, None)
    }

    /// The same, only where the task has this version still.
    ///
    /// # Errors
    /// As [`Self::purge`]; [`Error::Version`] where it has another.
    pub fn purge_expecting(&self, id: TaskId, version: Option<u64>) -> Result<Purged, PurgeError> {
        let details = self.details(id)?;
        let mut purged = Purged::default();
        let is_stale = version.is_some_and(|version| version != details.view.task.version);
        if !is_stale && details.view.task.deleted_at.is_some() {
            self.retire(&details, &mut purged)?;
            CrashPoint::Retired.reached();
        }
        let request = Request {
            meta: self.meta.clone(),
            done: vec![],
            command: Command::PurgeTasks { tasks: vec![id] }.if_task(id, version),
        };
        let Output::Tasks { .. } = self.store.execute(request)?.output else {
            return Err(unexpected().into());
        };
        CrashPoint::Purged.reached();
        self.drop_checkpoints()?;
        CrashPoint::PurgedCheckpoints.reached();
        if let Some(layers) = &self.layers {
            keep_rest(&*self.store, &**layers, self.root(), id)?;
        }
        self.folders.remove_task(self.root(), id)?;
        Ok(purged)
    }

    fn root(&self) -> &Path {
        Path::new(&self.project.root)
    }

    fn retire(&self, details: &TaskDetails, purged: &mut Purged) -> Result<(), PurgeError> {
        for session in &details.sessions {
            let Some(record) = &session.workspace else {
                continue;
            };
            if record.path.exists() || record.repository.is_some() {
                match self.workspaces.remove(record, session.id)? {
                    Removed::Kept(path) if path != self.root() => purged.folders.push(path),
                    Removed::Gone(_) | Removed::Kept(_) => {}
                }
            }
            let retired = self.workspaces.retire(record, session.id)?;
            purged.removed.extend(retired.removed);
            purged.kept.extend(retired.kept);
        }
        purged.kept.dedup();
        Ok(())
    }

    /// Removes what a process that died left of tasks that were purged.
    ///
    /// # Errors
    /// Where something is left.
    pub fn finish(&self) -> Result<(), PurgeError> {
        self.drop_checkpoints()
    }

    /// References of checkpoints whose tasks are purged.
    fn drop_checkpoints(&self) -> Result<(), PurgeError> {
        if !self.root().exists() {
            return Ok(());
        }
        let kept = match self.workspaces.checkpoints(self.root()) {
            // Without git nothing was kept.
            Err(WorkspaceError::GitMissing { .. } | WorkspaceError::GitTooOld { .. }) => {
                return Ok(());
            }
            kept => kept?,
        };
        let own = kept.iter().filter(|kept| kept.project == self.project.id);
        let tasks: BTreeSet<TaskId> = own.clone().map(|kept| kept.task).collect();
        let mut purged = BTreeSet::new();
        for id in tasks {
            match self.details(id) {
                Ok(details) if details.view.task.purged_at.is_some() => {
                    purged.insert(id);
                }
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for kept in own.filter(|kept| purged.contains(&kept.task)) {
            self.workspaces.drop_checkpoint(self.root(), kept.id)?;
        }
        Ok(())
    }

    fn details(&self, id: TaskId) -> Result<TaskDetails, Error> {
        match self.store.read(&Query::Task { id })? {
            View::Task { details } => Ok(*details),
            _ => Err(unexpected()),
        }
    }
}

/// Before the folder of a task goes: its events are from then on among the rest of its project.
///
/// # Errors
/// Where the store cannot be read or the folder cannot be written.
pub fn keep_rest(
    store: &dyn Store,
    layers: &dyn Layers,
    root: &Path,
    task: TaskId,
) -> Result<(), PurgeError> {
    let mut after = 0;
    loop {
        let query = Query::TaskEvents {
            task,
            after,
            limit: EVENTS,
        };
        let View::TaskEvents { events } = store.read(&query)? else {
            return Err(unexpected().into());
        };
        let entries: Vec<_> = events.iter().map(entry).collect::<Result<_, _>>()?;
        layers.add_to_project(root, &entries)?;
        match events.last() {
            Some(last) if events.len() == EVENTS => after = last.position,
            _ => return Ok(()),
        }
    }
}

/// The tasks of a project that were deleted before a time and are not purged, oldest first.
///
/// # Errors
/// Where the store does not answer.
pub fn deleted_before(
    store: &dyn Store,
    project: ProjectId,
    time: Timestamp,
) -> Result<Vec<Task>, Error> {
    let mut filter = TaskFilter {
        project: Some(project),
        deleted: Deleted::Only,
        ..TaskFilter::default()
    };
    let mut all = Vec::new();
    loop {
        let query = Query::Tasks {
            filter: filter.clone(),
            limit: PAGE,
        };
        let View::Tasks { tasks } = store.read(&query)? else {
            return Err(unexpected());
        };
        filter.after = tasks.last().map(|task| task.id);
        let is_last = tasks.len() < PAGE;
        all.extend(
            tasks
                .into_iter()
                .filter(|task| task.deleted_at.is_some_and(|at| at <= time)),
        );
        if is_last {
            return Ok(all);
        }
    }
}

fn unexpected() -> Error {
    Error::corrupt("the store gave another answer than was asked for")
}
