//! Where a session stands, and how it may end.

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, FailureReason};

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// Claimed; its runner has not spoken yet.
    Queued,
    /// The runner makes the workspace.
    Preparing,
    /// The agent is at work.
    Running,
    /// The agent has ended; its work is committed and its gates run.
    Verifying,
    /// Done.
    Completed,
    /// Not done.
    Failed,
    /// Its deadline passed.
    Timeout,
    /// Its outside holder left without ending the task.
    Stopped,
    /// Someone did not want it any more.
    Cancelled,
    /// Its runner or its lease was lost.
    Orphaned,
}

impl SessionStatus {
    /// Every status.
    pub const ALL: [Self; 10] = [
        Self::Queued,
        Self::Preparing,
        Self::Running,
        Self::Verifying,
        Self::Completed,
        Self::Failed,
        Self::Timeout,
        Self::Stopped,
        Self::Cancelled,
        Self::Orphaned,
    ];

    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Preparing => "preparing",
            Self::Running => "running",
            Self::Verifying => "verifying",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Stopped => "stopped",
            Self::Cancelled => "cancelled",
            Self::Orphaned => "orphaned",
        }
    }

    /// Whether it has ended.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        !matches!(
            self,
            Self::Queued | Self::Preparing | Self::Running | Self::Verifying
        )
    }
}

/// Who does the work of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionKind {
    /// A runner of ours.
    Managed,
    /// An agent outside, under this lease.
    External,
}

/// Why a living session is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// Someone cancelled it.
    Cancel,
    /// Someone declared it timed out.
    ManualTimeout,
    /// Its task goes on from a checkpoint, in another session.
    Rewind,
}

impl StopReason {
    /// How a session ends that was stopped for this.
    #[must_use]
    pub fn result(self) -> SessionResult {
        match self {
            Self::Cancel => SessionResult::Cancelled,
            Self::ManualTimeout => SessionResult::TimedOut {
                failure: Failure::new(FailureReason::Timeout, "Manually timed out"),
            },
            Self::Rewind => SessionResult::Stopped,
        }
    }
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum SessionResult {
    /// The agent finished and the required gates passed.
    Completed,
    /// It did not.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// Its deadline passed, or someone said so.
    TimedOut {
        /// Why.
        failure: Failure,
    },
    /// Someone cancelled it.
    Cancelled,
    /// Its holder left.
    Stopped,
}

impl SessionResult {
    /// The same without what was said about it.
    #[must_use]
    pub fn emptied(self) -> Self {
        let bare = |failure: Failure| Failure::new(failure.reason, "");
        match self {
            Self::Failed { failure } => Self::Failed {
                failure: bare(failure),
            },
            Self::TimedOut { failure } => Self::TimedOut {
                failure: bare(failure),
            },
            other @ (Self::Completed | Self::Cancelled | Self::Stopped) => other,
        }
    }

    /// The status that a session with this result has.
    #[must_use]
    pub fn status(&self) -> SessionStatus {
        match self {
            Self::Completed => SessionStatus::Completed,
            Self::Failed { .. } => SessionStatus::Failed,
            Self::TimedOut { .. } => SessionStatus::Timeout,
            Self::Cancelled => SessionStatus::Cancelled,
            Self::Stopped => SessionStatus::Stopped,
        }
    }
}
