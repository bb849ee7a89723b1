//! The queue: what waits, what is started, what ends.

use std::{collections::BTreeMap, path::PathBuf};

use domain::{
    agent::AgentName,
    id::{SessionId, TaskId},
    task::TaskStatus,
};
use serde::{Deserialize, Serialize};

use crate::{
    envelope::schemas,
    session::SessionDocument,
    task::{TaskDocument, TaskRow},
};

/// How many tasks of each status there are, every status named.
pub type Counts = BTreeMap<TaskStatus, u64>;

/// What `status` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusDocument {
    /// The project's directory; none where it is not registered yet.
    pub project: Option<String>,
    /// What has not ended, and the newest of the rest, or those that were asked for; oldest first.
    #[serde(default)]
    pub tasks: Vec<TaskRow>,
    /// Whether there are others that the limit has cut off.
    #[serde(default)]
    pub more: bool,
    /// Of the whole project.
    pub counts: Counts,
}

/// What `timeout list` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeoutsDocument {
    /// The tasks that have a time limit and have not ended.
    #[serde(default)]
    pub tasks: Vec<TaskRow>,
}

/// What `wait` prints at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitDocument {
    /// The tasks that were waited for.
    #[serde(default)]
    pub tasks: Vec<TaskDocument>,
}

/// What `cancel` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelDocument {
    /// The tasks that were cancelled.
    #[serde(default)]
    pub tasks: Vec<TaskDocument>,
}

/// What `clean` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanDocument {
    /// The tasks that were deleted.
    #[serde(default)]
    pub deleted: Vec<TaskId>,
    /// Folders that stay, as there is no other copy of what they hold.
    #[serde(default)]
    pub kept: Vec<PathBuf>,
    /// Those of them that were purged too.
    #[serde(default)]
    pub purged: Vec<PurgedTask>,
}

/// A task of which nothing is left but its place among others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgedTask {
    /// It.
    pub id: TaskId,
    /// Branches and salvage references that are gone.
    #[serde(default)]
    pub removed_references: Vec<String>,
    /// References that keep work which no branch has.
    #[serde(default)]
    pub kept_references: Vec<String>,
    /// Folders that stay, as there is no other copy of what they hold.
    #[serde(default)]
    pub kept: Vec<PathBuf>,
}

/// What `task delete` and `task undelete` print.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletionDocument {
    /// The tasks, as they are now.
    #[serde(default)]
    pub tasks: Vec<TaskDocument>,
    /// Those of them that were purged too.
    #[serde(default)]
    pub purged: Vec<PurgedTask>,
}

/// What `task purge` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeDocument {
    /// The tasks that were purged, or would be.
    #[serde(default)]
    pub purged: Vec<PurgedTask>,
    /// Whether nothing was done.
    pub dry_run: bool,
}

/// What `task list` and `task find` print.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskListDocument {
    /// A page of those that were asked for, newest first.
    #[serde(default)]
    pub tasks: Vec<TaskRow>,
    /// How many there are of them in all.
    pub total: u64,
    /// How many stand before this page.
    pub offset: u64,
}

/// What `task stats` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskStatsDocument {
    /// How many tasks there are of those that were asked for.
    pub total: u64,
    /// Of each status.
    pub statuses: Counts,
    /// Of each owner.
    #[serde(default)]
    pub owners: BTreeMap<String, u64>,
    /// Of each agent.
    #[serde(default)]
    pub agents: BTreeMap<String, u64>,
    /// The newest.
    #[serde(default)]
    pub newest: Vec<TaskDocument>,
}

/// What `task executions` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionsDocument {
    /// The task.
    pub task: TaskId,
    /// Each time that an agent worked on it, oldest first.
    #[serde(default)]
    pub executions: Vec<SessionDocument>,
}

/// A task whose runner was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartedTask {
    /// The task.
    pub id: TaskId,
    /// Its new session.
    pub session: SessionId,
    /// The process of its runner.
    pub pid: u32,
    /// The agent.
    pub agent: AgentName,
}

/// A task that something could not be done with. Its id is what it is called where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedTask {
    /// The task.
    pub id: String,
    /// Why.
    pub message: String,
}

/// What `run` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunDocument {
    /// What was started.
    #[serde(default)]
    pub started: Vec<StartedTask>,
    /// What could not be started.
    #[serde(default)]
    pub failed: Vec<RefusedTask>,
    /// How many run now.
    pub running: u32,
}

schemas! {
    StatusDocument = "status";
    TimeoutsDocument = "timeouts";
    WaitDocument = "wait";
    CancelDocument = "cancel";
    CleanDocument = "clean";
    DeletionDocument = "deletion";
    PurgeDocument = "purge";
    TaskListDocument = "task_list";
    TaskStatsDocument = "task_stats";
    ExecutionsDocument = "executions";
    RunDocument = "run";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{check, session, task};

    fn row() -> TaskRow {
        TaskRow {
            task: (&task()).into(),
            blocked_by: vec![(&task()).into()],
            quotas: vec![],
            session: Some(session().id),
            session_status: Some(session().status),
            started_at: session().started_at,
            pid: None,
            branch: Some("crewboss/task_4-x".to_owned()),
            usage: None,
        }
    }

    fn purged() -> PurgedTask {
        PurgedTask {
            id: task().id,
            removed_references: vec!["refs/heads/crewboss/x".to_owned()],
            kept_references: vec!["refs/crewboss/salvage/ses_1".to_owned()],
            kept: vec!["/x".into()],
        }
    }

    #[test]
    fn they_can_be_read_back() {
        let counts = TaskStatus::ALL.map(|status| (status, 3)).into();
        check(&StatusDocument {
            project: Some("/p".to_owned()),
            tasks: vec![row()],
            more: true,
            counts,
        });
        check(&TimeoutsDocument { tasks: vec![row()] });
        let tasks = vec![TaskDocument::from(&task())];
        check(&WaitDocument {
            tasks: tasks.clone(),
        });
        check(&CancelDocument { tasks });
        check(&CleanDocument {
            deleted: vec![task().id],
            kept: vec!["/x".into()],
            purged: vec![purged()],
        });
        check(&DeletionDocument {
            tasks: vec![(&task()).into()],
            purged: vec![purged()],
        });
        check(&PurgeDocument {
            purged: vec![purged()],
            dry_run: true,
        });
        check(&TaskListDocument {
            tasks: vec![row()],
            total: 9,
            offset: 3,
        });
        check(&TaskStatsDocument {
            total: 1,
            statuses: TaskStatus::ALL.map(|status| (status, 3)).into(),
            owners: [("ada".to_owned(), 1)].into(),
            agents: [("coder".to_owned(), 1)].into(),
            newest: vec![(&task()).into()],
        });
        check(&ExecutionsDocument {
            task: task().id,
            executions: vec![(&session()).into()],
        });
        check(&RunDocument {
            started: vec![StartedTask {
                id: task().id,
                session: session().id,
                pid: 9,
                agent: session().agent,
            }],
            failed: vec![RefusedTask {
                id: "task_5".to_owned(),
                message: "no such program".to_owned(),
            }],
            running: 1,
        });
    }
}
