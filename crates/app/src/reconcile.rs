//! Recovery: finds sessions whose runner is gone and brings them to an end. Takes no input, may
//! run anywhere at any time, and twice at once.
//!
//! A dead runner's outcome file is applied. Without one, what it left running is ended, its work
//! is salvaged, and its task goes back to the queue under a higher fence: in this order, so that
//! no second agent starts while the first is alive.
//!
//! That is how a node sees to its own sessions. Of another node's nothing can be seen: its lease
//! alone says that it is lost, in the store's time, and what it left is left to its own node.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use domain::{
    id::{NodeId, ProjectId, SessionId},
    node::has_ended,
    process::ProcessIdentity,
    session::{Session, SessionCommand, SessionKind},
};

use crate::{
    command::{Command, Meta, RecoveryPolicy, Request},
    crash_points::CrashPoint,
    error::Error,
    ports::{
        clock::Clock,
        folders::{Folders, SessionPlace},
        processes::Processes,
        runners::Runners,
        store::Store,
        workspaces::{WorkspaceError, Workspaces},
    },
    query::{Query, View},
    settle::{SettleError, Settling},
};

/// What recovery works with.
#[derive(Debug, Clone)]
pub struct Reconciler {
    /// Where sessions are.
    pub store: Arc<dyn Store>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The node that this is.
    pub node: Option<NodeId>,
    /// How long after the end of its lease another node's session is sent back to the queue by
    /// whoever comes by: a leader is sooner, where one is at work.
    pub patience: Duration,
    /// Which processes live.
    pub processes: Arc<dyn Processes>,
    /// How runners are reached.
    pub runners: Arc<dyn Runners>,
    /// Where outcome files are.
    pub folders: Arc<dyn Folders>,
    /// Where the work is.
    pub workspaces: Arc<dyn Workspaces>,
    /// Who speaks.
    pub meta: Meta,
    /// What follows a loss.
    pub recovery: RecoveryPolicy,
    /// How long leftovers have after TERM.
    pub grace: Duration,
}

/// What was done about a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Its runner had written how it ended; that was applied.
    Settled(SessionId),
    /// It was lost: leftovers ended, work salvaged, task requeued.
    Orphaned {
        /// The session.
        session: SessionId,
        /// What was seen.
        why: String,
        /// How many processes it had left behind.
        leftovers: usize,
    },
    /// Something stood in the way; the next run tries again.
    Stuck {
        /// The session.
        session: SessionId,
        /// What stood in the way.
        why: String,
    },
}

/// Why a session needs recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    Launcher,
    Runner,
    Lease,
    /// Its lease has ended, but its runner may live where we cannot see it.
    OutOfSight,
    /// Its lease has ended on another node.
    Elsewhere,
}

impl Loss {
    fn describe(self) -> &'static str {
        match self {
            Self::Launcher => "the command that started it ended before its runner began",
            Self::Runner => "its runner ended without an outcome",
            Self::Lease => "it gave no sign of life in time",
            Self::Elsewhere => "its node gave no sign of it in time",
            Self::OutOfSight => {
                "held in another pid namespace: it gave no sign of life in time, but only there can \
                 be seen whether its runner lives"
            }
        }
    }
}

impl Reconciler {
    /// Recovers every lost session of a project, or of all.
    pub fn run(&self, project: Option<ProjectId>) -> Result<Vec<Finding>, Error> {
        let sessions = match self.store.read(&Query::LiveSessions { project })? {
            View::Sessions { sessions } => sessions,
            other => return Err(Error::corrupt(format!("unexpected answer {other:?}"))),
        };
        Ok(self.recover_lost(&sessions))
    }

    /// Recovers those of these sessions that are lost. They have to be what the store just said.
    pub fn recover_lost(&self, live: &[Session]) -> Vec<Finding> {
        let lost = live
            .iter()
            .filter_map(|session| Some((session, self.loss(session)?)));
        lost.map(|(session, loss)| self.recover(session, loss))
            .collect()
    }

    fn loss(&self, session: &Session) -> Option<Loss> {
        let now = self.clock.now();
        if session.is_elsewhere(self.node) {
            let patience = u64::try_from(self.patience.as_millis()).unwrap_or(u64::MAX);
            let until = session.lease_until.plus_millis(patience);
            return has_ended(&until, &now).then_some(Loss::Elsewhere);
        }
        let lease_ended = has_ended(&session.lease_until, &now);
        if session.kind == SessionKind::External {
            return lease_ended.then_some(Loss::Lease);
        }
        let silent = || lease_ended && self.runners.poke(session.id).is_err();
        match &session.runner {
            Some(runner) if self.processes.is_out_of_sight(runner) => {
                silent().then_some(Loss::OutOfSight)
            }
            Some(runner) if !self.processes.is_alive(runner) => Some(Loss::Runner),
            // Whoever launches in another pid namespace cannot be seen; a runner that begins after
            // its lease has ended is refused.
            None if self.processes.is_out_of_sight(&session.launcher) => {
                lease_ended.then_some(Loss::Lease)
            }
            // Whoever launches does not wait for the runner to begin: that may be on its way.
            None if !self.processes.is_alive(&session.launcher)
                && self.processes.members(session.id).is_empty() =>
            {
                Some(Loss::Launcher)
            }
            // A machine that slept wakes up with every lease ended: a runner that answers renews.
            Some(_) => silent().then_some(Loss::Lease),
            None => lease_ended.then_some(Loss::Lease),
        }
    }

    fn recover(&self, session: &Session, loss: Loss) -> Finding {
        let stuck = |why: String| Finding::Stuck {
            session: session.id,
            why,
        };
        if loss == Loss::OutOfSight {
            return stuck(loss.describe().to_owned());
        }
        if session.kind == SessionKind::External && loss != Loss::Elsewhere {
            // Its agent is not ours to end, but checks of its work may have been left behind.
            let leftovers = match self.end_processes(session, loss) {
                Ok(leftovers) => leftovers,
                Err(left) => return stuck(format!("processes that cannot be ended: {left:?}")),
            };
            return match self.orphan(session, loss) {
                Ok(()) => orphaned(session, loss, leftovers),
                Err(error) => stuck(error.to_string()),
            };
        }
        if matches!(loss, Loss::Launcher | Loss::Elsewhere) {
            // Nothing was started under this session, or what was is its own node's to end: a runner
            // that begins after this is refused.
            return match self.orphan(session, loss) {
                Ok(()) => orphaned(session, loss, 0),
                Err(error) => stuck(error.to_string()),
            };
        }
        let root = match self.root(session.project) {
            Ok(root) => root,
            Err(error) => return stuck(error.to_string()),
        };
        let place = SessionPlace {
            root,
            task: session.task,
            session: session.id,
        };
        let leftovers = match self.end_processes(session, loss) {
            Ok(leftovers) => leftovers,
            Err(left) => return stuck(format!("processes that cannot be ended: {left:?}")),
        };
        CrashPoint::LeftoversEnded.reached();
        // A file that is not whole was never settled by anyone: the work is done again.
        let mut why = loss.describe().to_owned();
        if let Ok(Some(outcome)) = self.folders.read_outcome(&place) {
            match session.believes(&outcome) {
                Ok(()) => {
                    return match self.settling().settle(session, &outcome) {
                        Ok(_) => Finding::Settled(session.id),
                        Err(error) => stuck(describe(&error)),
                    };
                }
                Err(doubt) => why = format!("{why}; {doubt}"),
            }
        }
        if let Err(error) = self.clear_away(session, &place.root) {
            return stuck(error.to_string());
        }
        CrashPoint::Salvaged.reached();
        match self.give_up(session, &why, true) {
            Ok(()) => Finding::Orphaned {
                session: session.id,
                why,
                leftovers,
            },
            Err(error) => stuck(error.to_string()),
        }
    }

    fn settling(&self) -> Settling<'_> {
        Settling {
            store: &*self.store,
            workspaces: &*self.workspaces,
            meta: &self.meta,
            recovery: &self.recovery,
            keeps_worktrees: false,
        }
    }

    /// Ends what is left of a session, its silent runner included.
    fn end_processes(&self, session: &Session, loss: Loss) -> Result<usize, Vec<ProcessIdentity>> {
        if loss == Loss::Lease
            && let Some(runner) = &session.runner
        {
            self.processes.kill(runner);
        }
        let ended = self.processes.end_session(session.id, self.grace);
        if ended.left.is_empty() {
            Ok(ended.obeyed + ended.killed)
        } else {
            Err(ended.left)
        }
    }

    fn orphan(&self, session: &Session, loss: Loss) -> Result<(), Error> {
        self.give_up(session, loss.describe(), true)
    }

    /// Sends the task of a session back to the queue. Nothing of the session may live any more. It
    /// `counts` as a loss of the task unless nothing of the session was ever started.
    pub fn give_up(&self, session: &Session, why: &str, counts: bool) -> Result<(), Error> {
        let request = Request {
            meta: self.meta.clone(),
            done: vec![],
            command: Command::Session {
                session: session.id,
                fence: session.fence,
                command: SessionCommand::Orphan {
                    why: why.to_owned(),
                    runner: session.runner.clone(),
                    lease_until: session.lease_until.clone(),
                    counts,
                },
                recovery: self.recovery,
            },
        };
        self.store.execute(request).map(|_| ())
    }

    /// Keeps the work of a session and removes its workspace, while the session can still be found.
    fn clear_away(&self, session: &Session, root: &Path) -> Result<(), WorkspaceError> {
        // What cannot be removed now stays behind and harms nobody: its work is kept.
        match &session.workspace {
            Some(workspace) => {
                self.workspaces.salvage(workspace, session.id)?;
                drop(self.workspaces.remove(workspace, session.id));
            }
            None => drop(self.workspaces.abandon(root, session.id)),
        }
        Ok(())
    }

    fn root(&self, project: ProjectId) -> Result<PathBuf, Error> {
        match self.store.read(&Query::Projects)? {
            View::Projects { projects } => projects
                .into_iter()
                .find(|known| known.id == project)
                .map(|known| PathBuf::from(known.root))
                .ok_or_else(|| Error::not_found("Project", project)),
            other => Err(Error::corrupt(format!("unexpected answer {other:?}"))),
        }
    }
}

fn describe(error: &SettleError) -> String {
    let cause = std::error::Error::source(error)
        .map(ToString::to_string)
        .unwrap_or_default();
    format!("{error}: {cause}")
}

fn orphaned(session: &Session, loss: Loss, leftovers: usize) -> Finding {
    Finding::Orphaned {
        session: session.id,
        why: loss.describe().to_owned(),
        leftovers,
    }
}
