//! The last steps of a session, by its runner or by whoever finds its outcome file: publish the
//! branch, tell the store. Each step may be repeated.

use domain::{
    session::{Outcome, Session, SessionCommand, SessionResult},
    workspace::{CommitId, WorkspaceMode},
};

use crate::{
    command::{Command, Meta, Output, RecoveryPolicy, Request},
    crash_points::CrashPoint,
    error::Error,
    ports::{
        store::Store,
        workspaces::{WorkspaceError, Workspaces},
    },
    query::{Query, View},
};

/// Why a session could not be settled; its outcome file stays and is settled later.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The branch could not be moved.
    #[error("cannot publish the work of {session}")]
    Publish {
        /// Whose work.
        session: String,
        /// Why.
        #[source]
        source: WorkspaceError,
    },
    /// The store did not take it.
    #[error("the store did not take the outcome of {session}")]
    Store {
        /// Whose outcome.
        session: String,
        /// Why.
        #[source]
        source: Error,
    },
}

/// What settling needs.
#[derive(Debug, Clone, Copy)]
pub struct Settling<'a> {
    /// Where sessions are.
    pub store: &'a dyn Store,
    /// Where branches are.
    pub workspaces: &'a dyn Workspaces,
    /// Who speaks.
    pub meta: &'a Meta,
    /// What follows a failure.
    pub recovery: &'a RecoveryPolicy,
    /// Whether worktrees stay after their work is on a branch or salvaged.
    pub keeps_worktrees: bool,
}

impl Settling<'_> {
    /// Carries an outcome into the world and the store. A session whose fence is void publishes
    /// nothing and changes nothing.
    ///
    /// The outcome's commit is on the branch, and the worktree gone, before the store says that the
    /// task is completed.
    pub fn settle(&self, session: &Session, outcome: &Outcome) -> Result<Session, SettleError> {
        let store_error = |source| SettleError::Store {
            session: session.id.to_string(),
            source,
        };
        let current = self.current(session).map_err(store_error)?;
        if current.status.is_terminal() {
            return Ok(current);
        }
        let workspace = current
            .workspace
            .as_ref()
            .filter(|record| record.branch.is_some());
        let mut outcome = outcome.clone();
        if let (Some(workspace), Some(commit), SessionResult::Completed) =
            (workspace, &outcome.commit, &outcome.result)
        {
            let kept = self
                .publish(workspace, commit)
                .map_err(|source| SettleError::Publish {
                    session: session.id.to_string(),
                    source,
                })?;
            outcome.warnings.extend(kept);
            let is_ours = || {
                let current = self.current(&current);
                current.is_ok_and(|current| !current.status.is_terminal())
            };
            let shared = self.workspaces.share(workspace, commit, &is_ours);
            let shared = shared.map_err(|source| SettleError::Publish {
                session: session.id.to_string(),
                source,
            })?;
            if !shared {
                return self.current(&current).map_err(store_error);
            }
            CrashPoint::Published.reached();
        }
        self.clear_away(&current);
        CrashPoint::Cleared.reached();
        self.finish(&current, &outcome).map_err(store_error)
    }

    /// Removes a workspace whose work is kept elsewhere, before the store says that the session
    /// has ended: afterwards nobody would look for it.
    fn clear_away(&self, session: &Session) {
        let Some(workspace) = &session.workspace else {
            return;
        };
        let stays = match workspace.mode {
            WorkspaceMode::Worktree => self.keeps_worktrees,
            WorkspaceMode::Folder => false,
            WorkspaceMode::InPlace => true,
        };
        if !stays {
            // What cannot be removed now harms nobody, and is removed with its task.
            drop(self.workspaces.remove(workspace, session.id));
        }
    }

    fn current(&self, session: &Session) -> Result<Session, Error> {
        match self.store.read(&Query::Session { id: session.id })? {
            View::Session { session } => Ok(*session),
            other => Err(Error::corrupt(format!("unexpected answer {other:?}"))),
        }
    }

    /// Moves the branch. One that an earlier session of the task left elsewhere is taken over: the
    /// fence of this session is the valid one. Says where work that was on it is kept.
    fn publish(
        &self,
        workspace: &domain::workspace::WorkspaceRecord,
        commit: &CommitId,
    ) -> Result<Option<String>, WorkspaceError> {
        let published = match self.workspaces.publish(workspace, commit, None) {
            Err(WorkspaceError::BranchTaken { at, .. }) => {
                self.workspaces.publish(workspace, commit, Some(&at))?
            }
            published => published?,
        };
        let branch = published.branch;
        let said = |kept| format!("branch `{branch}` held other work, which is kept in {kept}");
        Ok(published.kept.map(said))
    }

    fn finish(&self, session: &Session, outcome: &Outcome) -> Result<Session, Error> {
        let reply = self.store.execute(Request {
            meta: self.meta.clone(),
            done: vec![],
            command: Command::Session {
                session: session.id,
                fence: session.fence,
                command: SessionCommand::Finish {
                    outcome: Box::new(outcome.clone()),
                },
                recovery: *self.recovery,
            },
        })?;
        match reply.output {
            Output::Session { session } => Ok(*session),
            other => Err(Error::corrupt(format!("unexpected answer {other:?}"))),
        }
    }
}
