//! A repository in which every session has one commit.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use app::ports::workspaces::{
    Authorship, CheckpointRequest, CheckpointTree, Committed, Diff, FoundWorktree, Inventory,
    KeptCheckpoint, Merged, PrepareRequest, Published, Removed, Retired, Salvage, Target,
    WorkspaceError, Workspaces,
};
use domain::{
    id::{CheckpointId, SessionId},
    workspace::{CommitId, WorkspaceMode, WorkspaceRecord},
};

use super::fate::Fate;

/// What a session has made, and where it is.
#[derive(Debug, Clone)]
struct Worktree {
    record: WorkspaceRecord,
    /// Whether its agent has worked there.
    has_work: bool,
}

#[derive(Debug, Default)]
struct State {
    worktrees: BTreeMap<SessionId, Worktree>,
    branches: BTreeMap<String, CommitId>,
    salvages: BTreeMap<SessionId, CommitId>,
    /// What branches held before they were taken over.
    kept: Vec<CommitId>,
    /// Sessions whose agents have worked.
    worked: Vec<SessionId>,
    /// Every move of a branch, and to whose work.
    moves: Vec<(String, SessionId)>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Repository {
    fate: Arc<Fate>,
    state: Mutex<State>,
}

/// The commit of a session's work.
pub(super) fn commit_of(session: SessionId) -> CommitId {
    let digits: String = session
        .to_string()
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    CommitId::try_from(format!("{digits:0>40}")).expect("forty digits")
}

fn failed(source: io::Error) -> WorkspaceError {
    WorkspaceError::Io {
        action: "use",
        path: PathBuf::new(),
        source,
    }
}

fn not_simulated<T>() -> Result<T, WorkspaceError> {
    Err(failed(io::ErrorKind::Unsupported.into()))
}

impl Repository {
    pub(super) fn new(fate: Arc<Fate>) -> Self {
        Self {
            fate,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The agent of a session has worked.
    pub(super) fn work_in(&self, session: SessionId) {
        let mut state = self.state();
        if let Some(worktree) = state.worktrees.get_mut(&session) {
            worktree.has_work = true;
            state.worked.push(session);
        }
    }

    pub(super) fn worked(&self) -> Vec<SessionId> {
        self.state().worked.clone()
    }

    pub(super) fn branch(&self, name: &str) -> Option<CommitId> {
        self.state().branches.get(name).cloned()
    }

    /// Whether work of a session is on a branch, or kept.
    pub(super) fn keeps_work_of(&self, session: SessionId) -> bool {
        let (state, commit) = (self.state(), commit_of(session));
        state.branches.values().any(|at| *at == commit)
            || state.salvages.contains_key(&session)
            || state.kept.contains(&commit)
    }

    pub(super) fn moves(&self) -> Vec<(String, SessionId)> {
        self.state().moves.clone()
    }

    pub(super) fn worktrees(&self) -> Vec<SessionId> {
        self.state().worktrees.keys().copied().collect()
    }
}

impl Workspaces for Repository {
    fn default_mode(&self, _project: &Path) -> Result<WorkspaceMode, WorkspaceError> {
        Ok(WorkspaceMode::Worktree)
    }

    fn target(&self, _project: &Path, _configured: Option<&str>) -> Result<Target, WorkspaceError> {
        not_simulated()
    }

    fn prepare(&self, request: &PrepareRequest) -> Result<WorkspaceRecord, WorkspaceError> {
        self.fate.act(failed, || {
            let record = WorkspaceRecord {
                mode: WorkspaceMode::Worktree,
                path: format!("/worktrees/{}", request.session).into(),
                directory: format!("/worktrees/{}", request.session).into(),
                repository: Some("/project/.git".into()),
                target: Some("main".to_owned()),
                base: None,
                start: None,
                branch: Some(format!("crewboss/{}", request.task)),
                remote: None,
            };
            let made = Worktree {
                record: record.clone(),
                has_work: false,
            };
            self.state()
                .worktrees
                .entry(request.session)
                .or_insert(made);
            Ok(record)
        })
    }

    fn commit(
        &self,
        _workspace: &WorkspaceRecord,
        _authorship: &Authorship,
    ) -> Result<Option<Committed>, WorkspaceError> {
        not_simulated()
    }

    fn publish(
        &self,
        workspace: &WorkspaceRecord,
        commit: &CommitId,
        expected: Option<&CommitId>,
    ) -> Result<Published, WorkspaceError> {
        let branch = workspace.branch.clone().unwrap_or_default();
        self.fate.act(failed, || {
            let mut state = self.state();
            let there = state.branches.get(&branch).cloned();
            let published = |moved| Published {
                branch: branch.clone(),
                commit: commit.clone(),
                moved,
                kept: None,
            };
            match there.clone() {
                Some(at) if at == *commit => return Ok(published(false)),
                Some(at) if Some(&at) != expected => {
                    let branch = branch.clone();
                    return Err(WorkspaceError::BranchTaken { branch, at });
                }
                _ => {}
            }
            // As the real one does: what the branch held is kept.
            state.kept.extend(there);
            state.branches.insert(branch.clone(), commit.clone());
            let of = state.worked.iter().find(|one| commit_of(**one) == *commit);
            let of = of.copied().expect("its agent has worked");
            state.moves.push((branch.clone(), of));
            Ok(published(true))
        })
    }

    fn retire(
        &self,
        _workspace: &WorkspaceRecord,
        _session: SessionId,
    ) -> Result<Retired, WorkspaceError> {
        not_simulated()
    }

    fn salvage(
        &self,
        _workspace: &WorkspaceRecord,
        session: SessionId,
    ) -> Result<Option<Salvage>, WorkspaceError> {
        self.fate.act(failed, || {
            let mut state = self.state();
            let commit = commit_of(session);
            let has_work = state
                .worktrees
                .get(&session)
                .is_some_and(|one| one.has_work);
            if !has_work || state.branches.values().any(|at| *at == commit) {
                return Ok(None);
            }
            state.salvages.insert(session, commit.clone());
            Ok(Some(Salvage {
                reference: format!("refs/crewboss/salvage/{session}"),
                commit,
                warnings: vec![],
            }))
        })
    }

    fn remove(
        &self,
        workspace: &WorkspaceRecord,
        session: SessionId,
    ) -> Result<Removed, WorkspaceError> {
        let salvaged = self.salvage(workspace, session)?;
        self.fate.act(failed, || {
            self.state().worktrees.remove(&session);
            Ok(Removed::Gone(salvaged))
        })
    }

    fn abandon(&self, _project: &Path, session: SessionId) -> Result<(), WorkspaceError> {
        let record = self
            .state()
            .worktrees
            .get(&session)
            .map(|one| one.record.clone());
        match record {
            Some(record) => self.remove(&record, session).map(drop),
            None => Ok(()),
        }
    }

    fn discard_folder(
        &self,
        _workspace: &WorkspaceRecord,
        _session: SessionId,
    ) -> Result<(), WorkspaceError> {
        not_simulated()
    }

    fn diff(
        &self,
        _project: &Path,
        _base: &CommitId,
        _tip: &CommitId,
        _patch_bytes_max: usize,
    ) -> Result<Diff, WorkspaceError> {
        not_simulated()
    }

    fn merge(
        &self,
        _project: &Path,
        _branch: &str,
        _target: Option<&str>,
    ) -> Result<Merged, WorkspaceError> {
        not_simulated()
    }

    fn inventory(&self, _project: &Path) -> Result<Inventory, WorkspaceError> {
        let state = self.state();
        let found = state.worktrees.iter().map(|(session, one)| FoundWorktree {
            session: *session,
            path: one.record.path.clone(),
            present: true,
            registered: true,
            record: Some(one.record.clone()),
        });
        Ok(Inventory {
            worktrees: found.collect(),
            branches: state.branches.clone().into_iter().collect(),
            salvages: state.salvages.clone().into_iter().collect(),
        })
    }

    fn checkpoint(&self, _request: &CheckpointRequest) -> Result<CheckpointTree, WorkspaceError> {
        not_simulated()
    }

    fn keep_checkpoint(
        &self,
        _repository: &Path,
        _id: CheckpointId,
        _commit: &CommitId,
    ) -> Result<(), WorkspaceError> {
        not_simulated()
    }

    fn checkpoints(&self, _project: &Path) -> Result<Vec<KeptCheckpoint>, WorkspaceError> {
        Ok(vec![])
    }

    fn drop_checkpoint(&self, _project: &Path, _id: CheckpointId) -> Result<(), WorkspaceError> {
        not_simulated()
    }

    fn verify_checkpoint(
        &self,
        _repository: &Path,
        _commit: &CommitId,
        _tree: &CommitId,
    ) -> Result<Vec<String>, WorkspaceError> {
        not_simulated()
    }

    fn checkpoint_diff(
        &self,
        _project: &Path,
        _base: &CommitId,
        _tip: &CommitId,
        _patch_bytes_max: usize,
    ) -> Result<Diff, WorkspaceError> {
        not_simulated()
    }

    fn folders(&self) -> Result<Vec<(SessionId, PathBuf)>, WorkspaceError> {
        Ok(vec![])
    }
}
