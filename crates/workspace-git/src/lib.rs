//! The [`Workspaces`] port over the `git` command line: worktrees of sessions outside the
//! repository, finished work on branches, everything else on salvage references, and merging.
//!
//! Git does what needs git's knowledge; what a killed git may leave half done is recognised and
//! repaired here. The user's checkout, index, stash and HEAD are never written, except that
//! merging updates a clean checkout of the target.

#![warn(missing_docs)]

mod changes;
mod checkout;
mod checkpoint;
mod combine;
mod commit;
mod git;
mod guard;
mod identity;
mod inventory;
mod layout;
mod merge;
mod names;
mod prepare;
mod process;
mod remote;
mod remove;
mod repository;
mod retire;
mod salvage;
mod snapshot;
mod worktree;

use std::path::{Path, PathBuf};

use app::ports::workspaces::{
    Authorship, CheckpointRequest, CheckpointTree, Committed, Diff, Inventory, KeptCheckpoint,
    Merged, PrepareRequest, Published, Removed, Retired, Salvage, Target, WorkspaceError,
    Workspaces,
};
use domain::{
    id::{CheckpointId, SessionId},
    workspace::{CommitId, WorkspaceMode, WorkspaceRecord},
};

pub use crate::git::Settings;
use crate::{
    git::Git,
    guard::Guard,
    layout::{Layout, sessions_in},
    repository::{Located, Repository},
    worktree::Worktree,
};

/// Workspaces by git.
#[derive(Debug)]
pub struct GitWorkspaces {
    git: Git,
    layout: Layout,
}

impl GitWorkspaces {
    /// Runs nothing yet: git is looked for when it is first needed.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let layout = Layout::new(settings.state_directory.clone());
        Self {
            git: Git::new(settings),
            layout,
        }
    }

    /// The repository and the start of a worktree; `None` for the other modes.
    fn parts<'a>(
        &'a self,
        record: &'a WorkspaceRecord,
    ) -> Result<Option<(Repository<'a>, &'a CommitId)>, WorkspaceError> {
        let (Some(common), Some(start)) = (&record.repository, &record.start) else {
            return Ok(None);
        };
        self.git.require()?;
        Ok(Some((
            Repository {
                git: &self.git,
                common: common.clone(),
            },
            start,
        )))
    }
}

impl Workspaces for GitWorkspaces {
    fn default_mode(&self, project: &Path) -> Result<WorkspaceMode, WorkspaceError> {
        let real = std::fs::canonicalize(project).map_err(repository::io_error("find", project))?;
        if !real
            .ancestors()
            .any(|directory| directory.join(".git").exists())
        {
            return Ok(WorkspaceMode::Folder);
        }
        match Located::find(&self.git, &real) {
            Ok(located) => located.target(None).map(|_| WorkspaceMode::Worktree),
            Err(WorkspaceError::NotARepository { .. }) => Ok(WorkspaceMode::Folder),
            Err(error) => Err(error),
        }
    }

    fn target(&self, project: &Path, configured: Option<&str>) -> Result<Target, WorkspaceError> {
        Located::find(&self.git, project)?.target(configured)
    }

    fn prepare(&self, request: &PrepareRequest) -> Result<WorkspaceRecord, WorkspaceError> {
        prepare::prepare(&self.git, &self.layout, request)
    }

    fn commit(
        &self,
        workspace: &WorkspaceRecord,
        authorship: &Authorship,
    ) -> Result<Option<Committed>, WorkspaceError> {
        let Some((repository, start)) = self.parts(workspace)? else {
            return Ok(None);
        };
        let guard = Guard::of_session(&repository, workspace)?;
        let repository = guard.repository(&repository);
        let mut committed =
            commit::commit(&self.layout, &repository, workspace, start, authorship)?;
        committed.warnings.extend(guard.warnings);
        Ok(Some(committed))
    }

    fn publish(
        &self,
        workspace: &WorkspaceRecord,
        commit: &CommitId,
        expected: Option<&CommitId>,
    ) -> Result<Published, WorkspaceError> {
        let parts = self.parts(workspace)?;
        let (Some((repository, _)), Some(branch)) = (parts, &workspace.branch) else {
            return Err(WorkspaceError::NotARepository {
                path: workspace.path.clone(),
            });
        };
        commit::publish(&repository, workspace, branch, commit, expected)
    }

    fn address(&self, project: &Path, remote: &str) -> Result<String, WorkspaceError> {
        remote::address(&self.git, project, remote)
    }

    fn share(
        &self,
        workspace: &WorkspaceRecord,
        commit: &CommitId,
        is_ours: &dyn Fn() -> bool,
    ) -> Result<bool, WorkspaceError> {
        let parts = self.parts(workspace)?;
        let (Some((repository, _)), Some(remote), Some(branch)) =
            (parts, &workspace.remote, &workspace.branch)
        else {
            return Ok(true);
        };
        let guard = Guard::of_repository(&repository, &self.layout)?;
        remote::share(
            &guard.repository(&repository),
            remote,
            branch,
            commit,
            is_ours,
        )
    }

    fn salvage(
        &self,
        workspace: &WorkspaceRecord,
        session: SessionId,
    ) -> Result<Option<Salvage>, WorkspaceError> {
        let Some((repository, start)) = self.parts(workspace)? else {
            return Ok(None);
        };
        let guard = Guard::of_session(&repository, workspace)?;
        let repository = guard.repository(&repository);
        let worktree = Worktree::at(&repository, &workspace.path)?;
        let mut salvaged = salvage::salvage(&self.layout, &worktree, start, session)?;
        if let Some(salvage) = &mut salvaged {
            let unshared = remote::share_salvage(&repository, workspace, session);
            salvage.warnings.extend(unshared);
            salvage.warnings.extend(guard.warnings);
        }
        Ok(salvaged)
    }

    fn remove(
        &self,
        workspace: &WorkspaceRecord,
        session: SessionId,
    ) -> Result<Removed, WorkspaceError> {
        let removed = remove::remove(&self.git, &self.layout, workspace, session)?;
        if let (Removed::Gone(Some(_)), Some((repository, _))) = (&removed, self.parts(workspace)?)
        {
            let guard = Guard::of_repository(&repository, &self.layout)?;
            // It is kept here in any case.
            drop(remote::share_salvage(
                &guard.repository(&repository),
                workspace,
                session,
            ));
        }
        Ok(removed)
    }

    fn abandon(&self, project: &Path, session: SessionId) -> Result<(), WorkspaceError> {
        remove::abandon(&self.git, &self.layout, project, session)
    }

    fn discard_folder(
        &self,
        workspace: &WorkspaceRecord,
        session: SessionId,
    ) -> Result<(), WorkspaceError> {
        remove::discard_folder(&self.layout, workspace, session)
    }

    fn retire(
        &self,
        workspace: &WorkspaceRecord,
        session: SessionId,
    ) -> Result<Retired, WorkspaceError> {
        match self.parts(workspace)? {
            Some((repository, _)) if repository.common.is_dir() => {
                let lock = repository.lock(self.layout.state())?;
                let retired = retire::retire(&repository, workspace, session);
                drop(lock);
                retired
            }
            _ => Ok(Retired::default()),
        }
    }

    fn diff(
        &self,
        project: &Path,
        base: &CommitId,
        tip: &CommitId,
        patch_bytes_max: usize,
    ) -> Result<Diff, WorkspaceError> {
        let located = Located::find(&self.git, project)?;
        changes::diff(&located.repository, base, tip, patch_bytes_max)
    }

    fn merge(
        &self,
        project: &Path,
        branch: &str,
        target: Option<&str>,
    ) -> Result<Merged, WorkspaceError> {
        merge::merge(&self.git, &self.layout, project, branch, target)
    }

    fn inventory(&self, project: &Path) -> Result<Inventory, WorkspaceError> {
        let located = Located::find(&self.git, project)?;
        inventory::inventory(&self.layout, &located.repository)
    }

    fn checkpoint(&self, request: &CheckpointRequest) -> Result<CheckpointTree, WorkspaceError> {
        checkpoint::take(&self.git, &self.layout, request)
    }

    fn keep_checkpoint(
        &self,
        repository: &Path,
        id: CheckpointId,
        commit: &CommitId,
    ) -> Result<(), WorkspaceError> {
        checkpoint::keep(&self.git, repository, id, commit)
    }

    fn checkpoints(&self, project: &Path) -> Result<Vec<KeptCheckpoint>, WorkspaceError> {
        checkpoint::list(&self.git, &self.layout, project)
    }

    fn drop_checkpoint(&self, project: &Path, id: CheckpointId) -> Result<(), WorkspaceError> {
        checkpoint::drop_kept(&self.git, &self.layout, project, id)
    }

    fn verify_checkpoint(
        &self,
        repository: &Path,
        commit: &CommitId,
        tree: &CommitId,
    ) -> Result<Vec<String>, WorkspaceError> {
        checkpoint::verify(&self.git, repository, commit, tree)
    }

    fn checkpoint_diff(
        &self,
        project: &Path,
        base: &CommitId,
        tip: &CommitId,
        patch_bytes_max: usize,
    ) -> Result<Diff, WorkspaceError> {
        let repository = checkpoint::holder(&self.git, &self.layout, project, base)?;
        changes::diff(&repository, base, tip, patch_bytes_max)
    }

    fn folders(&self) -> Result<Vec<(SessionId, PathBuf)>, WorkspaceError> {
        sessions_in(&self.layout.real()?.folders())
    }
}
