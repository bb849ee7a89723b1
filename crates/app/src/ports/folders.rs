//! What a project's `.crewboss/` holds: the readable image of a task, and a session's files.

use std::{io, path::PathBuf};

use domain::{
    id::{SessionId, TaskId},
    session::Outcome,
    task::Task,
};

/// Which session's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPlace {
    /// The project's directory.
    pub root: PathBuf,
    /// The task.
    pub task: TaskId,
    /// The session.
    pub session: SessionId,
}

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} {}", path.display())]
pub struct FolderError {
    /// What was being done.
    pub act: &'static str,
    /// To which file.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// The folders of tasks and sessions.
///
/// An adapter must build every path from ids alone, replace files atomically (temporary file,
/// fsync, rename, fsync of the folder), and create folders 0700 and files 0600.
pub trait Folders: Send + Sync + std::fmt::Debug {
    /// The folder of a task; made where it is missing.
    fn task_folder(&self, root: &std::path::Path, task: TaskId) -> Result<PathBuf, FolderError>;

    /// The folder of a session; made where it is missing.
    fn session_folder(&self, place: &SessionPlace) -> Result<PathBuf, FolderError>;

    /// Writes how a session ended, durably.
    fn write_outcome(&self, place: &SessionPlace, outcome: &Outcome) -> Result<(), FolderError>;

    /// How a session ended, where its runner came to write it. A file that is not whole is an
    /// error, never an outcome.
    fn read_outcome(&self, place: &SessionPlace) -> Result<Option<Outcome>, FolderError>;

    /// Makes the image of a task show this version, unless it shows a later one. Not fsynced: the
    /// store is the truth and the image is made again where it is behind.
    fn show_task(&self, root: &std::path::Path, task: &Task) -> Result<(), FolderError>;

    /// The version that the image of a task shows.
    fn shown_version(&self, root: &std::path::Path, task: TaskId) -> Option<u64>;

    /// Removes everything of a deleted task. Missing is fine.
    fn remove_task(&self, root: &std::path::Path, task: TaskId) -> Result<(), FolderError>;
}
