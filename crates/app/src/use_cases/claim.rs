//! Takes tasks out of the queue, each with a new session under a new fence.

use domain::{
    id::{ProjectId, SessionId, TaskId},
    plan::{Policy, plan_within},
    process::ProcessIdentity,
    rejection::Rejected,
    session::{Session, SessionKind, SessionStatus},
    task::{Task, TaskCommand, TaskStatus},
};

use super::{Change, require_start, rooms};
use crate::{command::Output, error::Error, ports::store::IdKind, query::chain_tail};

/// Under which terms tasks are claimed.
#[derive(Debug)]
pub(crate) struct ClaimTerms<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) launcher: &'a ProcessIdentity,
    pub(crate) lease_millis: u64,
}

/// Claims what the scheduler chooses.
pub(crate) fn claim_next(
    change: &mut Change<'_>,
    project: Option<ProjectId>,
    terms: &ClaimTerms<'_>,
) -> Result<Output, Error> {
    let now = change.now();
    let running = change.tx().running(project)?;
    let wanted = usize::try_from(terms.policy.starts_max).unwrap_or(usize::MAX);
    let candidates = change.tx().ready(project, wanted, &now)?;
    let rooms = rooms(&*change.tx())?;
    let chosen = plan_within(&candidates, &running, terms.policy, rooms);
    let mut claims = Vec::with_capacity(chosen.len());
    for id in chosen {
        let task = change.task(id)?;
        claims.push(claim(change, task, terms)?);
    }
    let running = u32::try_from(running.len() + claims.len()).unwrap_or(u32::MAX);
    Ok(Output::Claimed { claims, running })
}

/// Claims one task, or says why it cannot be.
pub(crate) fn claim_task(
    change: &mut Change<'_>,
    id: TaskId,
    terms: &ClaimTerms<'_>,
) -> Result<Output, Error> {
    let task = change.task(id)?;
    require_ready(change, &task, "start")?;
    if task.status() == TaskStatus::Pending {
        require_start(change, &task)?;
    }
    let running = change.tx().running(Some(task.project))?.len();
    let claims = vec![claim(change, task, terms)?];
    Ok(Output::Claimed {
        claims,
        running: u32::try_from(running + 1).unwrap_or(u32::MAX),
    })
}

/// Refuses a pending task that waits for a chain or for its time, and says for which.
pub(super) fn require_ready(change: &mut Change<'_>, task: &Task, verb: &str) -> Result<(), Error> {
    if task.status() != TaskStatus::Pending {
        return Ok(());
    }
    let rejected = |why: String| {
        let state = task.status().as_str();
        Error::Rejected(Rejected::new(task.id, state, verb, &why))
    };
    for root in &task.spec.depends_on {
        let tail = chain_tail(&*change.tx(), *root)?;
        if let Some(tail) = tail.filter(|tail| tail.status() != TaskStatus::Completed) {
            let (tail, status) = (tail.id, tail.status().as_str());
            return Err(rejected(format!("it waits for {tail}, which is {status}")));
        }
    }
    let now = change.now();
    let left = task.not_before.as_ref().map(|due| due.millis_left(&now));
    match left {
        Some(left) if left > 0 => {
            let seconds = left.div_ceil(1_000);
            Err(rejected(format!("it is due in {seconds} s")))
        }
        _ => Ok(()),
    }
}

fn claim(
    change: &mut Change<'_>,
    task: Task,
    terms: &ClaimTerms<'_>,
) -> Result<(Session, Task), Error> {
    let id = new_session_id(change)?;
    let task = change.change_task(task, &TaskCommand::Claim { session: id })?;
    let now = change.now();
    let session = Session {
        id,
        task: task.id,
        project: task.project,
        fence: task.fence,
        agent: task.spec.agent.clone(),
        kind: SessionKind::Managed,
        status: SessionStatus::Queued,
        launcher: terms.launcher.clone(),
        runner: None,
        process: None,
        lease_until: now.moment.plus_millis(terms.lease_millis),
        stop: None,
        deadline: None,
        workspace: None,
        gates: vec![],
        outcome: None,
        started_at: None,
        created_at: now.wall,
        updated_at: now.wall,
        version: 1,
    };
    change.create_session(&session)?;
    Ok((session, task))
}

pub(super) fn new_session_id(change: &mut Change<'_>) -> Result<SessionId, Error> {
    let number = change.tx().next_number(IdKind::Session)?;
    SessionId::from_number(number).ok_or_else(|| Error::corrupt("ids are used up"))
}
