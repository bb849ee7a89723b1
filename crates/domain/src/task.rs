//! The task aggregate: one piece of work, and the only two functions that change it.

mod change;
mod decide;
mod spec;
mod state;

use serde::{Deserialize, Serialize};

pub use self::{
    change::{Paper, TaskCommand, TaskEvent, epoch_of},
    spec::{Continuation, InvalidPriority, Limits, Priority, TaskKind, TaskMode, TaskSpec},
    state::{Chain, TaskState, TaskStatus},
};
use crate::{
    failure::Failure,
    id::{ProjectId, SessionId, TaskId},
    retry::Backoff,
    time::{Due, Now, Timestamp},
};

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
    /// When everything was removed of it but its place among others; after it was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purged_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Counts changes from 1; what compare-and-set compares.
    pub version: u64,
}
impl Task {
    /// A task that waits for its turn, the first of its chain.
    #[must_use]
    pub fn queued(
        id: TaskId,
        project: ProjectId,
        spec: TaskSpec,
        limits: Limits,
        not_before: Option<Due>,
        at: Timestamp,
    ) -> Self {
        Self {
            id,
            project,
            spec,
            limits,
            chain: Chain {
                root: id,
                retry_of: None,
                retry_count: 0,
                retried_by: None,
            },
            state: TaskState::Pending,
            fence: 0,
            requeues: 0,
            not_before,
            archived_at: None,
            deleted_at: None,
            purged_at: None,
            created_at: at,
            updated_at: at,
            version: 1,
        }
    }

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
            purged_at: None,
            created_at: now.wall,
            updated_at: now.wall,
            version: 1,
        }
    }
}
