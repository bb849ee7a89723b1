//! Moments between two steps at which a process may die without anything being lost or done twice.
//!
//! Builds with debug assertions can be made to die there; in others a moment passes without a
//! trace.

#[cfg(debug_assertions)]
use std::sync::OnceLock;

/// A moment, named after the step that comes before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPoint {
    /// A task's log tells what was committed, and its image does not show it.
    Logged,
    /// Tasks are claimed, their runners not started.
    Claimed,
    /// A runner's process is started, and nobody has been told.
    RunnerStarted,
    /// The runner owns its session.
    Begun,
    /// The workspace is made, and the store does not know of it.
    WorkspaceMade,
    /// The store knows the workspace.
    Prepared,
    /// The agent runs, and the store does not know of it.
    AgentStarted,
    /// The agent and all that it started have ended.
    AgentEnded,
    /// Its work is committed, on no branch.
    Committed,
    /// The gates have run.
    Checked,
    /// The outcome is in its file.
    OutcomeWritten,
    /// The branch holds the work.
    Published,
    /// The workspace is gone.
    Cleared,
    /// The store has the outcome.
    Finished,
    /// Recovery has ended what a lost session left running.
    LeftoversEnded,
    /// Recovery has kept the work of a lost session.
    Salvaged,
    /// The folder of a checkpoint is whole, and nothing else knows of it.
    CheckpointDrafted,
    /// A reference keeps its objects.
    CheckpointKept,
    /// The task's stream has it.
    CheckpointRecorded,
    /// Lists show it.
    CheckpointShown,
    /// A task is to go back to one, and nobody who works on it has been told.
    Rewound,
    /// Nobody works on it any more, and its plan and decisions are not brought back.
    RewoundAlone,
    /// A deleted one is in no list any more.
    CheckpointHidden,
    /// No reference keeps its objects any more.
    CheckpointDropped,
    /// A task's log is what the store tells, its image not yet looked at.
    LogRepaired,
    /// A task's image shows what the store holds, its papers not yet looked at.
    ImageRepaired,
    /// An unreadable store has another name, and there is none.
    StoreAside,
    /// What folders tell is in a store, and the folders do not know.
    StoreRebuilt,
    /// The old file has a second name, and the new one is not in its place.
    RestoreLinked,
    /// The new file is in the place of the old one.
    RestoreReplaced,
    /// No branch holds the work of a task that is to be purged, and the store still has it.
    Retired,
    /// The store has nothing of it any more, its folder and checkpoints are there.
    Purged,
    /// No reference keeps its checkpoints.
    PurgedCheckpoints,
}

impl CrashPoint {
    /// Those of a session's life, in its order.
    pub const OF_SESSIONS: [Self; 16] = [
        Self::Logged,
        Self::Claimed,
        Self::RunnerStarted,
        Self::Begun,
        Self::WorkspaceMade,
        Self::Prepared,
        Self::AgentStarted,
        Self::AgentEnded,
        Self::Committed,
        Self::Checked,
        Self::OutcomeWritten,
        Self::Published,
        Self::Cleared,
        Self::Finished,
        Self::LeftoversEnded,
        Self::Salvaged,
    ];

    /// Those of checkpoints, which may come at any time.
    pub const OF_CHECKPOINTS: [Self; 8] = [
        Self::CheckpointDrafted,
        Self::CheckpointKept,
        Self::CheckpointRecorded,
        Self::CheckpointShown,
        Self::CheckpointHidden,
        Self::CheckpointDropped,
        Self::Rewound,
        Self::RewoundAlone,
    ];

    /// Those of repairing, rebuilding and restoring, in their order.
    pub const OF_REPAIR: [Self; 6] = [
        Self::LogRepaired,
        Self::ImageRepaired,
        Self::StoreAside,
        Self::StoreRebuilt,
        Self::RestoreLinked,
        Self::RestoreReplaced,
    ];

    /// Those of purging, which may come at any time.
    pub const OF_PURGING: [Self; 3] = [Self::Retired, Self::Purged, Self::PurgedCheckpoints];

    /// Every one.
    pub fn every() -> impl Iterator<Item = Self> {
        let of_sessions = Self::OF_SESSIONS.into_iter().chain(Self::OF_CHECKPOINTS);
        of_sessions.chain(Self::OF_REPAIR).chain(Self::OF_PURGING)
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logged => "logged",
            Self::Claimed => "claimed",
            Self::RunnerStarted => "runner-started",
            Self::Begun => "begun",
            Self::WorkspaceMade => "workspace-made",
            Self::Prepared => "prepared",
            Self::AgentStarted => "agent-started",
            Self::AgentEnded => "agent-ended",
            Self::Committed => "committed",
            Self::Checked => "checked",
            Self::OutcomeWritten => "outcome-written",
            Self::Published => "published",
            Self::Cleared => "cleared",
            Self::Finished => "finished",
            Self::LeftoversEnded => "leftovers-ended",
            Self::Salvaged => "salvaged",
            Self::CheckpointDrafted => "checkpoint-drafted",
            Self::CheckpointKept => "checkpoint-kept",
            Self::CheckpointRecorded => "checkpoint-recorded",
            Self::CheckpointShown => "checkpoint-shown",
            Self::Rewound => "rewound",
            Self::RewoundAlone => "rewound-alone",
            Self::CheckpointHidden => "checkpoint-hidden",
            Self::CheckpointDropped => "checkpoint-dropped",
            Self::LogRepaired => "log-repaired",
            Self::ImageRepaired => "image-repaired",
            Self::StoreAside => "store-aside",
            Self::StoreRebuilt => "store-rebuilt",
            Self::RestoreLinked => "restore-linked",
            Self::RestoreReplaced => "restore-replaced",
            Self::Retired => "retired",
            Self::Purged => "purged",
            Self::PurgedCheckpoints => "purged-checkpoints",
        }
    }

    /// Says that it has come.
    #[cfg(debug_assertions)]
    pub fn reached(self) {
        if let Some(act) = HOOK.get() {
            act(self);
        }
    }

    /// Says that it has come.
    #[cfg(not(debug_assertions))]
    #[inline]
    pub const fn reached(self) {}
}

#[cfg(debug_assertions)]
static HOOK: OnceLock<fn(CrashPoint)> = OnceLock::new();

/// Calls `act` at each moment from now on. Only the first call counts.
#[cfg(debug_assertions)]
pub fn at_each(act: fn(CrashPoint)) {
    let _ = HOOK.set(act);
}
