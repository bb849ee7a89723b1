//! What is in the folders of tasks, as far as it can be held against the store and made again.

use std::path::Path;

use domain::{
    id::TaskId,
    task::{Paper, Task},
};

use super::{
    folders::FolderError,
    journal::{LogReceiver, NewEntry},
};

/// A layer of a task's folder as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer<T> {
    /// It is not there.
    Missing,
    /// It is as it was written.
    Whole(T),
    /// It is there and cannot be believed: why.
    Broken(String),
}

/// What stands in a project's folder of tasks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// The tasks that have a folder, oldest first.
    pub tasks: Vec<TaskId>,
    /// Names of whatever else is there.
    pub foreign: Vec<String>,
}

/// The layers of tasks' folders.
///
/// An adapter must follow no symbolic link below the project's directory, and hold a lock on the
/// task's folder while it writes. What it replaces because it cannot be believed is kept beside it.
pub trait Layers: Send + Sync + std::fmt::Debug {
    /// `state.json`, held against its checksum.
    fn image(&self, root: &Path, task: TaskId) -> Result<Layer<Task>, FolderError>;

    /// Makes `state.json` show this version and no other, durably.
    fn write_image(&self, root: &Path, task: &Task) -> Result<(), FolderError>;

    /// What is in the project's folder of tasks.
    fn listing(&self, root: &Path) -> Result<Listing, FolderError>;

    /// Names of what is in a task's folder and was never written there.
    fn foreign(&self, root: &Path, task: TaskId) -> Result<Vec<String>, FolderError>;

    /// Gives whatever has the name of a task's folder and is none another name; answers that.
    fn clear_way(&self, root: &Path, task: TaskId) -> Result<Option<String>, FolderError>;

    /// Reads those entries of `.crewboss/project.jsonl` that are as they were written.
    fn read_project(&self, root: &Path, receive: &mut LogReceiver<'_>) -> Result<(), FolderError>;

    /// Adds entries to it, durably, but events that are there already; answers how many.
    fn add_to_project(&self, root: &Path, entries: &[NewEntry]) -> Result<u64, FolderError>;

    /// What a paper says.
    fn paper(&self, root: &Path, task: TaskId, paper: Paper) -> Result<Layer<String>, FolderError>;

    /// What `plan.md` says as long as nobody has written into it.
    fn first_plan(&self, task: &Task) -> String;

    /// Makes a paper say this, durably.
    fn write_paper(
        &self,
        root: &Path,
        task: TaskId,
        paper: Paper,
        text: &str,
    ) -> Result<(), FolderError>;
}
