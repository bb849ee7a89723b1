//! The task aggregate: one piece of work, and the only two functions that change it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    agent::AgentName,
    failure::{Failure, FailureReason},
    gate::GateSpec,
    id::{CheckpointId, Key, ProjectId, SessionId, TaskId},
    rejection::Rejected,
    retry::Backoff,
    time::{Due, Now, Timestamp},
    workspace::{CommitId, WorkspaceMode},
};

/// 1 to 10, higher is more important.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Priority(u8);

/// A number that is no [`Priority`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("priority is a number from 1 to 10, higher is more important")]
pub struct InvalidPriority;

impl Priority {
    /// What a task gets that asks for nothing.
    pub const DEFAULT: Self = Self(5);
    /// The highest.
    pub const MAX: Self = Self(10);

    /// Every priority, highest first.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=10).rev().map(Self)
    }

    /// 1 to 10.
    #[must_use]
    pub fn value(self) -> u8 {
        self.0
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl TryFrom<u8> for Priority {
    type Error = InvalidPriority;

    fn try_from(value: u8) -> Result<Self, InvalidPriority> {
        if (1..=10).contains(&value) {
            Ok(Self(value))
        } else {
            Err(InvalidPriority)
        }
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> Self {
        priority.0
    }
}

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// Crewboss starts the agent.
    #[default]
    Managed,
    /// Agents attach from outside and end the task; Crewboss never launches it.
    External,
}

/// How many agents an external task may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskMode {
    /// One at a time.
    #[default]
    Exclusive,
    /// Several, each with its own session.
    Collaborative,
}

/// What a task goes on from, instead of the project's target branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continuation {
    /// The session whose work it takes, and whose conversation where the agent can go on with it.
    pub session: SessionId,
    /// The commit that holds that work; `None` where it left none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitId>,
    /// The checkpoint that it starts from, with plan, decisions and conversation as they were then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointId>,
}

/// What was asked for. It never changes once the task exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSpec {
    /// The agent that is to do it.
    pub agent: AgentName,
    /// The user's words, as given. Never redacted.
    pub prompt: String,
    /// A short title; the first line of the prompt where none was given.
    pub name: String,
    /// The caller's own name for the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// On whose behalf.
    pub owner: String,
    /// For filtering.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// The caller's own data.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Importance.
    #[serde(default)]
    pub priority: Priority,
    /// Tasks whose chains must have completed first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<TaskId>,
    /// Where it edits; the project's choice where `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspaceMode>,
    /// Gates besides the project's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateSpec>,
    /// Whether ending without a diff is a failure.
    #[serde(default)]
    pub require_diff: bool,
    /// What it goes on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<Continuation>,
    /// The task whose checkpoint it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<TaskId>,
    /// Who does the work.
    #[serde(default)]
    pub kind: TaskKind,
    /// How many agents an external task may hold.
    #[serde(default)]
    pub mode: TaskMode,
}

/// What may still be changed while the task lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Seconds that an attempt may take; no limit where `None`.
    pub timeout_seconds: Option<u32>,
    /// Seconds before the deadline at which a warning is shown.
    pub timeout_warning_seconds: u32,
    /// How many retries the chain may have.
    pub retries_max: u32,
    /// Whether a failure is tried again by itself.
    pub auto_retry: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout_seconds: None,
            timeout_warning_seconds: 60,
            retries_max: 3,
            auto_retry: false,
        }
    }
}

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

/// A task with everything that decides about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// Its project.
    pub project: ProjectId,
    /// What was asked for.
    pub spec: TaskSpec,
    /// What may still change.
    pub limits: Limits,
    /// Its place among retries.
    pub chain: Chain,
    /// Its state.
    pub state: TaskState,
    /// The number that makes a late writer's words void; raised by every claim and requeue.
    pub fence: u64,
    /// How often it went back to the queue for no fault of its own.
    pub requeues: u32,
    /// Not to be started before.
    pub not_before: Option<Due>,
    /// When it left the ordinary lists.
    pub archived_at: Option<Timestamp>,
    /// When it was deleted; the row stays.
    pub deleted_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Counts changes from 1; what compare-and-set compares.
    pub version: u64,
}

/// What may be asked of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskCommand {
    /// Take it out of the queue for a session.
    Claim {
        /// The session that will work on it.
        session: SessionId,
    },
    /// An outside agent joins an external task.
    Attach {
        /// Its session.
        session: SessionId,
    },
    /// An outside agent leaves.
    Detach {
        /// Its session.
        session: SessionId,
    },
    /// Back to the queue, for no fault of the task.
    Requeue {
        /// The fence of the session that was lost.
        fence: u64,
        /// How many requeues are allowed before the task fails.
        requeues_max: u32,
        /// Whether this is one of them.
        counts: bool,
    },
    /// It is done.
    Complete {
        /// The fence under which it was done.
        fence: u64,
    },
    /// It is not done.
    Fail {
        /// The fence under which it failed.
        fence: u64,
        /// Why.
        failure: Failure,
    },
    /// Its session was cancelled, or nobody works on it and it is not wanted any more.
    Cancel {
        /// The fence of the session that ended; `None` only where no session works on it.
        fence: Option<u64>,
    },
    /// Another task tries this one again.
    Retry {
        /// The new task.
        by: TaskId,
        /// How many retries the chain may have, with this one.
        retries_max: u32,
    },
    /// Change the limits.
    ChangeLimits {
        /// All of them, as they are to be.
        limits: Limits,
    },
    /// Take it out of the ordinary lists, or put it back.
    Archive {
        /// Out (`true`) or back (`false`).
        archived: bool,
    },
    /// Note that what it has reached was kept.
    Checkpoint {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The SHA-256 of its manifest, in hexadecimal digits.
        manifest: String,
    },
    /// Delete it, softly.
    Delete,
}

/// What happened to a task. Stored: fields are added, never renamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TaskEvent {
    /// It was made.
    Created {
        /// Everything at its beginning.
        task: Box<Task>,
    },
    /// See [`TaskCommand::Claim`].
    Claimed {
        /// The session that works on it.
        session: SessionId,
        /// The new fence.
        fence: u64,
    },
    /// See [`TaskCommand::Attach`].
    Attached {
        /// The session that joined.
        session: SessionId,
        /// The fence from now on.
        fence: u64,
    },
    /// See [`TaskCommand::Detach`].
    Detached {
        /// The session that left.
        session: SessionId,
    },
    /// See [`TaskCommand::Requeue`].
    Requeued {
        /// The new fence.
        fence: u64,
        /// Whether it counts as a loss.
        #[serde(default = "counts_by_default", skip_serializing_if = "Clone::clone")]
        counts: bool,
    },
    /// See [`TaskCommand::Complete`].
    Completed,
    /// See [`TaskCommand::Fail`].
    Failed {
        /// Why.
        failure: Failure,
    },
    /// See [`TaskCommand::Cancel`].
    Cancelled,
    /// See [`TaskCommand::Retry`].
    Retried {
        /// The new task.
        by: TaskId,
    },
    /// See [`TaskCommand::ChangeLimits`].
    LimitsChanged {
        /// As they are from now on.
        limits: Limits,
    },
    /// See [`TaskCommand::Archive`].
    Archived,
    /// See [`TaskCommand::Archive`].
    Restored,
    /// See [`TaskCommand::Checkpoint`].
    Checkpointed {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The SHA-256 of its manifest.
        manifest: String,
    },
    /// See [`TaskCommand::Delete`].
    Deleted,
}

fn counts_by_default() -> bool {
    true
}

impl TaskEvent {
    /// The stored name of the event's type.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Created { .. } => "task.created",
            Self::Claimed { .. } => "task.claimed",
            Self::Attached { .. } => "task.attached",
            Self::Detached { .. } => "task.detached",
            Self::Requeued { .. } => "task.requeued",
            Self::Completed => "task.completed",
            Self::Failed { .. } => "task.failed",
            Self::Cancelled => "task.cancelled",
            Self::Retried { .. } => "task.retried",
            Self::LimitsChanged { .. } => "task.limits_changed",
            Self::Archived => "task.archived",
            Self::Restored => "task.restored",
            Self::Checkpointed { .. } => "task.checkpointed",
            Self::Deleted => "task.deleted",
        }
    }
}

impl TaskCommand {
    /// The command's name, as in rejections and documentation.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Claim { .. } => "start",
            Self::Attach { .. } => "attach",
            Self::Detach { .. } => "detach",
            Self::Requeue { .. } => "requeue",
            Self::Complete { .. } => "complete",
            Self::Fail { .. } => "fail",
            Self::Cancel { .. } => "cancel",
            Self::Retry { .. } => "retry",
            Self::ChangeLimits { .. } => "change limits",
            Self::Archive { archived: true } => "archive",
            Self::Archive { archived: false } => "restore",
            Self::Checkpoint { .. } => "checkpoint",
            Self::Delete => "delete",
        }
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

impl Task {
    /// The stored word of its state.
    #[must_use]
    pub fn status(&self) -> TaskStatus {
        self.state.status()
    }

    /// The sessions at work on it.
    #[must_use]
    pub fn sessions(&self) -> &[SessionId] {
        match &self.state {
            TaskState::Running { sessions, .. } => sessions,
            TaskState::Pending
            | TaskState::Completed { .. }
            | TaskState::Failed { .. }
            | TaskState::Cancelled { .. } => &[],
        }
    }

    /// Why it failed, where it did.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match &self.state {
            TaskState::Failed { failure, .. } => Some(failure),
            TaskState::Pending
            | TaskState::Running { .. }
            | TaskState::Completed { .. }
            | TaskState::Cancelled { .. } => None,
        }
    }

    /// When it ended, where it did.
    #[must_use]
    pub fn ended_at(&self) -> Option<Timestamp> {
        match &self.state {
            TaskState::Completed { at }
            | TaskState::Failed { at, .. }
            | TaskState::Cancelled { at } => Some(*at),
            TaskState::Pending | TaskState::Running { .. } => None,
        }
    }

    /// The task that tries this one again after `backoff`, with everything else as it was.
    ///
    /// The caller asks [`Self::decide`] with [`TaskCommand::Retry`] first.
    #[must_use]
    pub fn successor(&self, id: TaskId, limits: Limits, wait: Option<&Backoff>, now: &Now) -> Self {
        let retry_count = self.chain.retry_count + 1;
        Self {
            id,
            project: self.project,
            spec: TaskSpec {
                key: None,
                ..self.spec.clone()
            },
            limits,
            chain: Chain {
                root: self.chain.root,
                retry_of: Some(self.id),
                retry_count,
                retried_by: None,
            },
            state: TaskState::Pending,
            fence: 0,
            requeues: 0,
            not_before: wait.map(|backoff| now.after_millis(backoff.delay_millis(retry_count))),
            archived_at: None,
            deleted_at: None,
            created_at: now.wall,
            updated_at: now.wall,
            version: 1,
        }
    }

    /// The only place where a change is allowed or refused.
    ///
    /// A command under a stale fence, and one whose effect is there already, yields no event.
    ///
    /// # Errors
    /// [`Rejected`] names the state and the command where the state does not allow it.
    pub fn decide(&self, command: &TaskCommand) -> Result<Vec<TaskEvent>, Rejected> {
        let rejected = |why: &str| {
            let state = if self.deleted_at.is_some() {
                "deleted"
            } else {
                self.status().as_str()
            };
            Err(Rejected::new(self.id, state, command.name(), why))
        };
        if self.deleted_at.is_some() {
            return match command {
                TaskCommand::Delete => Ok(vec![]),
                command if command.fence().is_some() => Ok(vec![]),
                _ => rejected("the task was deleted"),
            };
        }
        if command.fence().is_some_and(|fence| fence != self.fence) {
            return Ok(vec![]);
        }
        match (&self.state, command) {
            (TaskState::Pending, TaskCommand::Claim { session }) => match self.spec.kind {
                TaskKind::Managed => Ok(vec![TaskEvent::Claimed {
                    session: *session,
                    fence: self.fence + 1,
                }]),
                TaskKind::External => rejected("agents attach to an external task themselves"),
            },
            (TaskState::Running { .. }, TaskCommand::Claim { .. }) => rejected("it is running"),
            (TaskState::Failed { .. }, TaskCommand::Claim { .. }) => {
                rejected("it has failed, and only a retry tries it again")
            }

            (TaskState::Pending, TaskCommand::Attach { session }) => match self.spec.kind {
                TaskKind::External => Ok(vec![TaskEvent::Attached {
                    session: *session,
                    fence: self.fence + 1,
                }]),
                TaskKind::Managed => rejected("only an external task is attached to"),
            },
            (TaskState::Running { sessions, .. }, TaskCommand::Attach { session }) => {
                match (self.spec.kind, self.spec.mode) {
                    (TaskKind::Managed, _) => rejected("only an external task is attached to"),
                    (TaskKind::External, _) if sessions.contains(session) => Ok(vec![]),
                    (TaskKind::External, TaskMode::Exclusive) if !sessions.is_empty() => {
                        rejected("another agent holds it")
                    }
                    (TaskKind::External, _) => Ok(vec![TaskEvent::Attached {
                        session: *session,
                        fence: self.fence,
                    }]),
                }
            }
            (TaskState::Running { sessions, .. }, TaskCommand::Detach { session }) => {
                match self.spec.kind {
                    TaskKind::Managed => rejected("only an external task is detached from"),
                    TaskKind::External if sessions.contains(session) => {
                        Ok(vec![TaskEvent::Detached { session: *session }])
                    }
                    TaskKind::External => rejected("this session does not hold it"),
                }
            }
            (
                TaskState::Running { .. },
                TaskCommand::Requeue {
                    requeues_max,
                    counts,
                    ..
                },
            ) => {
                if !counts || self.requeues < *requeues_max {
                    return Ok(vec![TaskEvent::Requeued {
                        fence: self.fence + 1,
                        counts: *counts,
                    }]);
                }
                let lost = self.requeues + 1;
                let message = format!("its session was lost {lost} times");
                let failure = Failure::new(FailureReason::Infrastructure, message);
                Ok(vec![TaskEvent::Failed { failure }])
            }
            (TaskState::Running { .. }, TaskCommand::Complete { .. }) => {
                Ok(vec![TaskEvent::Completed])
            }
            (TaskState::Running { .. }, TaskCommand::Fail { failure, .. }) => {
                Ok(vec![TaskEvent::Failed {
                    failure: failure.clone(),
                }])
            }
            (TaskState::Pending, TaskCommand::Cancel { .. })
            | (TaskState::Running { .. }, TaskCommand::Cancel { fence: Some(_) }) => {
                Ok(vec![TaskEvent::Cancelled])
            }
            (TaskState::Running { sessions, .. }, TaskCommand::Cancel { fence: None }) => {
                if sessions.is_empty() {
                    Ok(vec![TaskEvent::Cancelled])
                } else {
                    rejected("its session has to end first")
                }
            }
            (TaskState::Failed { .. }, TaskCommand::Retry { by, retries_max }) => {
                self.decide_retry(*by, *retries_max)
            }
            (_, TaskCommand::Retry { .. }) => rejected("only failed tasks can be retried"),

            (
                TaskState::Pending | TaskState::Running { .. },
                TaskCommand::ChangeLimits { limits },
            ) => {
                if *limits == self.limits {
                    return Ok(vec![]);
                }
                Ok(vec![TaskEvent::LimitsChanged {
                    limits: limits.clone(),
                }])
            }
            (
                TaskState::Completed { .. }
                | TaskState::Failed { .. }
                | TaskState::Cancelled { .. },
                TaskCommand::Archive { archived },
            ) => Ok(match (*archived, self.archived_at) {
                (true, None) => vec![TaskEvent::Archived],
                (false, Some(_)) => vec![TaskEvent::Restored],
                (true, Some(_)) | (false, None) => vec![],
            }),
            (_, TaskCommand::Archive { .. }) => rejected("only a task that has ended is archived"),
            (TaskState::Running { .. }, TaskCommand::Delete) => {
                rejected("a running task is cancelled first")
            }
            (_, TaskCommand::Delete) => Ok(vec![TaskEvent::Deleted]),
            (
                _,
                TaskCommand::Checkpoint {
                    checkpoint,
                    manifest,
                },
            ) => Ok(vec![TaskEvent::Checkpointed {
                checkpoint: *checkpoint,
                manifest: manifest.clone(),
            }]),

            (TaskState::Pending, TaskCommand::Detach { .. }) => rejected("no agent holds it"),
            (
                TaskState::Pending,
                TaskCommand::Requeue { .. }
                | TaskCommand::Complete { .. }
                | TaskCommand::Fail { .. },
            ) => rejected("nobody works on it"),
            (
                TaskState::Completed { .. }
                | TaskState::Failed { .. }
                | TaskState::Cancelled { .. },
                _,
            ) => rejected("it has ended, and that is final"),
        }
    }

    fn decide_retry(&self, by: TaskId, retries_max: u32) -> Result<Vec<TaskEvent>, Rejected> {
        let rejected = |why: &str| Err(Rejected::new(self.id, "failed", "retry", why));
        if let Some(previous) = self.chain.retried_by {
            return if previous == by {
                Ok(vec![])
            } else {
                rejected(&format!("it is already retried by {previous}"))
            };
        }
        if self.chain.retry_count >= retries_max {
            let count = self.chain.retry_count;
            return rejected(&format!(
                "it has reached max retries ({count}/{retries_max})"
            ));
        }
        Ok(vec![TaskEvent::Retried { by }])
    }

    /// Folds one event into the task. Total: history is never refused.
    #[must_use]
    pub fn evolve(mut self, event: &TaskEvent, at: Timestamp) -> Self {
        self.version += 1;
        self.updated_at = at;
        match event {
            TaskEvent::Created { task } => return (**task).clone(),
            TaskEvent::Claimed { session, fence } => {
                self.fence = *fence;
                self.state = TaskState::Running {
                    sessions: vec![*session],
                    since: at,
                };
            }
            TaskEvent::Attached { session, fence } => {
                self.fence = *fence;
                let (mut sessions, since) = match self.state {
                    TaskState::Running { sessions, since } => (sessions, since),
                    TaskState::Pending
                    | TaskState::Completed { .. }
                    | TaskState::Failed { .. }
                    | TaskState::Cancelled { .. } => (vec![], at),
                };
                sessions.push(*session);
                self.state = TaskState::Running { sessions, since };
            }
            TaskEvent::Detached { session } => {
                if let TaskState::Running { sessions, .. } = &mut self.state {
                    sessions.retain(|held| held != session);
                }
            }
            TaskEvent::Requeued { fence, counts } => {
                self.fence = *fence;
                self.requeues += u32::from(*counts);
                self.state = TaskState::Pending;
            }
            TaskEvent::Completed => self.state = TaskState::Completed { at },
            TaskEvent::Failed { failure } => {
                self.state = TaskState::Failed {
                    failure: failure.clone(),
                    at,
                };
            }
            TaskEvent::Cancelled => self.state = TaskState::Cancelled { at },
            TaskEvent::Retried { by } => self.chain.retried_by = Some(*by),
            TaskEvent::LimitsChanged { limits } => self.limits = limits.clone(),
            TaskEvent::Archived => self.archived_at = Some(at),
            TaskEvent::Restored => self.archived_at = None,
            TaskEvent::Checkpointed { .. } => {}
            TaskEvent::Deleted => self.deleted_at = Some(at),
        }
        self
    }
}

impl TaskCommand {
    /// The fence that a session's words carry.
    fn fence(&self) -> Option<u64> {
        match self {
            Self::Requeue { fence, .. } | Self::Complete { fence } | Self::Fail { fence, .. } => {
                Some(*fence)
            }
            Self::Cancel { fence } => *fence,
            Self::Claim { .. }
            | Self::Attach { .. }
            | Self::Detach { .. }
            | Self::Retry { .. }
            | Self::ChangeLimits { .. }
            | Self::Archive { .. }
            | Self::Checkpoint { .. }
            | Self::Delete => None,
        }
    }
}
