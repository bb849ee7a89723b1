//! What is asked for, and within which limits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    agent::AgentName,
    gate::GateSpec,
    id::{CheckpointId, Key, SessionId, TaskId},
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
    /// The version of the task with which it went back there; `None` where it was made from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewound: Option<u64>,
}

/// What was asked for. Once the task exists, going back to a checkpoint changes what it goes on from
/// and where it edits; one that was deleted may get another key, and of a purged one nothing is left.
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

impl TaskSpec {
    /// Forgets all that somebody wrote; what is left says only what sort of task it was.
    pub(super) fn empty(&mut self) {
        self.prompt.clear();
        self.name.clear();
        self.key = None;
        self.labels.clear();
        self.metadata.clear();
        self.gates.clear();
        self.continues = None;
    }
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
