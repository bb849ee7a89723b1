//! Where a task stands, and its place among retries.

use serde::{Deserialize, Serialize};

use crate::{
    failure::Failure,
    id::{SessionId, TaskId},
    time::Timestamp,
};

/// The place of a task in its retry chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// The first task of the chain; the task itself where it is no retry.
    pub root: TaskId,
    /// The task that this one tries again.
    pub retry_of: Option<TaskId>,
    /// How many retries came before and with this one.
    pub retry_count: u32,
    /// The task that tries this one again.
    pub retried_by: Option<TaskId>,
}

/// The stored state. Blocked, scheduled and retry due are derived from `Pending`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum TaskState {
    /// Waits for its turn.
    Pending,
    /// Somebody works on it.
    Running {
        /// The sessions at work: one for a managed or exclusive task.
        sessions: Vec<SessionId>,
        /// Since when.
        since: Timestamp,
    },
    /// Done, and its gates passed.
    Completed {
        /// When.
        at: Timestamp,
    },
    /// Not done.
    Failed {
        /// Why.
        failure: Failure,
        /// When.
        at: Timestamp,
    },
    /// Given up by someone.
    Cancelled {
        /// When.
        at: Timestamp,
    },
}

/// The stored word of a state, as in tables, filters and counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// See [`TaskState::Pending`].
    Pending,
    /// See [`TaskState::Running`].
    Running,
    /// See [`TaskState::Completed`].
    Completed,
    /// See [`TaskState::Failed`].
    Failed,
    /// See [`TaskState::Cancelled`].
    Cancelled,
}

impl TaskStatus {
    /// Every status.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing but deleting and archiving may follow.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}
impl TaskState {
    /// The stored word.
    #[must_use]
    pub fn status(&self) -> TaskStatus {
        match self {
            Self::Pending => TaskStatus::Pending,
            Self::Running { .. } => TaskStatus::Running,
            Self::Completed { .. } => TaskStatus::Completed,
            Self::Failed { .. } => TaskStatus::Failed,
            Self::Cancelled { .. } => TaskStatus::Cancelled,
        }
    }
}
