//! Notes checkpoints, and makes tasks of them.

use domain::{
    agent::AgentName,
    id::{CheckpointId, TaskId},
    rejection::Rejected,
    session::{Outcome, SessionCommand, SessionStatus, StopReason},
    task::{Continuation, Task, TaskCommand, TaskKind, TaskSpec},
    workspace::WorkspaceMode,
};

use super::{Change, create_task::check_queue, require_place};
use crate::{
    command::{Output, QueueLimits},
    error::Error,
    ports::store::IdKind,
};

/// Notes in the task's stream that what it has reached was kept.
pub(crate) fn record_checkpoint(
    change: &mut Change<'_>,
    id: TaskId,
    checkpoint: CheckpointId,
    manifest: &str,
    content: Option<String>,
) -> Result<Output, Error> {
    let task = change.task(id)?;
    let command = TaskCommand::Checkpoint {
        checkpoint,
        manifest: manifest.to_owned(),
        content,
    };
    let task = change.change_task(task, &command)?;
    Ok(Output::Task {
        task: Box::new(task),
        queue_over: None,
    })
}

/// Sends a task that has not ended back to a checkpoint. A session whose runner has not spoken yet
/// ends here, another is told to.
pub(crate) fn rewind_task(
    change: &mut Change<'_>,
    id: TaskId,
    continues: &Continuation,
    workspace: WorkspaceMode,
) -> Result<Output, Error> {
    let command = TaskCommand::Rewind {
        continues: continues.clone(),
        workspace,
    };
    let task = change.task(id)?;
    let mut task = change.change_task(task, &command)?;
    let mut told = None;
    for session in task.sessions().to_vec() {
        let session = change.session(session)?;
        if let Some(StopReason::Cancel | StopReason::ManualTimeout) = session.stop {
            let why = "somebody has told it to end";
            return Err(Rejected::new(id, task.status().as_str(), "restore", why).into());
        }
        let fence = session.fence;
        let reason = StopReason::Rewind;
        let (session, _) =
            change.change_session(session, fence, &SessionCommand::Stop { reason })?;
        if session.status != SessionStatus::Queued {
            told = Some(Box::new(session));
            continue;
        }
        let outcome = Box::new(Outcome::bare(reason.result(), change.now().wall));
        change.change_session(session, fence, &SessionCommand::Finish { outcome })?;
        let requeue = TaskCommand::Requeue {
            fence,
            requeues_max: 0,
            counts: false,
        };
        task = change.change_task(task, &requeue)?;
    }
    Ok(Output::Stopping {
        task: Box::new(task),
        session: told,
    })
}

/// What a task that goes on from a checkpoint differs in.
pub(crate) struct Fork<'a> {
    pub(crate) continues: &'a Continuation,
    pub(crate) workspace: WorkspaceMode,
    pub(crate) hint: Option<&'a str>,
    pub(crate) agent: Option<&'a AgentName>,
    pub(crate) only_ended: bool,
}

/// Queues a task like another one, that goes on from its checkpoint.
pub(crate) fn fork_task(
    change: &mut Change<'_>,
    id: TaskId,
    fork: &Fork<'_>,
    queue: &QueueLimits,
) -> Result<Output, Error> {
    let from = change.task(id)?;
    let rejected = |why: &str| {
        let state = from.status().as_str();
        Err(Rejected::new(id, state, "restore", why).into())
    };
    if from.deleted_at.is_some() {
        return rejected("the task was deleted");
    }
    if from.spec.kind == TaskKind::External {
        return rejected("agents attach to an external task themselves");
    }
    if fork.only_ended && !from.status().is_terminal() {
        return rejected("it has not ended: cancel it first, or make another task by a fork");
    }
    let queue_over = check_queue(change, from.project, queue)?;
    require_place(change, from.project, &from.spec.owner)?;
    let number = change.tx().next_number(IdKind::Task)?;
    let id = TaskId::from_number(number).ok_or_else(|| Error::corrupt("ids are used up"))?;
    let now = change.now();
    let prompt = match fork.hint {
        Some(hint) => format!("{}\n\n{hint}", from.spec.prompt),
        None => from.spec.prompt.clone(),
    };
    let spec = TaskSpec {
        key: None,
        agent: fork.agent.unwrap_or(&from.spec.agent).clone(),
        prompt,
        workspace: Some(fork.workspace),
        continues: Some(fork.continues.clone()),
        forked_from: Some(from.id),
        ..from.spec
    };
    let task = Task::queued(id, from.project, spec, from.limits, None, now.wall);
    change.create_task(&task)?;
    Ok(Output::Task {
        task: Box::new(task),
        queue_over,
    })
}
