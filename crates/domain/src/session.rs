//! The session aggregate: one agent at work on one task.

mod change;
mod decide;
mod outcome;
mod status;

use serde::{Deserialize, Serialize};

pub use self::{
    change::{SessionCommand, SessionEvent},
    outcome::Outcome,
    status::{SessionKind, SessionResult, SessionStatus, StopReason},
};
use crate::{
    agent::AgentName,
    id::{NodeId, ProjectId, SessionId, TaskId},
    process::ProcessIdentity,
    time::{Due, Moment, Timestamp},
    workspace::WorkspaceRecord,
};

/// A session with everything that decides about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Its task.
    pub task: TaskId,
    /// Its project.
    pub project: ProjectId,
    /// The fence under which it speaks.
    pub fence: u64,
    /// The agent at work.
    pub agent: AgentName,
    /// Who does the work.
    pub kind: SessionKind,
    /// Where it stands.
    pub status: SessionStatus,
    /// The node on which it is; this machine where `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// The process that claimed it and has to start its runner.
    pub launcher: ProcessIdentity,
    /// Its runner, once that has spoken.
    pub runner: Option<ProcessIdentity>,
    /// The agent's process, once started.
    pub process: Option<ProcessIdentity>,
    /// The right to speak ends here unless renewed.
    pub lease_until: Moment,
    /// Set once someone wants it to end.
    pub stop: Option<StopReason>,
    /// The agent's time is up then.
    pub deadline: Option<Due>,
    /// Where it edits, once that exists.
    pub workspace: Option<WorkspaceRecord>,
    /// The gates that it has to pass, known from when its agent has ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<String>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// When the agent was started.
    pub started_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Counts changes from 1.
    pub version: u64,
}

impl Session {
    /// Whether it is on another node than this one. Only there can be seen which of its processes
    /// live; everywhere else its lease alone speaks for it.
    #[must_use]
    pub fn is_elsewhere(&self, here: Option<NodeId>) -> bool {
        self.node.is_some() && self.node != here
    }

    /// The same without anything that an agent or a gate said: where it was, how it ended and which
    /// commit holds its work are left.
    #[must_use]
    pub fn emptied(self) -> Self {
        let outcome = self.outcome.map(|outcome| Outcome {
            usage: outcome.usage,
            commit: outcome.commit,
            branch: outcome.branch,
            salvage: outcome.salvage,
            exit: outcome.exit,
            ..Outcome::bare(outcome.result.emptied(), outcome.ended_at)
        });
        Self {
            gates: vec![],
            outcome,
            ..self
        }
    }
}
