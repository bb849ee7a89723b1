//! What is kept of a task at one time: its folder in the task's own, and what is in it.

use std::path::{Path, PathBuf};

use domain::{
    id::{CheckpointId, SessionId, TaskId},
    time::Timestamp,
    workspace::{CommitId, WorkspaceMode},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::folders::FolderError;
use crate::hex::hex;

/// The schema of `manifest.json`.
pub const MANIFEST_SCHEMA: &str = "crewboss.checkpoint";
/// The version of that schema.
pub const MANIFEST_VERSION: u32 = 1;

/// Why a checkpoint was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Somebody asked for it.
    Asked,
    /// Time had passed.
    Interval,
    /// The task's work was about to be merged.
    Merge,
    /// The task was about to go back to an earlier one.
    Restore,
    /// The agent had finished another of its turns.
    Turns,
    /// What looks after the task was about to end.
    Shutdown,
}

impl Cause {
    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Interval => "interval",
            Self::Merge => "merge",
            Self::Restore => "restore",
            Self::Turns => "turns",
            Self::Shutdown => "shutdown",
        }
    }
}

/// The workspace, as git has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptTree {
    /// How the workspace was made.
    pub mode: WorkspaceMode,
    /// The repository that has the objects.
    pub repository: PathBuf,
    /// The reference that keeps them: `refs/crewboss/checkpoints/<checkpoint>`.
    pub reference: String,
    /// What work goes on from: all that was there and is not ignored.
    pub commit: CommitId,
    /// The same with the ignored files, where they were asked for.
    pub with_ignored: Option<CommitId>,
    /// The tree of all that was kept.
    pub tree: CommitId,
    /// Bytes that the repository holds for it and not for the commit that it builds on.
    pub bytes: u64,
    /// What could not be kept or had to be changed to be kept.
    pub warnings: Vec<String>,
}

/// A conversation, as far as its agent can go on with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptConversation {
    /// The agent's own id of it.
    pub agent_session: String,
    /// The agent's own id of its last message.
    pub last_message: Option<String>,
}

/// A file of a checkpoint's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFile {
    /// Its path in the folder.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// What its bytes are, in hexadecimal digits.
    pub sha256: String,
}

/// `manifest.json`: what a checkpoint is. Written last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_SCHEMA`].
    pub schema: String,
    /// [`MANIFEST_VERSION`].
    pub schema_version: u32,
    /// The checkpoint.
    pub id: CheckpointId,
    /// Its task.
    pub task: TaskId,
    /// The session that worked, or was the last to work.
    pub session: SessionId,
    /// When it was made.
    pub created_at: Timestamp,
    /// What somebody had to say about it.
    pub note: Option<String>,
    /// Why it was made.
    pub cause: Cause,
    /// The place in the stream of the task's events up to which `state.json` tells.
    pub log_position: u64,
    /// The workspace.
    pub workspace: KeptTree,
    /// The conversation, where the agent has one that it can go on with.
    pub conversation: Option<KeptConversation>,
    /// The files beside the manifest.
    pub files: Vec<KeptFile>,
}

impl Manifest {
    /// The SHA-256 of its content, as the task's event names it.
    ///
    /// # Panics
    /// Never: a manifest is plain data.
    #[must_use]
    pub fn checksum(&self) -> String {
        let json = serde_json::to_vec(self).expect("a manifest is plain data");
        hex(&Sha256::digest(json))
    }

    /// What it takes up: its files, and the objects of its own.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let files: u64 = self.files.iter().map(|file| file.bytes).sum();
        files + self.workspace.bytes
    }
}

/// A checkpoint that is there, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its id, by the folder's name.
    pub id: CheckpointId,
    /// Its task, by the folder's place.
    pub task: TaskId,
    /// What it says of itself; `None` where that cannot be believed.
    pub manifest: Option<Manifest>,
    /// What is wrong. One with a finding is never restored from.
    pub findings: Vec<String>,
}

/// What a process that died, or one at work, left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfinished {
    /// Begun, and its manifest never written.
    Half(CheckpointId),
    /// Whole, but nobody was told of it.
    Whole(Box<Manifest>),
    /// Deleted, but not all of it is gone.
    Deleted(CheckpointId),
}

impl Unfinished {
    /// Which it is.
    #[must_use]
    pub fn id(&self) -> CheckpointId {
        match self {
            Self::Half(id) | Self::Deleted(id) => *id,
            Self::Whole(manifest) => manifest.id,
        }
    }
}

/// A checkpoint in the making: a folder that no list shows. While this lives, nobody else takes it
/// for left behind.
pub trait Draft: Send + std::fmt::Debug {
    /// The folder for what the agent keeps of its conversation; made where it is missing. What is in
    /// it is compressed by [`Self::gather`].
    fn conversation(&self) -> Result<PathBuf, FolderError>;

    /// Where a private index may be written while the draft lives.
    fn index(&self) -> PathBuf;

    /// Where the index that an earlier checkpoint was made with is, and the next one's goes.
    fn known_index(&self) -> PathBuf;

    /// Writes `state.json`, copies plan and decisions, and lists every file with its hash.
    fn gather(&mut self, state: &[u8]) -> Result<Vec<KeptFile>, FolderError>;

    /// Writes the manifest, durably, with everything before it.
    fn seal(&mut self, manifest: &Manifest) -> Result<(), FolderError>;
}

/// The checkpoints in the folders of tasks.
///
/// An adapter must build every path from ids alone, follow no symbolic link below the project's
/// directory, and make a checkpoint visible only by renaming a folder that is whole and synced.
pub trait Checkpoints: Send + Sync + std::fmt::Debug {
    /// Begins one.
    fn begin(
        &self,
        root: &Path,
        task: TaskId,
        session: SessionId,
        id: CheckpointId,
    ) -> Result<Box<dyn Draft>, FolderError>;

    /// Makes a sealed one visible. One that is visible already is fine.
    fn publish(&self, root: &Path, task: TaskId, id: CheckpointId) -> Result<(), FolderError>;

    /// The visible ones of a task, oldest first; `with_files`, each with every file checked.
    fn list(&self, root: &Path, task: TaskId, with_files: bool) -> Result<Vec<Found>, FolderError>;

    /// The tasks that have a folder for checkpoints, oldest first.
    fn tasks(&self, root: &Path) -> Result<Vec<TaskId>, FolderError>;

    /// What is left behind of a task's; not what somebody is at work on.
    fn unfinished(&self, root: &Path, task: TaskId) -> Result<Vec<Unfinished>, FolderError>;

    /// Whether there is a folder of this checkpoint, visible or in the making.
    fn has(&self, root: &Path, task: TaskId, id: CheckpointId) -> Result<bool, FolderError>;

    /// Hides a visible one for good. One that is gone is fine.
    fn hide(&self, root: &Path, task: TaskId, id: CheckpointId) -> Result<(), FolderError>;

    /// Removes what is hidden of one.
    fn discard(&self, root: &Path, task: TaskId, id: CheckpointId) -> Result<(), FolderError>;

    /// Gives a task the plan and decisions of a checkpoint of another, where it has none yet.
    fn hand_down(
        &self,
        root: &Path,
        from: (TaskId, CheckpointId),
        to: TaskId,
    ) -> Result<(), FolderError>;

    /// Gives a task the plan and decisions of a checkpoint in place of its own, once for each of its
    /// versions that went back to one: said again, nothing changes.
    fn bring_back(
        &self,
        root: &Path,
        from: (TaskId, CheckpointId),
        to: (TaskId, u64),
    ) -> Result<(), FolderError>;

    /// Writes what a visible one keeps of its conversation into a folder, made where it is missing, as
    /// the agent had written it.
    fn unpack_conversation(
        &self,
        root: &Path,
        from: (TaskId, CheckpointId),
        into: &Path,
    ) -> Result<(), FolderError>;
}
