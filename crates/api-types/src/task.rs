//! Tasks: by themselves, as a row of a list, and with everything.

use std::collections::BTreeMap;

use domain::{
    agent::AgentName,
    failure::Failure,
    gate::GateResult,
    id::{Key, SessionId, TaskId},
    session::SessionStatus,
    task::{Continuation, Priority, Task, TaskKind, TaskMode, TaskStatus},
    time::Timestamp,
    usage::Usage,
    workspace::WorkspaceMode,
};
use serde::{Deserialize, Serialize};

use crate::{
    dependencies::DependencyRef, envelope::schemas, quota::QuotaInTheWay, session::SessionDocument,
};

/// A task by itself: what `start`, `retry`, `timeout ID` and `task …` print.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskDocument {
    /// Its id.
    pub id: TaskId,
    /// Where it stands.
    pub status: TaskStatus,
    /// The agent that is to do it.
    pub agent: AgentName,
    /// A short title.
    pub name: String,
    /// The user's words, as given.
    pub prompt: String,
    /// The caller's own name for it.
    pub key: Option<Key>,
    /// On whose behalf.
    pub owner: String,
    /// For filtering.
    #[serde(default)]
    pub labels: Vec<String>,
    /// The caller's own data.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// 1 to 10, higher is more important.
    pub priority: Priority,
    /// The roots of the chains that must have completed first.
    #[serde(default)]
    pub depends_on: Vec<TaskId>,
    /// Who does the work.
    pub kind: TaskKind,
    /// How many agents an external task may hold.
    pub mode: TaskMode,
    /// Where it edits; the project's choice where `null`.
    pub workspace_mode: Option<WorkspaceMode>,
    /// Seconds that an attempt may take.
    pub timeout_seconds: Option<u32>,
    /// How many retries the chain may have.
    pub retries_max: u32,
    /// Whether a failure is tried again by itself.
    pub auto_retry: bool,
    /// How many retries came before and with this one.
    pub retry_count: u32,
    /// The task that this one tries again.
    pub retry_of: Option<TaskId>,
    /// The task that tries this one again.
    pub retried_by: Option<TaskId>,
    /// The first task of the chain.
    pub chain_root: TaskId,
    /// What it goes on from, rather than from the target branch: a session, and the commit that
    /// holds its work.
    pub continues: Option<Continuation>,
    /// The task whose checkpoint it was made from.
    pub forked_from: Option<TaskId>,
    /// Why it failed: `reason` is one of a closed list, `message` one line, `details` the rest.
    pub failure: Option<Failure>,
    /// Not to be started before.
    pub not_before: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// When it left the ordinary lists.
    pub archived_at: Option<Timestamp>,
    /// When it was deleted.
    #[serde(default)]
    pub deleted_at: Option<Timestamp>,
    /// When everything was removed of it but its place among others.
    #[serde(default)]
    pub purged_at: Option<Timestamp>,
    /// Counts changes from 1.
    pub version: u64,
}

/// A task after its gates were run: what `task complete` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedTaskDocument {
    /// The task as it is now: completed, failed, or still with its holder.
    #[serde(flatten)]
    pub task: TaskDocument,
    /// What the gates said, in order; empty where there are none.
    #[serde(default)]
    pub gates: Vec<GateResult>,
}

/// A task of a list, with the main facts of its newest session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRow {
    /// The task.
    #[serde(flatten)]
    pub task: TaskDocument,
    /// The chains that it waits for: the newest task of each. Empty once it is ready.
    #[serde(default)]
    pub blocked_by: Vec<DependencyRef>,
    /// The quotas that it waits for: its owner or project has used them up.
    #[serde(default)]
    pub quotas: Vec<QuotaInTheWay>,
    /// Its newest session's id.
    pub session: Option<SessionId>,
    /// Where that stands.
    pub session_status: Option<SessionStatus>,
    /// When that one's agent was started.
    pub started_at: Option<Timestamp>,
    /// The agent's process.
    pub pid: Option<u32>,
    /// The branch that holds its finished work.
    pub branch: Option<String>,
    /// What its newest session used, once that has ended.
    pub usage: Option<Usage>,
}

/// A task with everything: what `show ID` prints. Its schema is that of [`TaskDocument`], whose
/// fields it has, so that a reader of that one reads it too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskDetailsDocument {
    /// The task.
    #[serde(flatten)]
    pub task: TaskDocument,
    /// As in a list.
    #[serde(default)]
    pub blocked_by: Vec<DependencyRef>,
    /// The quotas that it waits for: its owner or project has used them up.
    #[serde(default)]
    pub quotas: Vec<QuotaInTheWay>,
    /// Its newest session, whole.
    pub session: Option<SessionDocument>,
    /// Where that stands.
    pub session_status: Option<SessionStatus>,
    /// When that one's agent was started.
    pub started_at: Option<Timestamp>,
    /// The agent's process.
    pub pid: Option<u32>,
    /// The branch that holds its finished work.
    pub branch: Option<String>,
    /// What its newest session used, once that has ended.
    pub usage: Option<Usage>,
    /// All its sessions, oldest first.
    #[serde(default)]
    pub sessions: Vec<SessionDocument>,
    /// The tasks of its chain, oldest first.
    #[serde(default)]
    pub chain: Vec<TaskId>,
    /// What it depends on: the newest task of each chain.
    #[serde(default)]
    pub dependencies: Vec<DependencyRef>,
    /// The tasks that wait for its chain.
    #[serde(default)]
    pub dependants: Vec<TaskId>,
}

schemas! {
    TaskDocument = "task";
    CheckedTaskDocument = "task";
    TaskDetailsDocument = "task";
}

impl From<&Task> for TaskDocument {
    fn from(task: &Task) -> Self {
        let (spec, limits, chain) = (&task.spec, &task.limits, &task.chain);
        Self {
            id: task.id,
            status: task.status(),
            agent: spec.agent.clone(),
            name: spec.name.clone(),
            prompt: spec.prompt.clone(),
            key: spec.key.clone(),
            owner: spec.owner.clone(),
            labels: spec.labels.clone(),
            metadata: spec.metadata.clone(),
            priority: spec.priority,
            depends_on: spec.depends_on.clone(),
            kind: spec.kind,
            mode: spec.mode,
            workspace_mode: spec.workspace,
            timeout_seconds: limits.timeout_seconds,
            retries_max: limits.retries_max,
            auto_retry: limits.auto_retry,
            retry_count: chain.retry_count,
            retry_of: chain.retry_of,
            retried_by: chain.retried_by,
            chain_root: chain.root,
            continues: spec.continues.clone(),
            forked_from: spec.forked_from,
            failure: task.failure().cloned(),
            not_before: task.not_before.as_ref().map(|due| due.wall),
            created_at: task.created_at,
            updated_at: task.updated_at,
            ended_at: task.ended_at(),
            archived_at: task.archived_at,
            deleted_at: task.deleted_at,
            purged_at: task.purged_at,
            version: task.version,
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::failure::FailureReason;

    use super::*;
    use crate::samples::{check, session, task};

    #[test]
    fn they_can_be_read_back() {
        let plain = TaskDocument::from(&task());
        check(&plain);
        check(&CheckedTaskDocument {
            task: plain.clone(),
            gates: SessionDocument::from(&session()).gates.unwrap(),
        });
        check(&TaskDetailsDocument {
            task: plain,
            blocked_by: vec![],
            quotas: vec![],
            session: Some((&session()).into()),
            session_status: Some(SessionStatus::Failed),
            started_at: session().started_at,
            pid: Some(7),
            branch: None,
            usage: Some(Usage::default()),
            sessions: vec![(&session()).into()],
            chain: vec![task().id],
            dependencies: vec![],
            dependants: vec![],
        });
    }

    #[test]
    fn a_task_has_what_was_promised() {
        let document = serde_json::to_value(TaskDocument::from(&task())).unwrap();
        assert_eq!(document["id"], "task_4");
        assert_eq!(document["status"], "failed");
        assert_eq!(document["agent"], "coder");
        assert_eq!(
            document["failure"]["reason"],
            FailureReason::GateFailed.as_str()
        );
        assert_eq!(document["failure"]["message"], "gate `test` failed");
        let time = document["created_at"].as_str().unwrap();
        assert!(time.ends_with('Z'), "{time}");
        assert!(document["key"].is_null(), "what does not apply is null");
    }

    #[test]
    fn details_are_read_by_whoever_reads_a_task() {
        let plain = TaskDocument::from(&task());
        let details = TaskDetailsDocument {
            task: plain.clone(),
            blocked_by: vec![],
            quotas: vec![],
            session: None,
            session_status: None,
            started_at: None,
            pid: None,
            branch: None,
            usage: None,
            sessions: vec![],
            chain: vec![],
            dependencies: vec![],
            dependants: vec![],
        };
        let text = serde_json::to_string(&details).unwrap();
        assert_eq!(serde_json::from_str::<TaskDocument>(&text).unwrap(), plain);
    }
}
