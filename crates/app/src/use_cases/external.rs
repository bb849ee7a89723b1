//! External tasks: agents attach from outside and end the task themselves.

use domain::{
    agent::AgentName,
    failure::Failure,
    gate::GateResult,
    id::TaskId,
    process::ProcessIdentity,
    rejection::Rejected,
    session::{Outcome, Session, SessionCommand, SessionKind, SessionResult, SessionStatus},
    task::{Task, TaskCommand},
};

use super::{
    Change,
    claim::{new_session_id, require_ready},
    require_start,
    session::{auto_retry, renew_lease},
};
use crate::{
    command::{Output, RecoveryPolicy},
    error::Error,
};

/// How its holder ends a task.
#[derive(Debug)]
pub(crate) struct ExternalEnd<'a> {
    /// Why it failed; completed where `None`.
    pub(crate) failure: Option<&'a Failure>,
    /// What came of it.
    pub(crate) summary: Option<&'a str>,
    /// What the checks said.
    pub(crate) gates: &'a [GateResult],
}

/// Lets an agent join; one that has joined already gets its session again, under a new lease.
pub(crate) fn attach(
    change: &mut Change<'_>,
    id: TaskId,
    agent: &AgentName,
    launcher: &ProcessIdentity,
    lease_millis: u64,
) -> Result<Output, Error> {
    let task = change.task(id)?;
    if let Some(session) = held_by(change, &task, agent)? {
        return renew_lease(change, session.id, session.fence, lease_millis);
    }
    require_ready(change, &task, "attach")?;
    require_start(change, &task)?;
    let session_id = new_session_id(change)?;
    let task = change.change_task(
        task,
        &TaskCommand::Attach {
            session: session_id,
        },
    )?;
    let now = change.now();
    let session = Session {
        id: session_id,
        task: task.id,
        project: task.project,
        fence: task.fence,
        agent: agent.clone(),
        kind: SessionKind::External,
        status: SessionStatus::Running,
        node: None,
        launcher: launcher.clone(),
        runner: None,
        process: None,
        lease_until: now.moment.plus_millis(lease_millis),
        stop: None,
        deadline: None,
        workspace: None,
        gates: vec![],
        outcome: None,
        started_at: Some(now.wall),
        created_at: now.wall,
        updated_at: now.wall,
        version: 1,
    };
    change.create_session(&session)?;
    Ok(Output::Session {
        session: Box::new(session),
    })
}

/// Lets an agent leave; the task stays with whoever is left, or goes back to the queue.
pub(crate) fn detach(
    change: &mut Change<'_>,
    id: TaskId,
    agent: Option<&AgentName>,
) -> Result<Output, Error> {
    let task = change.task(id)?;
    let session = holder(change, &task, agent, "detach")?;
    let (session_id, fence) = (session.id, session.fence);
    let mut task = change.change_task(
        task,
        &TaskCommand::Detach {
            session: session_id,
        },
    )?;
    let outcome = Outcome::bare(SessionResult::Stopped, change.now().wall);
    finish(change, session, fence, outcome)?;
    if task.sessions().is_empty() {
        let requeue = TaskCommand::Requeue {
            fence: task.fence,
            requeues_max: u32::MAX,
            counts: true,
        };
        task = change.change_task(task, &requeue)?;
    }
    Ok(Output::Task {
        task: Box::new(task),
        queue_over: None,
    })
}

/// The holder ends the task; the sessions of the others stop.
pub(crate) fn end_external(
    change: &mut Change<'_>,
    id: TaskId,
    agent: Option<&AgentName>,
    end: &ExternalEnd<'_>,
    recovery: &RecoveryPolicy,
) -> Result<Output, Error> {
    let task = change.task(id)?;
    let speaker = holder(change, &task, agent, "end")?.id;
    let sessions = task.sessions().to_vec();
    let fence = task.fence;
    let (command, result) = match end.failure {
        None => (TaskCommand::Complete { fence }, SessionResult::Completed),
        Some(failure) => (
            TaskCommand::Fail {
                fence,
                failure: failure.clone(),
            },
            SessionResult::Failed {
                failure: failure.clone(),
            },
        ),
    };
    let task = change.change_task(task, &command)?;
    for session in sessions {
        let session = change.session(session)?;
        let own_fence = session.fence;
        if session.id == speaker {
            let outcome = Outcome {
                gates: end.gates.to_vec(),
                summary: end.summary.map(str::to_owned),
                ..Outcome::bare(result.clone(), change.now().wall)
            };
            finish(change, session, own_fence, outcome)?;
        } else {
            let outcome = Outcome::bare(SessionResult::Stopped, change.now().wall);
            finish(change, session, own_fence, outcome)?;
        }
    }
    auto_retry(change, task.clone(), recovery)?;
    let task = change.task(task.id)?;
    Ok(Output::Task {
        task: Box::new(task),
        queue_over: None,
    })
}

fn finish(
    change: &mut Change<'_>,
    session: Session,
    fence: u64,
    outcome: Outcome,
) -> Result<(), Error> {
    let outcome = Box::new(outcome);
    change.change_session(session, fence, &SessionCommand::Finish { outcome })?;
    Ok(())
}

fn held_by(
    change: &mut Change<'_>,
    task: &Task,
    agent: &AgentName,
) -> Result<Option<Session>, Error> {
    for id in task.sessions() {
        let session = change.session(*id)?;
        if session.agent == *agent && session.kind == SessionKind::External {
            return Ok(Some(session));
        }
    }
    Ok(None)
}

/// The session that speaks: the named agent's, or the only one.
fn holder(
    change: &mut Change<'_>,
    task: &Task,
    agent: Option<&AgentName>,
    verb: &str,
) -> Result<Session, Error> {
    let refuse =
        |why: &str| -> Error { Rejected::new(task.id, task.status().as_str(), verb, why).into() };
    if task.spec.kind != domain::task::TaskKind::External {
        return Err(refuse("only an external task is ended by its agents"));
    }
    match (agent, task.sessions()) {
        (Some(agent), _) => held_by(change, task, agent)?
            .ok_or_else(|| refuse(&format!("{agent} does not hold it"))),
        (None, [only]) => change.session(*only),
        (None, []) => Err(refuse("no agent holds it")),
        (None, _) => Err(refuse("several agents hold it: say which")),
    }
}
