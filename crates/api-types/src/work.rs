//! What an agent said and changed.

use std::path::PathBuf;

use domain::{
    id::{SessionId, TaskId},
    workspace::{ChangedFile, CommitId},
};
use serde::{Deserialize, Serialize};

use crate::envelope::schemas;

/// What `diff` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffDocument {
    /// The task.
    pub task: TaskId,
    /// The session whose work it is.
    pub session: SessionId,
    /// The commit that the work started from.
    pub base: CommitId,
    /// The commit that holds it.
    pub tip: CommitId,
    /// The files that differ.
    #[serde(default)]
    pub files: Vec<ChangedFile>,
    /// The patch; none under `--stat`.
    pub patch: Option<String>,
    /// Whether the patch was cut.
    pub truncated: bool,
}

/// What `merge` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeDocument {
    /// The task.
    pub task: TaskId,
    /// The branch of its work.
    pub branch: String,
    /// The branch that holds it now.
    pub target: String,
    /// That branch's new tip.
    pub commit: CommitId,
    /// Whether it held the work before.
    pub already: bool,
    /// The checkout that was brought up to date.
    pub updated: Option<PathBuf>,
    /// The files that changed.
    #[serde(default)]
    pub files: Vec<ChangedFile>,
}

/// What `logs` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogsDocument {
    /// The task.
    pub task: TaskId,
    /// Its newest session; none where it has not been started.
    pub session: Option<SessionId>,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// Its lines.
    #[serde(default)]
    pub lines: Vec<String>,
}

schemas! {
    DiffDocument = "diff";
    MergeDocument = "merge";
    LogsDocument = "logs";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{check, session, task};

    #[test]
    fn they_can_be_read_back() {
        let outcome = session().outcome.unwrap();
        let commit = outcome.commit.unwrap();
        check(&DiffDocument {
            task: task().id,
            session: session().id,
            base: commit.clone(),
            tip: commit.clone(),
            files: outcome.changes.clone(),
            patch: None,
            truncated: false,
        });
        check(&MergeDocument {
            task: task().id,
            branch: "crewboss/task_4-x".to_owned(),
            target: "main".to_owned(),
            commit,
            already: false,
            updated: Some("/p".into()),
            files: outcome.changes,
        });
        check(&LogsDocument {
            task: task().id,
            session: None,
            file: None,
            lines: vec!["x".to_owned()],
        });
    }
}
