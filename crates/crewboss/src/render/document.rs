//! Tasks and sessions as JSON. Fields are added, never renamed, within a version of the schema.

use app::query::{Counts, TaskDetails, TaskView};
use domain::{
    id::TaskId,
    session::Session,
    task::{Task, TaskState, TaskStatus},
};
use serde_json::{Value, json};

/// A task by itself.
pub(crate) fn task(task: &Task) -> Value {
    let started = match &task.state {
        TaskState::Running { since, .. } => Some(since.to_string()),
        _ => None,
    };
    json!({
        "id": task.id,
        "status": task.status(),
        "agent": task.spec.agent,
        "name": task.spec.name,
        "prompt": task.spec.prompt,
        "key": task.spec.key,
        "owner": task.spec.owner,
        "labels": task.spec.labels,
        "metadata": task.spec.metadata,
        "priority": task.spec.priority,
        "depends_on": task.spec.depends_on,
        "kind": task.spec.kind,
        "mode": task.spec.mode,
        "workspace_mode": task.spec.workspace,
        "timeout_seconds": task.limits.timeout_seconds,
        "retries_max": task.limits.retries_max,
        "auto_retry": task.limits.auto_retry,
        "retry_count": task.chain.retry_count,
        "retry_of": task.chain.retry_of,
        "retried_by": task.chain.retried_by,
        "chain_root": task.chain.root,
        "failure": task.failure(),
        "not_before": task.not_before.as_ref().map(|due| due.wall),
        "created_at": task.created_at,
        "updated_at": task.updated_at,
        "claimed_at": started,
        "ended_at": task.ended_at(),
        "archived_at": task.archived_at,
        "version": task.version,
    })
}

/// A session. Its fence is text, as every number that may outgrow a double.
pub(crate) fn session(session: &Session) -> Value {
    let outcome = session.outcome.as_ref();
    json!({
        "id": session.id,
        "task": session.task,
        "status": session.status,
        "agent": session.agent,
        "fence": session.fence.to_string(),
        "runner_pid": session.runner.as_ref().map(|runner| runner.pid),
        "pid": session.process.as_ref().map(|process| process.pid),
        "started_at": session.started_at,
        "deadline": session.deadline.as_ref().map(|due| due.wall),
        "ended_at": outcome.map(|outcome| outcome.ended_at),
        "workspace": session.workspace,
        "exit": outcome.and_then(|outcome| outcome.exit),
        "usage": outcome.map(|outcome| outcome.usage),
        "agent_session": outcome.and_then(|outcome| outcome.agent_session.clone()),
        "commit": outcome.and_then(|outcome| outcome.commit.clone()),
        "branch": outcome.and_then(|outcome| outcome.branch.clone()),
        "salvage": outcome.and_then(|outcome| outcome.salvage.clone()),
        "changes": outcome.map(|outcome| &outcome.changes),
        "gates": outcome.map(|outcome| &outcome.gates),
        "summary": outcome.and_then(|outcome| outcome.summary.clone()),
        "warnings": outcome.map(|outcome| &outcome.warnings),
    })
}

/// A task of a list, with its newest session's main facts.
pub(crate) fn view(view: &TaskView) -> Value {
    let mut value = task(&view.task);
    let newest = view.session.as_ref();
    let outcome = newest.and_then(|session| session.outcome.as_ref());
    let blocked: Vec<Value> = view
        .blocked_by
        .iter()
        .map(|(id, status)| json!({ "id": id, "status": status }))
        .collect();
    let facts = json!({
        "blocked_by": blocked,
        "session": newest.map(|session| session.id),
        "session_status": newest.map(|session| session.status),
        "pid": newest.and_then(|session| session.process.as_ref()).map(|process| process.pid),
        "branch": outcome.and_then(|outcome| outcome.branch.clone()),
        "usage": outcome.map(|outcome| outcome.usage),
    });
    merge(&mut value, facts);
    value
}

/// A task with everything.
pub(crate) fn details(details: &TaskDetails) -> Value {
    let mut value = view(&details.view);
    let chain: Vec<TaskId> = details.chain.iter().map(|task| task.id).collect();
    let dependencies: Vec<Value> = details
        .dependencies
        .iter()
        .map(|task| json!({ "id": task.id, "status": task.status() }))
        .collect();
    let facts = json!({
        "session": details.view.session.as_ref().map(session),
        "sessions": details.sessions.iter().map(session).collect::<Vec<_>>(),
        "chain": chain,
        "dependencies": dependencies,
        "dependants": details.dependants,
    });
    merge(&mut value, facts);
    value
}

/// How many tasks of each status there are, every status named.
pub(crate) fn counts(counts: &Counts) -> Value {
    let number = |status: &TaskStatus| counts.get(status).copied().unwrap_or(0);
    TaskStatus::ALL
        .iter()
        .map(|status| (status.as_str().to_owned(), Value::from(number(status))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn merge(value: &mut Value, more: Value) {
    if let (Value::Object(fields), Value::Object(more)) = (value, more) {
        fields.extend(more);
    }
}
