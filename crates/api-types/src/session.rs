//! Sessions.

use domain::{
    agent::AgentName,
    gate::GateResult,
    id::{NodeId, SessionId, TaskId},
    process::Exit,
    session::{Session, SessionStatus},
    time::Timestamp,
    usage::Usage,
    workspace::{ChangedFile, CommitId, WorkspaceRecord},
};
use serde::{Deserialize, Serialize};

use crate::envelope::schemas;

/// One agent at work on one task. What only its end can tell is `null` until then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionDocument {
    /// Its id.
    pub id: SessionId,
    /// Its task.
    pub task: TaskId,
    /// Where it stands.
    pub status: SessionStatus,
    /// The agent at work.
    pub agent: AgentName,
    /// The number under which it speaks; text, as it may outgrow a double.
    pub fence: String,
    /// The node on which it is; none where no node has this store.
    #[serde(default)]
    pub node: Option<NodeId>,
    /// The process that owns it; none where an agent outside holds the task.
    pub runner_pid: Option<u32>,
    /// The agent's process.
    pub pid: Option<u32>,
    /// When the agent was started.
    pub started_at: Option<Timestamp>,
    /// When its time is up.
    pub deadline: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Where it edits, once that exists.
    pub workspace: Option<WorkspaceRecord>,
    /// How the agent's process ended.
    pub exit: Option<Exit>,
    /// What it used.
    pub usage: Option<Usage>,
    /// The agent's own id of the conversation.
    pub agent_session: Option<String>,
    /// The commit that holds its work.
    pub commit: Option<CommitId>,
    /// The branch that points there.
    pub branch: Option<String>,
    /// The reference that keeps work that was not finished.
    pub salvage: Option<String>,
    /// What changed against the base.
    pub changes: Option<Vec<ChangedFile>>,
    /// What the gates said.
    pub gates: Option<Vec<GateResult>>,
    /// The agent's last words.
    pub summary: Option<String>,
    /// What a person should know that is no failure.
    pub warnings: Option<Vec<String>>,
    /// Counts changes from 1; renewing the lease is one.
    #[serde(default)]
    pub version: u64,
}

schemas! {
    SessionDocument = "session";
}

impl From<&Session> for SessionDocument {
    fn from(session: &Session) -> Self {
        let outcome = session.outcome.as_ref();
        Self {
            id: session.id,
            task: session.task,
            status: session.status,
            agent: session.agent.clone(),
            fence: session.fence.to_string(),
            node: session.node,
            runner_pid: session.runner.as_ref().map(|runner| runner.pid),
            pid: session.process.as_ref().map(|process| process.pid),
            started_at: session.started_at,
            deadline: session.deadline.as_ref().map(|due| due.wall),
            ended_at: outcome.map(|outcome| outcome.ended_at),
            workspace: session.workspace.clone(),
            exit: outcome.and_then(|outcome| outcome.exit),
            usage: outcome.map(|outcome| outcome.usage),
            agent_session: outcome.and_then(|outcome| outcome.agent_session.clone()),
            commit: outcome.and_then(|outcome| outcome.commit.clone()),
            branch: outcome.and_then(|outcome| outcome.branch.clone()),
            salvage: outcome.and_then(|outcome| outcome.salvage.clone()),
            changes: outcome.map(|outcome| outcome.changes.clone()),
            gates: outcome.map(|outcome| outcome.gates.clone()),
            summary: outcome.and_then(|outcome| outcome.summary.clone()),
            warnings: outcome.map(|outcome| outcome.warnings.clone()),
            version: session.version,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{check, session};

    #[test]
    fn it_can_be_read_back_at_work_and_ended() {
        let ended = session();
        check(&SessionDocument::from(&ended));
        let at_work = Session {
            outcome: None,
            ..ended
        };
        let document = SessionDocument::from(&at_work);
        check(&document);
        assert_eq!((document.gates, document.fence), (None, "3".to_owned()));
    }
}
