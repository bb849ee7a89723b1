//! What may be asked of a task, and what may have happened to it.

use serde::{Deserialize, Serialize};

use super::{Continuation, Limits, Task};
use crate::{
    failure::Failure,
    id::{CheckpointId, Key, SessionId, TaskId},
    workspace::WorkspaceMode,
};

/// A text in a task's folder that people and agents may write, and that the task's events keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Paper {
    /// `plan.md`.
    Plan,
    /// `decisions.md`.
    Decisions,
}

impl Paper {
    /// Every paper.
    pub const ALL: [Self; 2] = [Self::Plan, Self::Decisions];

    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Decisions => "decisions",
        }
    }
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
        /// The manifest itself, as JSON.
        content: Option<String>,
    },
    /// Keep what a paper in its folder says now.
    KeepPaper {
        /// Which paper.
        paper: Paper,
        /// So many bytes of what was kept before stay.
        base: u64,
        /// What stands behind them.
        text: String,
    },
    /// Go on from a checkpoint: whoever works on it does not any more.
    Rewind {
        /// What it goes on from.
        continues: Continuation,
        /// Where it edits then.
        workspace: WorkspaceMode,
    },
    /// Delete it, softly.
    Delete,
    /// Bring back a deleted one.
    Undelete {
        /// The name of its caller's that it has from now on.
        key: Option<Key>,
    },
    /// Remove for good what a deleted one holds.
    Purge,
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
    /// Its events were lost in part, and its image told where it stood.
    Restated {
        /// Everything as it was last seen.
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
        /// The manifest itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content: Option<String>,
    },
    /// See [`TaskCommand::KeepPaper`].
    PaperKept {
        /// Which paper.
        paper: Paper,
        /// So many bytes of what was kept before stay.
        base: u64,
        /// What stands behind them.
        text: String,
    },
    /// See [`TaskCommand::Rewind`].
    Rewound {
        /// What it goes on from.
        continues: Continuation,
        /// Where it edits then.
        workspace: WorkspaceMode,
    },
    /// See [`TaskCommand::Delete`].
    Deleted,
    /// See [`TaskCommand::Undelete`].
    Undeleted {
        /// The name of its caller's that it has from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Key>,
    },
    /// See [`TaskCommand::Purge`]. What was said before has no content any more.
    Purged {
        /// What is left of it.
        task: Box<Task>,
    },
}

fn counts_by_default() -> bool {
    true
}

/// The bits of a fence below the epoch of its store.
const EPOCH_SHIFT: u32 = 32;

/// The epoch that a fence was given out in.
#[must_use]
pub const fn epoch_of(fence: u64) -> u64 {
    fence >> EPOCH_SHIFT
}

impl TaskEvent {
    /// Whether it changes what was asked for.
    #[must_use]
    pub const fn changes_spec(&self) -> bool {
        matches!(
            self,
            Self::Rewound { .. } | Self::Undeleted { .. } | Self::Purged { .. }
        )
    }

    /// Whether it gives out a fence.
    #[must_use]
    pub fn gives_fence(&self) -> bool {
        matches!(
            self,
            Self::Claimed { .. } | Self::Attached { .. } | Self::Requeued { .. }
        )
    }

    /// The same event with a fence of an epoch, where it raises the fence of a task from
    /// `present`: so that no fence of an earlier epoch is ever given out again.
    #[must_use]
    pub fn in_epoch(mut self, present: u64, epoch: u64) -> Self {
        if let Self::Claimed { fence, .. }
        | Self::Attached { fence, .. }
        | Self::Requeued { fence, .. } = &mut self
            && *fence != present
        {
            *fence = (*fence).max((epoch << EPOCH_SHIFT) + 1);
        }
        self
    }

    /// The stored name of the event's type.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Created { .. } => "task.created",
            Self::Restated { .. } => "task.restated",
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
            Self::Rewound { .. } => "task.rewound",
            Self::PaperKept { .. } => "task.paper_kept",
            Self::Deleted => "task.deleted",
            Self::Undeleted { .. } => "task.undeleted",
            Self::Purged { .. } => "task.purged",
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
            Self::Rewind { .. } => "rewind",
            Self::KeepPaper { .. } => "keep a paper",
            Self::Delete => "delete",
            Self::Undelete { .. } => "undelete",
            Self::Purge => "purge",
        }
    }
}

impl TaskCommand {
    /// The fence that a session's words carry.
    pub(super) fn fence(&self) -> Option<u64> {
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
            | Self::Rewind { .. }
            | Self::KeepPaper { .. }
            | Self::Delete
            | Self::Undelete { .. }
            | Self::Purge => None,
        }
    }
}
