//! The directories that sessions edit: preparing them, keeping what was done in them, merging it.

use std::{io, path::PathBuf, time::Duration};

use domain::{
    failure::FailureReason,
    id::{CheckpointId, ProjectId, SessionId, TaskId},
    workspace::{ChangedFile, CommitId, WorkspaceMode, WorkspaceRecord},
};

/// A finished dependency, whose work a task builds on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The task that did the work.
    pub task: TaskId,
    /// The tip of its published branch.
    pub commit: CommitId,
}

/// What a workspace is prepared from.
#[derive(Debug, Clone)]
pub struct PrepareRequest {
    /// The project's directory.
    pub project: PathBuf,
    /// The task.
    pub task: TaskId,
    /// The session that will work in it. Asking twice for one session gives the same workspace.
    pub session: SessionId,
    /// The task's name or prompt, from which the branch gets its slug.
    pub title: String,
    /// How to make it.
    pub mode: WorkspaceMode,
    /// The configured target branch; none means the branch that HEAD points to.
    pub target: Option<String>,
    /// The base recorded by an earlier session of the task; none means the target's tip now.
    pub base: Option<CommitId>,
    /// Starts from this commit (a predecessor's salvage) instead of base and dependencies.
    pub continue_from: Option<CommitId>,
    /// A checkpoint's commit with everything that it kept, ignored files too, where the workspace is
    /// to be as it was then.
    pub restore: Option<CommitId>,
    /// The repository that joins the project's checkouts, from which commits are fetched that this
    /// one lacks, and to which finished and salvaged work is copied.
    pub remote: Option<String>,
    /// Finished dependencies, in any order; their work is merged in the order of task ids.
    pub dependencies: Vec<Dependency>,
}

/// Whose work a commit holds.
#[derive(Debug, Clone)]
pub struct Authorship {
    /// The task's name: the subject of the commit.
    pub title: String,
    /// The task.
    pub task: TaskId,
    /// The session.
    pub session: SessionId,
    /// The agent's name.
    pub agent: String,
}

/// The work of a session, committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The tip: all that was not ignored is in its tree.
    pub commit: CommitId,
    /// What it is compared with: the commit that the session started from.
    pub base: CommitId,
    /// The files that differ between the two.
    pub files: Vec<ChangedFile>,
    /// Whether the trees are the same.
    pub no_change: bool,
    /// The ignored files in the worktree, which the commit lacks; a folder where all in it is.
    pub ignored: Vec<String>,
    /// What a person should know: nested repositories, a repaired worktree, submodules.
    pub warnings: Vec<String>,
}

/// A branch that holds finished work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its name, without `refs/heads/`.
    pub branch: String,
    /// Where it points.
    pub commit: CommitId,
    /// Whether this call moved it; `false` where it was there already.
    pub moved: bool,
    /// The reference that keeps what the branch held, where the commit does not build on that.
    pub kept: Option<String>,
}

/// A reference that holds work which is on no branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salvage {
    /// The whole reference: `refs/crewboss/salvage/<session>`.
    pub reference: String,
    /// Where it points.
    pub commit: CommitId,
    /// What could not be kept or had to be changed to be kept.
    pub warnings: Vec<String>,
}

/// What removing a workspace came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// Nothing is left of it; work that was nowhere else is in the salvage.
    Gone(Option<Salvage>),
    /// It stays: the project itself, or a plain folder with content, of which there is no copy.
    Kept(PathBuf),
}

/// What became of the references to a session's work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retired {
    /// References that are gone.
    pub removed: Vec<String>,
    /// References that keep work which is nowhere else.
    pub kept: Vec<String>,
}

/// The difference between two commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// The files that differ.
    pub files: Vec<ChangedFile>,
    /// The patch as git prints it, in whatever encoding the files have.
    pub patch: Vec<u8>,
    /// Whether the patch was cut at the limit.
    pub truncated: bool,
}

/// A target branch that contains a task's work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The target branch.
    pub target: String,
    /// Its tip.
    pub commit: CommitId,
    /// Whether it contained the work before this call.
    pub already: bool,
    /// The checkout that was updated, where the target was checked out.
    pub updated: Option<PathBuf>,
    /// What the merge changed on the target.
    pub files: Vec<ChangedFile>,
}

/// The branch that work is for, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The branch; none where HEAD is detached.
    pub branch: Option<String>,
    /// Its tip.
    pub commit: CommitId,
}

/// A worktree in the state directory, or what is left of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundWorktree {
    /// The session it was made for.
    pub session: SessionId,
    /// Where it is or was.
    pub path: PathBuf,
    /// Whether its directory is there.
    pub present: bool,
    /// Whether the repository knows it.
    pub registered: bool,
    /// Its record; none where preparing it was never finished.
    pub record: Option<WorkspaceRecord>,
}

/// What exists because of sessions on one repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Worktrees, whole and half.
    pub worktrees: Vec<FoundWorktree>,
    /// Branches below `crewboss/` and where they point.
    pub branches: Vec<(String, CommitId)>,
    /// Salvage references and where they point.
    pub salvages: Vec<(SessionId, CommitId)>,
}

/// What is to be kept of a workspace.
#[derive(Debug, Clone)]
pub struct CheckpointRequest {
    /// The project's directory.
    pub project: PathBuf,
    /// The project.
    pub project_id: ProjectId,
    /// The task.
    pub task: TaskId,
    /// The session that works or worked there.
    pub session: SessionId,
    /// The checkpoint.
    pub id: CheckpointId,
    /// The workspace.
    pub workspace: WorkspaceRecord,
    /// The commit that the session left, where it has ended and left one.
    pub commit: Option<CommitId>,
    /// Whether ignored files are kept too.
    pub with_ignored: bool,
    /// Where a private index may be written.
    pub index: PathBuf,
    /// Where the index of an earlier checkpoint of the session is, and the next one's goes.
    pub known_index: PathBuf,
    /// The tree of an earlier checkpoint of the session, and its [`CheckpointTree::bytes`].
    pub known_tree: Option<(CommitId, u64)>,
}

/// What was kept of a workspace: objects that no reference keeps yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointTree {
    /// The repository that has them.
    pub repository: PathBuf,
    /// The reference that is to keep them.
    pub reference: String,
    /// What work goes on from.
    pub commit: CommitId,
    /// The same with ignored files, where they were asked for.
    pub with_ignored: Option<CommitId>,
    /// The tree of all that was kept.
    pub tree: CommitId,
    /// Bytes of objects that the commit it builds on does not have.
    pub bytes: u64,
    /// What could not be kept or had to be changed to be kept.
    pub warnings: Vec<String>,
}

/// A reference that keeps a checkpoint's objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCheckpoint {
    /// The repository that it is in.
    pub repository: PathBuf,
    /// The checkpoint.
    pub id: CheckpointId,
    /// Where it points.
    pub commit: CommitId,
    /// The task, as the commit says.
    pub task: TaskId,
    /// The project, as the commit says.
    pub project: ProjectId,
}

/// Why a workspace operation was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// No git.
    #[error(
        "git cannot be run as `{program}`: install git {needed} or newer, or use workspace = in-place or folder"
    )]
    GitMissing {
        /// What was tried.
        program: String,
        /// The oldest version that will do.
        needed: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A git that lacks what is needed.
    #[error(
        "git {found} is too old: install git {needed} or newer, or use workspace = in-place or folder"
    )]
    GitTooOld {
        /// What is there.
        found: String,
        /// The oldest version that will do.
        needed: &'static str,
    },
    /// No repository around the directory.
    #[error("{} is not in a git repository: run `git init` and commit, or use workspace = in-place or folder", path.display())]
    NotARepository {
        /// The directory.
        path: PathBuf,
    },
    /// Nothing to start from.
    #[error("the repository at {} has no commits: make a first commit (`git commit --allow-empty -m start`), or use workspace = in-place", path.display())]
    NoCommits {
        /// The project's directory.
        path: PathBuf,
    },
    /// The target branch does not exist.
    #[error("there is no branch `{branch}`: create it, or configure another target")]
    TargetMissing {
        /// Its name.
        branch: String,
    },
    /// HEAD is detached and no target is configured.
    #[error("HEAD is detached: check out a branch, or name the target branch")]
    NoTargetBranch,
    /// A recorded commit or branch is not in the repository.
    #[error("`{what}` is not in the repository")]
    Unknown {
        /// The commit or branch.
        what: String,
    },
    /// A branch has the name of the folder that branches of tasks are in.
    #[error(
        "the branch `{branch}` is in the way of `{wanted}`: rename it (`git branch -m {branch} NEW-NAME`)"
    )]
    BranchInTheWay {
        /// Its name.
        branch: String,
        /// The branch that cannot be made beside it.
        wanted: String,
    },
    /// Worktrees would lie inside the repository.
    #[error("the state directory {} is inside the repository: set another state directory", path.display())]
    StateInsideRepository {
        /// The state directory.
        path: PathBuf,
    },
    /// The work of two dependencies does not go together.
    #[error("the work of {task} conflicts with the base or an earlier dependency in {}", files.join(", "))]
    DependencyConflict {
        /// The dependency that could not be merged.
        task: TaskId,
        /// The files in conflict.
        files: Vec<String>,
    },
    /// The workspace is not what was prepared.
    #[error("the workspace {} is damaged: {what}", path.display())]
    Damaged {
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The worktree's HEAD has left the history it was given.
    #[error("the worktree's HEAD does not descend from {start}{}", salvage.as_ref().map(|s| format!("; the work is kept in {}", s.reference)).unwrap_or_default())]
    Diverged {
        /// The commit that it should descend from.
        start: CommitId,
        /// Where the work was put.
        salvage: Option<Salvage>,
    },
    /// The branch exists and holds something else.
    #[error("branch `{branch}` already points to {at}")]
    BranchTaken {
        /// Its name.
        branch: String,
        /// Where it points.
        at: CommitId,
    },
    /// The merge has conflicts.
    #[error("merging `{branch}` into `{target}` conflicts in {}", files.join(", "))]
    MergeConflict {
        /// What was to be merged.
        branch: String,
        /// Into what.
        target: String,
        /// The files in conflict.
        files: Vec<String>,
    },
    /// The target's checkout has uncommitted changes.
    #[error("{} has uncommitted changes in {}: commit or stash them first", checkout.display(), files.join(", "))]
    DirtyTarget {
        /// The checkout.
        checkout: PathBuf,
        /// The tracked files that differ.
        files: Vec<String>,
    },
    /// Untracked files are in the way.
    #[error("merging would overwrite untracked files in {}: {}", checkout.display(), files.join(", "))]
    WouldOverwrite {
        /// The checkout.
        checkout: PathBuf,
        /// The files.
        files: Vec<String>,
    },
    /// Something else is going on with the target.
    #[error("{what} in {}: finish or abort it first", checkout.display())]
    OperationInProgress {
        /// The checkout or git directory.
        checkout: PathBuf,
        /// What is going on.
        what: String,
    },
    /// Somebody else moved the target meanwhile.
    #[error("branch `{branch}` was moved meanwhile: try again")]
    TargetMoved {
        /// The branch.
        branch: String,
    },
    /// Git did not end in time and was killed.
    #[error("`{command}` did not end within {} s", timeout.as_secs())]
    TimedOut {
        /// The command.
        command: String,
        /// The limit.
        timeout: Duration,
    },
    /// Git said more than is accepted.
    #[error("`{command}` printed more than {limit} bytes")]
    OutputTooLong {
        /// The command.
        command: String,
        /// The limit.
        limit: usize,
    },
    /// Git failed or said what is not understood.
    #[error("`{command}` failed: {message}")]
    Git {
        /// The command.
        command: String,
        /// Its last words.
        message: String,
    },
    /// The file system failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What the system and git say of a full disk.
const DISK_FULL: &[&str] = &["No space left on device", "Out of diskspace"];

impl WorkspaceError {
    /// The typed reason of a task that fails by this error.
    #[must_use]
    pub fn reason(&self) -> FailureReason {
        match self {
            Self::DependencyConflict { .. } => FailureReason::DependencyConflict,
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                FailureReason::DiskFull
            }
            Self::Git { message, .. } if DISK_FULL.iter().any(|said| message.contains(said)) => {
                FailureReason::DiskFull
            }
            _ => FailureReason::WorkspaceFailed,
        }
    }
}

/// Prepares, keeps, publishes and merges what sessions work on.
///
/// An adapter never touches the user's checkout, index, stash or HEAD, with one exception:
/// [`Workspaces::merge`] updates a clean checkout of the target branch. Everything may be called
/// again after a crash, from any process, and then completes what was begun.
pub trait Workspaces: Send + Sync + std::fmt::Debug {
    /// The mode of a project that configures none: a worktree in a repository, else a folder.
    ///
    /// # Errors
    /// [`WorkspaceError::NoCommits`] in a repository without commits.
    fn default_mode(&self, project: &std::path::Path) -> Result<WorkspaceMode, WorkspaceError>;

    /// The branch that work of this project is for, and its tip.
    ///
    /// # Errors
    /// Where there is no repository, no commit, or no such branch.
    fn target(
        &self,
        project: &std::path::Path,
        configured: Option<&str>,
    ) -> Result<Target, WorkspaceError>;

    /// Makes a session's workspace, or finds the one made before. What an earlier call left half
    /// done is made anew.
    ///
    /// # Errors
    /// Before anything is made where base, target, dependencies or a branch in the way do not allow
    /// it.
    fn prepare(&self, request: &PrepareRequest) -> Result<WorkspaceRecord, WorkspaceError>;

    /// Commits all that is not ignored in a worktree, on top of what the agent committed itself.
    /// `None` in the other modes. No process of the session may run any more.
    ///
    /// # Errors
    /// [`WorkspaceError::Diverged`], after the work was salvaged, where HEAD left its history.
    fn commit(
        &self,
        workspace: &WorkspaceRecord,
        authorship: &Authorship,
    ) -> Result<Option<Committed>, WorkspaceError>;

    /// Points the workspace's branch to a commit: once, if it is not there (or is at `expected`).
    /// What it held is kept under `refs/crewboss/salvage/<session>-branch` first, unless the commit
    /// builds on it.
    ///
    /// # Errors
    /// [`WorkspaceError::BranchTaken`] where it points elsewhere.
    fn publish(
        &self,
        workspace: &WorkspaceRecord,
        commit: &CommitId,
        expected: Option<&CommitId>,
    ) -> Result<Published, WorkspaceError>;

    /// The address behind the configured name of a remote repository, or the address itself.
    ///
    /// # Errors
    /// Where there is none of this name.
    fn address(&self, project: &std::path::Path, remote: &str) -> Result<String, WorkspaceError> {
        let _ = project;
        Ok(remote.to_owned())
    }

    /// Copies a published commit to the workspace's remote, where it has one, and points its branch
    /// there to it. It is asked where that points first, then whether the task `is_ours`, and moved
    /// from there alone: what another session has published since stays. `false` where it is not.
    ///
    /// # Errors
    /// Where the remote could not be reached or refused it.
    fn share(
        &self,
        workspace: &WorkspaceRecord,
        commit: &CommitId,
        is_ours: &dyn Fn() -> bool,
    ) -> Result<bool, WorkspaceError> {
        let _ = (workspace, commit);
        Ok(is_ours())
    }

    /// Keeps what is uncommitted or on no branch under `refs/crewboss/salvage/<session>`.
    /// `None` where there is nothing to keep. Works on a broken index, a lost registration and a
    /// lost directory as far as anything is left.
    ///
    /// # Errors
    /// Where what is there could not be kept.
    fn salvage(
        &self,
        workspace: &WorkspaceRecord,
        session: SessionId,
    ) -> Result<Option<Salvage>, WorkspaceError>;

    /// Salvages, then removes the workspace and its registration, whatever is left of them.
    ///
    /// # Errors
    /// Nothing is deleted where salvaging failed.
    fn remove(
        &self,
        workspace: &WorkspaceRecord,
        session: SessionId,
    ) -> Result<Removed, WorkspaceError>;

    /// Removes what was being prepared for a session of which no record was kept, so that nobody
    /// has worked there.
    ///
    /// # Errors
    /// Where something is left of it.
    fn abandon(&self, project: &std::path::Path, session: SessionId) -> Result<(), WorkspaceError>;

    /// Deletes a plain folder with all that is in it. Only for a person's explicit wish.
    ///
    /// # Errors
    /// Where it is no folder of this session in the state directory.
    fn discard_folder(
        &self,
        workspace: &WorkspaceRecord,
        session: SessionId,
    ) -> Result<(), WorkspaceError>;

    /// Removes the branch of a session's work and what was salvaged of it, as far as other branches
    /// have all of that. A branch that has work of its own becomes a salvage reference; one that
    /// somebody has checked out stays.
    ///
    /// # Errors
    /// Where the repository cannot be read or written.
    fn retire(
        &self,
        workspace: &WorkspaceRecord,
        session: SessionId,
    ) -> Result<Retired, WorkspaceError>;

    /// The difference between two commits; the patch is cut at `patch_bytes_max`.
    ///
    /// # Errors
    /// Where one of them is not in the repository.
    fn diff(
        &self,
        project: &std::path::Path,
        base: &CommitId,
        tip: &CommitId,
        patch_bytes_max: usize,
    ) -> Result<Diff, WorkspaceError>;

    /// Merges a branch into the target (none: the branch that HEAD points to) by a merge commit
    /// and updates a clean checkout of the target.
    ///
    /// # Errors
    /// Nothing is changed where it refuses.
    fn merge(
        &self,
        project: &std::path::Path,
        branch: &str,
        target: Option<&str>,
    ) -> Result<Merged, WorkspaceError>;

    /// Worktrees, branches and salvages of this project's repository.
    ///
    /// # Errors
    /// Where there is no repository.
    fn inventory(&self, project: &std::path::Path) -> Result<Inventory, WorkspaceError>;

    /// Makes a commit of all that a workspace holds, whoever works in it. The objects are durable;
    /// no reference is written, and neither index, HEAD nor stash of anybody is touched.
    ///
    /// # Errors
    /// Where the workspace is gone and left nothing.
    fn checkpoint(&self, request: &CheckpointRequest) -> Result<CheckpointTree, WorkspaceError>;

    /// Keeps a checkpoint's commit by its reference. One that is there already is fine.
    ///
    /// # Errors
    /// Where it points elsewhere, or the repository is gone.
    fn keep_checkpoint(
        &self,
        repository: &std::path::Path,
        id: CheckpointId,
        commit: &CommitId,
    ) -> Result<(), WorkspaceError>;

    /// The references that keep checkpoints in the repositories of a project; of other projects
    /// too, where they share one.
    ///
    /// # Errors
    /// Where a repository cannot be read.
    fn checkpoints(&self, project: &std::path::Path)
    -> Result<Vec<KeptCheckpoint>, WorkspaceError>;

    /// Removes the reference of a checkpoint. None there is fine.
    ///
    /// # Errors
    /// Where it is still there.
    fn drop_checkpoint(
        &self,
        project: &std::path::Path,
        id: CheckpointId,
    ) -> Result<(), WorkspaceError>;

    /// What is wrong with the objects of a checkpoint; nothing where they are whole.
    ///
    /// # Errors
    /// Where the repository cannot be asked.
    fn verify_checkpoint(
        &self,
        repository: &std::path::Path,
        commit: &CommitId,
        tree: &CommitId,
    ) -> Result<Vec<String>, WorkspaceError>;

    /// As [`Workspaces::diff`], between commits of checkpoints.
    ///
    /// # Errors
    /// Where one of them is in no repository of the project.
    fn checkpoint_diff(
        &self,
        project: &std::path::Path,
        base: &CommitId,
        tip: &CommitId,
        patch_bytes_max: usize,
    ) -> Result<Diff, WorkspaceError>;

    /// Plain folders in the state directory.
    ///
    /// # Errors
    /// Where the state directory cannot be read.
    fn folders(&self) -> Result<Vec<(SessionId, PathBuf)>, WorkspaceError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_known_by_all_its_names() {
        for said in [
            "error: file write error: No space left on device",
            "fatal: sha1 file '.git/index.lock' write error. Out of diskspace",
        ] {
            let error = WorkspaceError::Git {
                command: "git add".to_owned(),
                message: said.to_owned(),
            };
            assert_eq!(error.reason(), FailureReason::DiskFull, "{said}");
        }
    }
}
