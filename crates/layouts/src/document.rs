//! A task file: its content, and the exact form in which it is written.

use domain::{id::TaskId, task::TaskStatus, time::Timestamp};
use serde_json::{Map, Value};

use crate::{layout::Layout, places};

/// The status as task files write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Word {
    /// Waits.
    Pending,
    /// Is worked on.
    Running,
    /// Done.
    Complete,
    /// Not done.
    Failed,
    /// Not wanted any more.
    Cancelled,
}

impl Word {
    /// Every word.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Running,
        Self::Complete,
        Self::Failed,
        Self::Cancelled,
    ];

    /// As it stands in the file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the task has ended.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Complete | Self::Failed | Self::Cancelled)
    }
}

impl From<TaskStatus> for Word {
    fn from(status: TaskStatus) -> Self {
        match status {
            TaskStatus::Pending => Self::Pending,
            TaskStatus::Running => Self::Running,
            TaskStatus::Completed => Self::Complete,
            TaskStatus::Failed => Self::Failed,
            TaskStatus::Cancelled => Self::Cancelled,
        }
    }
}

/// One entry of `retryHistory`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Which retry, from 1.
    pub attempt: u32,
    /// When it was made.
    pub timestamp: Option<Timestamp>,
    /// Why the task before it failed.
    pub error: String,
    /// The task before it.
    pub retried_from: Option<TaskId>,
}

/// A task file's content. `planFile` and `logFile` are not in it: they follow from the id.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// `taskId`.
    pub id: TaskId,
    /// `status`.
    pub status: Word,
    /// `agent`, not checked.
    pub agent: String,
    /// `prompt`.
    pub prompt: String,
    /// `createdAt`.
    pub created_at: Timestamp,
    /// `startedAt`.
    pub started_at: Option<Timestamp>,
    /// `completedAt`: any end.
    pub completed_at: Option<Timestamp>,
    /// `timedOutAt`.
    pub timed_out_at: Option<Timestamp>,
    /// `retriedAt`.
    pub retried_at: Option<Timestamp>,
    /// `pid`.
    pub pid: Option<u32>,
    /// `errorMessage`.
    pub error_message: Option<String>,
    /// `retryCount`.
    pub retry_count: u32,
    /// `maxRetries`.
    pub retries_max: u32,
    /// `autoRetry`.
    pub auto_retry: bool,
    /// `retryHistory`.
    pub retry_history: Vec<Attempt>,
    /// `parentTaskId`: the first task of the chain.
    pub parent: Option<TaskId>,
    /// `retriedBy`.
    pub retried_by: Option<TaskId>,
    /// `priority`, 1 to 10.
    pub priority: u8,
    /// `timeout` in seconds.
    pub timeout: Option<u32>,
    /// `timeoutWarning` in seconds.
    pub timeout_warning: Option<u32>,
    /// `dependsOn`.
    pub depends_on: Vec<TaskId>,
    /// `blockedBy`.
    pub blocked_by: Option<TaskId>,
    /// `blockedReason`.
    pub blocked_reason: Option<String>,
    /// Keys of other tools, as they were.
    pub extra: Map<String, Value>,
}

impl Document {
    /// The bytes of the file: indented by two spaces, every key in its order, no newline at the end.
    #[must_use]
    pub fn render(&self, layout: Layout) -> Vec<u8> {
        let mut keys = self.known(layout);
        for (key, value) in &self.extra {
            keys.entry(key.clone()).or_insert_with(|| value.clone());
        }
        serde_json::to_vec_pretty(&keys).expect("a map of plain values")
    }

    fn known(&self, layout: Layout) -> Map<String, Value> {
        let mut keys = Map::new();
        let mut put = |key: &str, value: Value| {
            keys.insert(key.to_owned(), value);
        };
        put("taskId", text(self.id));
        put("status", self.status.as_str().into());
        put("agent", self.agent.clone().into());
        put("prompt", self.prompt.clone().into());
        put("planFile", places::shown_plan(layout, self.id).into());
        put("logFile", places::shown_log(layout, self.id).into());
        put("createdAt", text(self.created_at));
        put("startedAt", self.started_at.map_or(Value::Null, text));
        put("completedAt", self.completed_at.map_or(Value::Null, text));
        put("timedOutAt", self.timed_out_at.map_or(Value::Null, text));
        put("retriedAt", self.retried_at.map_or(Value::Null, text));
        put("pid", self.pid.into());
        put("errorMessage", self.error_message.clone().into());
        put("retryCount", self.retry_count.into());
        put("maxRetries", self.retries_max.into());
        put("autoRetry", self.auto_retry.into());
        put(
            "retryHistory",
            self.retry_history.iter().map(Attempt::render).collect(),
        );
        put("parentTaskId", self.parent.map_or(Value::Null, text));
        put("retriedBy", self.retried_by.map_or(Value::Null, text));
        put("priority", self.priority.into());
        put("timeout", self.timeout.into());
        put("timeoutWarning", self.timeout_warning.into());
        // The older of the two folders is also read by tools that know nothing of dependencies.
        if layout == Layout::Orchestra || !self.depends_on.is_empty() {
            put("dependsOn", self.depends_on.iter().map(text).collect());
            put("blockedBy", self.blocked_by.map_or(Value::Null, text));
            put("blockedReason", self.blocked_reason.clone().into());
        }
        keys
    }
}

impl Attempt {
    pub(crate) fn render(&self) -> Value {
        let mut keys = Map::new();
        keys.insert("attempt".to_owned(), self.attempt.into());
        keys.insert(
            "timestamp".to_owned(),
            self.timestamp.map_or(Value::Null, text),
        );
        keys.insert("error".to_owned(), self.error.clone().into());
        keys.insert(
            "retriedFrom".to_owned(),
            self.retried_from.map_or(Value::Null, text),
        );
        Value::Object(keys)
    }
}

fn text(value: impl std::fmt::Display) -> Value {
    Value::String(value.to_string())
}
