//! Checkpoints: made so that a crash at any moment leaves either a whole one or nothing, deleted
//! the same way, and kept for as long as the configuration says.
//!
//! One is made in this order: a hidden folder with everything in it, its manifest last; the
//! reference that keeps the objects; the event in the task's stream; the folder's own name. Whoever
//! makes or deletes one next goes on with what is whole and removes what is not.

mod look;
mod make;
mod restore;
mod retention;
mod tidy;

use std::{path::PathBuf, sync::Arc};

use domain::id::TaskId;

use crate::{
    command::Meta,
    error::Error,
    ports::{
        agents::Agents,
        checkpoints::{Cause, Checkpoints, Manifest},
        clock::Clock,
        folders::{FolderError, Folders},
        store::Store,
        workspaces::{WorkspaceError, Workspaces},
    },
    query::{Query, TaskDetails, View},
};

pub use restore::{Origin, origin};
pub use retention::Retention;

/// Why a checkpoint could not be made, read or deleted.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// What is asked does not go.
    #[error("{0}")]
    Refused(String),
    /// There is no such checkpoint.
    #[error("checkpoint {0} not found")]
    NotFound(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] Error),
    /// The task's folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Git.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
}

/// What is to be kept, and why.
#[derive(Debug, Clone)]
pub struct Wish {
    /// What somebody has to say about it.
    pub note: Option<String>,
    /// Why it is made.
    pub cause: Cause,
    /// Whether ignored files are kept too.
    pub with_ignored: bool,
}

impl Wish {
    /// One that nobody asked for by name.
    #[must_use]
    pub fn because(cause: Cause) -> Self {
        Self {
            note: None,
            cause,
            with_ignored: false,
        }
    }
}

/// A checkpoint that was made.
#[derive(Debug, Clone)]
pub struct Made {
    /// It.
    pub manifest: Manifest,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// Makes and deletes the checkpoints of one project.
#[derive(Debug)]
pub struct Checkpointer {
    /// Where events go.
    pub store: Arc<dyn Store>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The folders of sessions.
    pub folders: Arc<dyn Folders>,
    /// The folders of checkpoints.
    pub checkpoints: Arc<dyn Checkpoints>,
    /// The trees.
    pub workspaces: Arc<dyn Workspaces>,
    /// The conversations.
    pub agents: Arc<dyn Agents>,
    /// The project's directory.
    pub root: PathBuf,
    /// Who asks.
    pub meta: Meta,
}

impl Checkpointer {
    fn details(&self, id: TaskId) -> Result<TaskDetails, CheckpointError> {
        match self.store.read(&Query::Task { id })? {
            View::Task { details } => Ok(*details),
            _ => Err(unexpected()),
        }
    }
}

fn unexpected() -> CheckpointError {
    Error::corrupt("another answer than was asked for").into()
}
