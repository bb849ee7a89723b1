//! Tasks as a list shows them: what fits on a line, and no more.

use domain::{
    agent::AgentName,
    failure::FailureReason,
    id::{Key, TaskId},
    process::ProcessIdentity,
    project::Project,
    quota::QuotaUse,
    session::{Session, SessionStatus},
    task::{TaskState, TaskStatus},
    time::{Due, Timestamp},
};
use serde::{Deserialize, Serialize};

use crate::query::{Counts, TaskView};

/// Characters of a prompt that are kept: no list shows more on one line.
const PROMPT_CHARS: usize = 200;

/// Everything that `status` needs, read at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overview {
    /// The project.
    pub project: Project,
    /// Its sessions that have not ended, oldest first: some may be lost.
    pub live: Vec<Session>,
    /// Everything that has not ended, and the newest; oldest first.
    pub tasks: Vec<TaskLine>,
    /// Of the whole project.
    pub counts: Counts,
}

/// A task on a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskLine {
    /// Its id.
    pub id: TaskId,
    /// The name that the user gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// The agent that is to do it.
    pub agent: AgentName,
    /// Where it stands.
    pub status: TaskStatus,
    /// Whether it was deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// The first 200 characters of the prompt.
    pub prompt: String,
    /// Since when somebody works on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureLine>,
    /// How many retries came before and with it.
    pub retry_count: u32,
    /// How many the chain may have.
    pub retries_max: u32,
    /// Whether a failure is tried again by itself.
    pub auto_retry: bool,
    /// The task that tries it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retried_by: Option<TaskId>,
    /// Not to be started before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Due>,
    /// Seconds that an attempt may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
    /// Seconds before the deadline at which a warning is shown.
    pub timeout_warning_seconds: u32,
    /// The chains that it waits for: the newest task of each, with its status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocked_by: Vec<(TaskId, TaskStatus)>,
    /// The quotas that it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quotas: Vec<QuotaUse>,
    /// Its newest session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionLine>,
}

/// A failure on a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureLine {
    /// Of which kind.
    pub reason: FailureReason,
    /// What was said.
    pub message: String,
}

/// A session on a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionLine {
    /// Where it stands.
    pub status: SessionStatus,
    /// Whether someone wants it to end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopping: bool,
    /// The agent's process, while there is no outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessIdentity>,
    /// When the agent was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The agent's time is up then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Due>,
    /// How many files it changed.
    #[serde(default)]
    pub files_changed: usize,
}

impl From<&TaskView> for TaskLine {
    fn from(view: &TaskView) -> Self {
        let task = &view.task;
        Self {
            id: task.id,
            key: task.spec.key.clone(),
            agent: task.spec.agent.clone(),
            status: task.status(),
            deleted: task.deleted_at.is_some(),
            prompt: task.spec.prompt.chars().take(PROMPT_CHARS).collect(),
            since: match &task.state {
                TaskState::Running { since, .. } => Some(*since),
                _ => None,
            },
            failure: task.failure().map(|failure| FailureLine {
                reason: failure.reason,
                message: failure.message.clone(),
            }),
            retry_count: task.chain.retry_count,
            retries_max: task.limits.retries_max,
            auto_retry: task.limits.auto_retry,
            retried_by: task.chain.retried_by,
            not_before: task.not_before.clone(),
            timeout_seconds: task.limits.timeout_seconds,
            timeout_warning_seconds: task.limits.timeout_warning_seconds,
            blocked_by: view.blocked_by.clone(),
            quotas: view.quotas.clone(),
            session: view.session.as_ref().map(SessionLine::from),
        }
    }
}

impl From<&Session> for SessionLine {
    fn from(session: &Session) -> Self {
        let outcome = session.outcome.as_ref();
        Self {
            status: session.status,
            stopping: session.stop.is_some(),
            process: session.process.clone().filter(|_| outcome.is_none()),
            started_at: session.started_at,
            ended_at: outcome.map(|outcome| outcome.ended_at),
            deadline: session.deadline.clone().filter(|_| outcome.is_none()),
            files_changed: outcome.map_or(0, |outcome| outcome.changes.len()),
        }
    }
}
