//! What may be asked of a session, and what may have happened to it.

use serde::{Deserialize, Serialize};

use super::{Outcome, Session, StopReason};
use crate::{
    process::ProcessIdentity,
    time::{Due, Moment},
    workspace::WorkspaceRecord,
};

/// What may be asked of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionCommand {
    /// Its runner takes it over.
    Begin {
        /// The runner.
        runner: ProcessIdentity,
    },
    /// The workspace exists.
    Prepared {
        /// Where.
        workspace: WorkspaceRecord,
    },
    /// The agent's process runs.
    Launched {
        /// The process.
        process: ProcessIdentity,
        /// When its time is up.
        deadline: Option<Due>,
    },
    /// The agent has ended; gates follow.
    Verify {
        /// The names of those that it has to pass.
        #[serde(default)]
        gates: Vec<String>,
    },
    /// Someone wants it to end.
    Stop {
        /// Why.
        reason: StopReason,
    },
    /// Its time was changed.
    MoveDeadline {
        /// The new end.
        deadline: Option<Due>,
    },
    /// It has ended.
    Finish {
        /// How.
        outcome: Box<Outcome>,
    },
    /// Its runner or its lease is lost.
    Orphan {
        /// What was seen.
        why: String,
        /// The runner that was seen; another one since then makes the command void.
        runner: Option<ProcessIdentity>,
        /// The lease that was seen; a renewal since then makes the command void.
        lease_until: Moment,
        /// Whether it counts as a loss of the task; not where nothing of it was ever started.
        #[serde(default = "counts_by_default")]
        counts: bool,
    },
}

fn counts_by_default() -> bool {
    true
}

/// What happened to a session. Stored: fields are added, never renamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SessionEvent {
    /// It was made.
    Created {
        /// Everything at its beginning.
        session: Box<Session>,
    },
    /// See [`SessionCommand::Begin`].
    Begun {
        /// The runner.
        runner: ProcessIdentity,
    },
    /// See [`SessionCommand::Prepared`].
    Prepared {
        /// Where.
        workspace: WorkspaceRecord,
    },
    /// See [`SessionCommand::Launched`].
    Launched {
        /// The process.
        process: ProcessIdentity,
        /// When its time is up.
        deadline: Option<Due>,
    },
    /// See [`SessionCommand::Verify`].
    Verifying {
        /// The names of the gates that it has to pass.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        gates: Vec<String>,
    },
    /// See [`SessionCommand::Stop`].
    StopRequested {
        /// Why.
        reason: StopReason,
    },
    /// See [`SessionCommand::MoveDeadline`].
    DeadlineMoved {
        /// The new end.
        deadline: Option<Due>,
    },
    /// See [`SessionCommand::Finish`].
    Finished {
        /// How.
        outcome: Box<Outcome>,
    },
    /// See [`SessionCommand::Orphan`].
    Orphaned {
        /// What was seen.
        why: String,
    },
    /// Its task was purged. What was said before has no content any more.
    Purged {
        /// What is left of it.
        session: Box<Session>,
    },
}

impl SessionEvent {
    /// The stored name of the event's type.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Created { .. } => "session.created",
            Self::Begun { .. } => "session.begun",
            Self::Prepared { .. } => "session.prepared",
            Self::Launched { .. } => "session.launched",
            Self::Verifying { .. } => "session.verifying",
            Self::StopRequested { .. } => "session.stop_requested",
            Self::DeadlineMoved { .. } => "session.deadline_moved",
            Self::Finished { .. } => "session.finished",
            Self::Orphaned { .. } => "session.orphaned",
            Self::Purged { .. } => "session.purged",
        }
    }
}

impl SessionCommand {
    /// The command's name, as in rejections and documentation.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Begin { .. } => "begin",
            Self::Prepared { .. } => "prepared",
            Self::Launched { .. } => "launched",
            Self::Verify { .. } => "verify",
            Self::Stop { .. } => "stop",
            Self::MoveDeadline { .. } => "move deadline",
            Self::Finish { .. } => "finish",
            Self::Orphan { .. } => "orphan",
        }
    }
}
