//! Takes tasks out of the queue, each with a new session under a new fence.

use domain::{
    id::{NodeId, ProjectId, SessionId, TaskId},
    node::NodeStatus,
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
    /// The node on which the runners are started.
    pub(crate) node: Option<NodeId>,
    pub(crate) lease_millis: u64,
}

/// Claims what the scheduler chooses, as far as the store and the node have room for more: counted in
/// the claiming transaction, so that nobody's claim comes in between.
pub(crate) fn claim_next(
    change: &mut Change<'_>,
    project: Option<ProjectId>,
    terms: &ClaimTerms<'_>,
) -> Result<Output, Error> {
    let now = change.now();
    require_checkout(change, project, terms)?;
    let running = change.tx().running(project)?;
    let starts_max = terms.policy.starts_max.min(room(change, terms)?);
    let wanted = usize::try_from(starts_max).unwrap_or(usize::MAX);
    let chosen = if wanted == 0 {
        vec![]
    } else {
        let candidates = change.tx().ready(project, wanted, &now)?;
        let rooms = rooms(&*change.tx())?;
        let policy = Policy {
            starts_max,
            ..terms.policy.clone()
        };
        plan_within(&candidates, &running, &policy, rooms)
    };
    let mut claims = Vec::with_capacity(chosen.len());
    for id in chosen {
        let task = change.task(id)?;
        claims.push(claim(change, task, terms)?);
    }
    let running = u32::try_from(running.len() + claims.len()).unwrap_or(u32::MAX);
    Ok(Output::Claimed { claims, running })
}

/// How many sessions more there is room for.
fn room(change: &mut Change<'_>, terms: &ClaimTerms<'_>) -> Result<u32, Error> {
    let mut room = u32::MAX;
    if let Some(max) = terms.policy.store_max {
        room = max.saturating_sub(change.tx().occupied(None)?);
    }
    let Some(id) = terms.node else {
        return Ok(room);
    };
    match change.tx().node(id)? {
        // Nothing serves there: somebody starts a task by hand.
        None => Ok(room),
        Some(node) => Ok(match node.status() {
            NodeStatus::Left => room,
            NodeStatus::Cordoned | NodeStatus::Draining => 0,
            // One that is lost may have woken up, and claims before it is heard of.
            NodeStatus::Ready | NodeStatus::Lost => {
                let occupied = change.tx().occupied(Some(id))?;
                room.min(node.capacity.saturating_sub(occupied))
            }
        }),
    }
}

/// A node works where it has a checkout.
fn require_checkout(
    change: &mut Change<'_>,
    project: Option<ProjectId>,
    terms: &ClaimTerms<'_>,
) -> Result<(), Error> {
    let Some(node) = terms.node else {
        return Ok(());
    };
    let Some(project) = project else {
        let message = "a node claims tasks of one project at a time";
        return Err(Error::invalid("project", message));
    };
    let checkouts = change.tx().checkouts(Some(node))?;
    if checkouts.iter().any(|known| known.project == project) {
        return Ok(());
    }
    let why = format!("{node} has no checkout of it");
    Err(Error::Rejected(Rejected::new(
        project,
        "elsewhere",
        "claim",
        &why,
    )))
}

/// Claims one task, or says why it cannot be.
pub(crate) fn claim_task(
    change: &mut Change<'_>,
    id: TaskId,
    terms: &ClaimTerms<'_>,
) -> Result<Output, Error> {
    let task = change.task(id)?;
    require_checkout(change, Some(task.project), terms)?;
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
        node: terms.node,
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
