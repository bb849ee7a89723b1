//! Folders of tasks made again from the store, and what folders tell of a store that is lost.
//!
//! Of each layer it is known whether it is as it was written: `state.json` by its checksum,
//! `logs.jsonl` by its chain and by the store, papers by what the task's events keep. What is not is
//! made again from its neighbours and said; what it was is kept beside it.

mod compare;
mod folder;
mod gather;
mod logs;

use serde::{Deserialize, Serialize};

pub use self::{
    compare::{Agreement, Standing, compare},
    folder::Repairer,
    gather::{Gathered, gather, merge},
    logs::{LogVerdict, verify_log},
};
use crate::{error::Error, ports::folders::FolderError, ports::journal::Finding};

/// Why a folder could not be looked at or made again.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The store.
    #[error(transparent)]
    Store(#[from] Error),
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// What was found in a task's folder, and done about it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Row {
    /// What was made again, each in a few words.
    pub done: Vec<String>,
    /// What is, or was, not as it was written.
    pub findings: Vec<Finding>,
    /// What stood only in the folder, and is gone with it.
    pub missing: Vec<String>,
    /// Whether the folder tells of more than the store knows: then it is left as it is.
    pub is_ahead: bool,
    /// Whether something is still wrong.
    pub is_open: bool,
}

impl Row {
    /// Whether there is anything to say.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        *self == Self::default()
    }

    fn found(&mut self, file: &str, what: impl Into<String>) {
        self.findings.push(Finding {
            file: file.to_owned(),
            line: 0,
            what: what.into(),
        });
    }
}
