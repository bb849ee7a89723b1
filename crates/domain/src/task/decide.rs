//! The only two functions that change a task.

use super::{Continuation, Task, TaskCommand, TaskEvent, TaskKind, TaskMode, TaskState};
use crate::{
    failure::{Failure, FailureReason},
    id::TaskId,
    rejection::Rejected,
    time::Timestamp,
};

impl Task {
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
                // Its folder is there as long as it may come back.
                TaskCommand::KeepPaper { paper, base, text } if self.purged_at.is_none() => {
                    Ok(vec![TaskEvent::PaperKept {
                        paper: *paper,
                        base: *base,
                        text: text.clone(),
                    }])
                }
                TaskCommand::Delete => Ok(vec![]),
                TaskCommand::Purge if self.purged_at.is_some() => Ok(vec![]),
                TaskCommand::Purge => Ok(vec![TaskEvent::Purged {
                    task: Box::new(self.emptied()),
                }]),
                TaskCommand::Undelete { .. } if self.purged_at.is_some() => {
                    rejected("it was purged, and nothing of it is left")
                }
                TaskCommand::Undelete { key } => {
                    Ok(vec![TaskEvent::Undeleted { key: key.clone() }])
                }
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
            (_, TaskCommand::Undelete { .. }) => Ok(vec![]),
            (_, TaskCommand::Purge) => rejected("only a deleted task is purged"),
            (
                _,
                TaskCommand::Checkpoint {
                    checkpoint,
                    manifest,
                    content,
                },
            ) => Ok(vec![TaskEvent::Checkpointed {
                checkpoint: *checkpoint,
                manifest: manifest.clone(),
                content: content.clone(),
            }]),
            (_, TaskCommand::KeepPaper { paper, base, text }) => Ok(vec![TaskEvent::PaperKept {
                paper: *paper,
                base: *base,
                text: text.clone(),
            }]),

            (
                TaskState::Pending | TaskState::Running { .. },
                TaskCommand::Rewind {
                    continues,
                    workspace,
                },
            ) => match self.spec.kind {
                TaskKind::Managed => Ok(vec![TaskEvent::Rewound {
                    continues: Continuation {
                        rewound: Some(self.version + 1),
                        ..continues.clone()
                    },
                    workspace: *workspace,
                }]),
                TaskKind::External => rejected("agents attach to an external task themselves"),
            },

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
            TaskEvent::Created { task } | TaskEvent::Restated { task } => {
                return (**task).clone();
            }
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
            TaskEvent::Checkpointed { .. } | TaskEvent::PaperKept { .. } => {}
            TaskEvent::Rewound {
                continues,
                workspace,
            } => {
                self.spec.continues = Some(continues.clone());
                self.spec.workspace = Some(*workspace);
            }
            TaskEvent::Deleted => self.deleted_at = Some(at),
            TaskEvent::Undeleted { key } => {
                self.deleted_at = None;
                self.spec.key.clone_from(key);
            }
            TaskEvent::Purged { task } => {
                return Self {
                    purged_at: Some(at),
                    updated_at: at,
                    version: self.version,
                    ..(**task).clone()
                };
            }
        }
        self
    }

    /// The same without anything that somebody wrote; its place among others is left.
    fn emptied(&self) -> Self {
        let mut left = self.clone();
        left.spec.empty();
        if let TaskState::Failed { failure, .. } = &mut left.state {
            *failure = Failure::new(failure.reason, "");
        }
        left
    }
}
