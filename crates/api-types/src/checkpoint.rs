//! Checkpoints: what was kept of a task at one time.

use std::path::PathBuf;

use domain::{
    id::{CheckpointId, SessionId, TaskId},
    time::Timestamp,
    workspace::{ChangedFile, CommitId, WorkspaceMode},
};
use serde::{Deserialize, Serialize};

use crate::envelope::schemas;

/// A file of a checkpoint's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointFile {
    /// Its path in the folder.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of its content.
    pub sha256: String,
}

/// A checkpoint: what `checkpoint create` and `checkpoint show` print. What a damaged one cannot
/// tell is `null`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointDocument {
    /// Its id.
    pub id: CheckpointId,
    /// Its task.
    pub task: TaskId,
    /// The session that worked, or was the last to work.
    pub session: Option<SessionId>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// What somebody had to say about it.
    pub note: Option<String>,
    /// Why it was made: `asked`, `interval` or `merge`.
    pub cause: Option<String>,
    /// The place in the task's stream of events that its `state.json` tells of.
    pub log_position: Option<u64>,
    /// How the workspace was made.
    pub workspace_mode: Option<WorkspaceMode>,
    /// The repository that has the files.
    pub repository: Option<PathBuf>,
    /// The reference that keeps them.
    pub reference: Option<String>,
    /// The commit of all that was not ignored.
    pub commit: Option<CommitId>,
    /// The same with ignored files, where they were asked for.
    pub with_ignored: Option<CommitId>,
    /// The tree of all that was kept.
    pub tree: Option<CommitId>,
    /// The agent's own id of the conversation.
    pub agent_session: Option<String>,
    /// The agent's own id of the conversation's last message.
    pub last_message: Option<String>,
    /// What it takes up: its files, and objects that only it has.
    pub bytes: Option<u64>,
    /// The files of its folder, besides the manifest.
    #[serde(default)]
    pub files: Vec<CheckpointFile>,
    /// What could not be kept, or had to be changed to be kept.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What is wrong with it; nothing is restored from one with a finding.
    #[serde(default)]
    pub findings: Vec<String>,
}

/// What `checkpoint list` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointListDocument {
    /// The task.
    pub task: TaskId,
    /// Its checkpoints, newest first.
    #[serde(default)]
    pub checkpoints: Vec<CheckpointDocument>,
}

/// What `checkpoint diff` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointDiffDocument {
    /// The checkpoint that is compared.
    pub from: CheckpointId,
    /// The one that it is compared with; the workspace as it is now where `null`.
    pub to: Option<CheckpointId>,
    /// The files that differ.
    #[serde(default)]
    pub files: Vec<ChangedFile>,
    /// The patch; none under `--stat`.
    pub patch: Option<String>,
    /// Whether the patch was cut.
    pub truncated: bool,
}

/// What `checkpoint delete` and `checkpoint prune` print.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointsDeletedDocument {
    /// Those that are gone, or would be.
    #[serde(default)]
    pub deleted: Vec<CheckpointId>,
    /// Whether this was only said.
    pub dry_run: bool,
}

schemas! {
    CheckpointDocument = "checkpoint";
    CheckpointListDocument = "checkpoints";
    CheckpointDiffDocument = "checkpoint_diff";
    CheckpointsDeletedDocument = "checkpoints_deleted";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{check, session};

    #[test]
    fn they_can_be_read_back_whole_and_damaged() {
        let id: CheckpointId = "ckp_1".parse().unwrap();
        let task = session().task;
        let commit = session().outcome.unwrap().commit;
        let damaged = CheckpointDocument {
            id,
            task,
            session: None,
            created_at: None,
            note: None,
            cause: None,
            log_position: None,
            workspace_mode: None,
            repository: None,
            reference: None,
            commit: None,
            with_ignored: None,
            tree: None,
            agent_session: None,
            last_message: None,
            bytes: None,
            files: vec![],
            warnings: vec![],
            findings: vec!["manifest.json: it is missing".to_owned()],
        };
        let whole = CheckpointDocument {
            session: Some(session().id),
            created_at: Some(Timestamp::from_millis(5)),
            cause: Some("asked".to_owned()),
            log_position: Some(3),
            workspace_mode: Some(WorkspaceMode::Worktree),
            repository: Some("/r/.git".into()),
            commit: commit.clone(),
            tree: commit,
            bytes: Some(12),
            files: vec![CheckpointFile {
                path: "state.json".to_owned(),
                bytes: 12,
                sha256: "00".to_owned(),
            }],
            findings: vec![],
            ..damaged.clone()
        };
        check(&whole);
        check(&CheckpointListDocument {
            task,
            checkpoints: vec![whole, damaged],
        });
        check(&CheckpointDiffDocument {
            from: id,
            to: None,
            files: session().outcome.unwrap().changes,
            patch: None,
            truncated: false,
        });
        check(&CheckpointsDeletedDocument {
            deleted: vec![id],
            dry_run: true,
        });
    }
}
