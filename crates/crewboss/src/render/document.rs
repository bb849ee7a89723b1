//! Views of the store as documents of `api_types`, which says what their fields mean.

use api_types::{
    CheckedTaskDocument, DependencyRef, QuotaInTheWay, SessionDocument, TaskDetailsDocument,
    TaskDocument, TaskRow,
};
use app::query::{Counts, TaskDetails, TaskView};
use domain::{
    gate::GateResult,
    task::{Task, TaskStatus},
};

/// A task by itself.
pub(crate) fn task(task: &Task) -> TaskDocument {
    task.into()
}

/// A task after its gates were run.
pub(crate) fn with_gates(task: &Task, gates: &[GateResult]) -> CheckedTaskDocument {
    CheckedTaskDocument {
        task: task.into(),
        gates: gates.to_vec(),
    }
}

/// A task of a list, with its newest session's main facts.
pub(crate) fn view(view: &TaskView) -> TaskRow {
    let newest = view.session.as_ref();
    let outcome = newest.and_then(|session| session.outcome.as_ref());
    let process = newest.and_then(|session| session.process.as_ref());
    let blocked = view.blocked_by.iter();
    TaskRow {
        task: (&view.task).into(),
        blocked_by: blocked
            .map(|(id, status)| DependencyRef {
                id: *id,
                status: *status,
            })
            .collect(),
        quotas: view.quotas.iter().map(QuotaInTheWay::from).collect(),
        session: newest.map(|session| session.id),
        session_status: newest.map(|session| session.status),
        started_at: newest.and_then(|session| session.started_at),
        pid: process.map(|process| process.pid),
        branch: outcome.and_then(|outcome| outcome.branch.clone()),
        usage: outcome.map(|outcome| outcome.usage),
    }
}

/// A task with everything.
pub(crate) fn details(details: &TaskDetails) -> TaskDetailsDocument {
    let row = view(&details.view);
    TaskDetailsDocument {
        task: row.task,
        blocked_by: row.blocked_by,
        quotas: row.quotas,
        session: details.view.session.as_ref().map(SessionDocument::from),
        session_status: row.session_status,
        started_at: row.started_at,
        pid: row.pid,
        branch: row.branch,
        usage: row.usage,
        sessions: details.sessions.iter().map(SessionDocument::from).collect(),
        chain: details.chain.iter().map(|task| task.id).collect(),
        dependencies: details
            .dependencies
            .iter()
            .map(DependencyRef::from)
            .collect(),
        dependants: details.dependants.clone(),
    }
}

/// How many tasks of each status there are, every status named.
pub(crate) fn counts(counts: &Counts) -> api_types::Counts {
    let number = |status: TaskStatus| counts.get(&status).copied().unwrap_or(0);
    TaskStatus::ALL
        .into_iter()
        .map(|status| (status, number(status)))
        .collect()
}
