//! What a task's file has to say, from what the store knows.

use app::query::TaskDetails;
use domain::{
    failure::FailureReason,
    session::SessionKind,
    task::{Task, TaskState, TaskStatus},
    time::{Now, Timestamp},
};
use jiff::tz::TimeZone;

use crate::{
    document::{Attempt, Document},
    sentinels::Found,
    taking::{DETAILS_TIMED_OUT, STARTED_AT},
    time,
};

/// Whether a task has a file: a retry that is not due yet has none.
pub(crate) fn is_visible(task: &Task, now: &Now) -> bool {
    let is_early = task
        .not_before
        .as_ref()
        .is_some_and(|due| !due.has_come(now));
    !(task.status() == TaskStatus::Pending && task.chain.retry_of.is_some() && is_early)
}

/// The document of a task. What the store does not know is taken from the file as it was.
pub(crate) fn document(
    details: &TaskDetails,
    now: &Now,
    before: Option<&Document>,
    found: &Found,
) -> Document {
    let task = &details.view.task;
    let session = details.sessions.last();
    let successor = task.chain.retried_by.and_then(|by| {
        let next = details.chain.iter().find(|other| other.id == by);
        next.filter(|next| is_visible(next, now))
    });
    let has_started = task.status() != TaskStatus::Pending;
    let kept = before.filter(|_| has_started);
    let started = session.and_then(|session| session.started_at);
    let process = session
        .filter(|session| session.kind == SessionKind::Managed)
        .and_then(|session| session.process.as_ref());
    let blocked = blocked(details);
    Document {
        id: task.id,
        status: task.status().into(),
        agent: task.spec.agent.to_string(),
        prompt: task.spec.prompt.clone(),
        created_at: task.created_at,
        started_at: started
            .or_else(|| running_since(task))
            .or_else(|| kept.and_then(|before| before.started_at))
            .or_else(|| imported_time(task, STARTED_AT))
            .filter(|_| has_started),
        completed_at: task.ended_at(),
        timed_out_at: timed_out_at(task, kept, found),
        retried_at: successor.map(|next| next.created_at),
        pid: process
            .map(|process| process.pid)
            .or_else(|| kept.and_then(|before| before.pid))
            .filter(|_| has_started),
        error_message: task.failure().map(|failure| failure.message.clone()),
        retry_count: task.chain.retry_count,
        retries_max: task.limits.retries_max,
        auto_retry: task.limits.auto_retry,
        retry_history: history(details, before),
        parent: parent(task, before),
        retried_by: successor.map(|next| next.id),
        priority: task.spec.priority.value(),
        timeout: task.limits.timeout_seconds,
        timeout_warning: task
            .limits
            .timeout_seconds
            .map(|_| task.limits.timeout_warning_seconds),
        depends_on: task.spec.depends_on.clone(),
        blocked_by: blocked.map(|failed| failed.id),
        blocked_reason: blocked.map(|failed| format!("Dependency {} failed", failed.id)),
        extra: before
            .map(|before| before.extra.clone())
            .unwrap_or_default(),
    }
}

/// The dependency whose failure stands in the way.
fn blocked(details: &TaskDetails) -> Option<&Task> {
    let is_pending = details.view.task.status() == TaskStatus::Pending;
    let mut failed = details
        .dependencies
        .iter()
        .filter(|other| matches!(other.status(), TaskStatus::Failed | TaskStatus::Cancelled));
    failed.next().filter(|_| is_pending)
}

fn running_since(task: &Task) -> Option<Timestamp> {
    match &task.state {
        TaskState::Running { since, .. } => Some(*since),
        TaskState::Pending
        | TaskState::Completed { .. }
        | TaskState::Failed { .. }
        | TaskState::Cancelled { .. } => None,
    }
}

fn imported_time(task: &Task, key: &str) -> Option<Timestamp> {
    time::parse(task.spec.metadata.get(key)?, &TimeZone::UTC)
}

/// The time that a `.timeout` file named, else the end of a task that ended by its deadline.
fn timed_out_at(task: &Task, before: Option<&Document>, found: &Found) -> Option<Timestamp> {
    let failure = task
        .failure()
        .filter(|failure| failure.reason == FailureReason::Timeout)?;
    let named = failure
        .details
        .as_deref()
        .and_then(|details| details.strip_prefix(DETAILS_TIMED_OUT))
        .and_then(|text| time::parse(text, &TimeZone::system()));
    named
        .or(found.timed_out_at)
        .or_else(|| before.and_then(|before| before.timed_out_at))
        .or_else(|| task.ended_at())
}

fn parent(task: &Task, before: Option<&Document>) -> Option<domain::id::TaskId> {
    if task.chain.retry_of.is_some() {
        return Some(task.chain.root);
    }
    before.and_then(|before| before.parent)
}

fn history(details: &TaskDetails, before: Option<&Document>) -> Vec<Attempt> {
    let task = &details.view.task;
    let kept = || {
        before
            .map(|before| before.retry_history.clone())
            .unwrap_or_default()
    };
    let mut attempts = Vec::new();
    let mut current = task;
    while let Some(of) = current.chain.retry_of {
        let Some(previous) = details.chain.iter().find(|other| other.id == of) else {
            break;
        };
        attempts.push(Attempt {
            attempt: current.chain.retry_count,
            timestamp: Some(current.created_at),
            error: previous
                .failure()
                .map(|failure| failure.message.clone())
                .unwrap_or_default(),
            retried_from: Some(of),
        });
        current = previous;
        if attempts.len() > details.chain.len() {
            break;
        }
    }
    attempts.reverse();
    let whole = usize::try_from(task.chain.retry_count).unwrap_or(usize::MAX);
    if attempts.len() >= whole {
        attempts
    } else {
        kept()
    }
}
