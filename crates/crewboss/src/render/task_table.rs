//! The table of tasks, as `status` shows it.

use std::collections::BTreeMap;

use app::query::{Counts, TaskView};
use domain::{
    failure::FailureReason,
    id::{Key, TaskId},
    session::{Session, SessionStatus},
    task::{Task, TaskState, TaskStatus},
    time::Now,
};

use super::{cut, duration, symbols::Symbol, table, with_key};
use crate::output::Output;

/// Characters of a prompt in the table.
const PROMPT_CHARS: usize = 40;
/// Characters of the last column: errors are whole in `show`.
const INFO_CHARS: usize = 60;
/// Digits of an id that are shown at least, so that ids stay recognisable.
const SUFFIX_MIN: usize = 4;

/// The table, without its summary.
pub(crate) fn render(out: &Output, tasks: &[TaskView], now: &Now) -> String {
    let header = [
        "ID",
        "Agent",
        "Status",
        "Prompt",
        "Time",
        "Retry",
        "Error/Info",
    ];
    let names = names(out, tasks.iter().map(|view| view.task.id));
    let keys = keys(tasks.iter().map(|view| &view.task));
    let rows: Vec<Vec<String>> = tasks
        .iter()
        .zip(names)
        .map(|(view, name)| row(out, view, &name, &keys, now))
        .collect();
    table::render(out, &header, &rows)
}

/// The users' names for tasks.
pub(crate) type Keys<'a> = BTreeMap<TaskId, &'a Key>;

/// The keys of those that have one.
pub(crate) fn keys<'a>(tasks: impl IntoIterator<Item = &'a Task>) -> Keys<'a> {
    let keyed = |task: &'a Task| Some((task.id, task.spec.key.as_ref()?));
    tasks.into_iter().filter_map(keyed).collect()
}

/// Whole ids for programs; for a person the shortest ends that tell them apart.
pub(crate) fn names(out: &Output, ids: impl Iterator<Item = TaskId>) -> Vec<String> {
    let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
    if !out.terminal {
        return ids;
    }
    let digits: Vec<&str> = ids
        .iter()
        .map(|id| id.trim_start_matches("task_"))
        .collect();
    let end = |text: &str, length: usize| text[text.len().saturating_sub(length)..].to_owned();
    let length = (SUFFIX_MIN..19).find(|length| {
        let mut ends: Vec<String> = digits.iter().map(|text| end(text, *length)).collect();
        ends.sort_unstable();
        ends.windows(2).all(|pair| pair[0] != pair[1])
    });
    digits
        .iter()
        .map(|text| end(text, length.unwrap_or(19)))
        .collect()
}

fn row(out: &Output, view: &TaskView, name: &str, keys: &Keys<'_>, now: &Now) -> Vec<String> {
    let task = &view.task;
    let symbol = symbol(view, now);
    let prefix = if task.chain.retry_count > 0 {
        format!("{} ", Symbol::Retry.text(out.unicode))
    } else {
        String::new()
    };
    let status = format!("{} {}", symbol.text(out.unicode), task.status().as_str());
    vec![
        format!("{prefix}{}", with_key(name, task.spec.key.as_ref())),
        task.spec.agent.to_string(),
        out.paint(symbol.color(), &status),
        cut(&task.spec.prompt, PROMPT_CHARS),
        time(out, view, now),
        format!("{}/{}", task.chain.retry_count, task.limits.retries_max),
        cut(&info(view, keys, now), INFO_CHARS),
    ]
}

/// The sign of a task's state, derived states included.
pub(crate) fn symbol(view: &TaskView, now: &Now) -> Symbol {
    let task = &view.task;
    match task.status() {
        TaskStatus::Pending if !view.blocked_by.is_empty() => Symbol::Blocked,
        TaskStatus::Pending if due_in(task, now) > 0 && task.chain.retry_count > 0 => {
            Symbol::RetryDue
        }
        TaskStatus::Running if is_near_timeout(view, now) => Symbol::NearTimeout,
        status => Symbol::of(status),
    }
}

fn due_in(task: &Task, now: &Now) -> u64 {
    task.not_before
        .as_ref()
        .map_or(0, |due| due.millis_left(now).div_ceil(1_000))
}

/// Seconds that the agent has been, or was, at work.
pub(crate) fn elapsed(view: &TaskView, now: &Now) -> Option<u64> {
    let session = view.session.as_ref()?;
    if let (None, Some(process)) = (&session.outcome, &session.process)
        && process.boot == now.moment.boot
    {
        // However the wall clock was set meanwhile.
        let ticks = rustix::param::clock_ticks_per_second().max(1);
        let since_boot = process.start_ticks.saturating_mul(1_000) / ticks;
        return Some(now.moment.millis.saturating_sub(since_boot) / 1_000);
    }
    let started = session.started_at?;
    let end = session
        .outcome
        .as_ref()
        .map_or(now.wall, |outcome| outcome.ended_at);
    u64::try_from(end.as_millis() - started.as_millis())
        .ok()
        .map(|millis| millis / 1_000)
}

/// Seconds left of a running task's time, where it is limited.
pub(crate) fn seconds_left(session: &Session, now: &Now) -> Option<u64> {
    (session.status == SessionStatus::Running).then(|| {
        session
            .deadline
            .as_ref()
            .map(|due| due.millis_left(now) / 1_000)
    })?
}

/// Whether the warning before the deadline is due.
pub(crate) fn is_near_timeout(view: &TaskView, now: &Now) -> bool {
    let left = view
        .session
        .as_ref()
        .and_then(|session| seconds_left(session, now));
    left.is_some_and(|left| left <= u64::from(view.task.limits.timeout_warning_seconds))
}

fn time(out: &Output, view: &TaskView, now: &Now) -> String {
    let task = &view.task;
    if task
        .failure()
        .is_some_and(|failure| failure.reason == FailureReason::Timeout)
    {
        return format!("{} timeout", Symbol::Running.text(out.unicode));
    }
    let since = match &task.state {
        TaskState::Running { since, .. } => since,
        TaskState::Pending => return "-".to_owned(),
        TaskState::Completed { .. } | TaskState::Failed { .. } | TaskState::Cancelled { .. } => {
            return elapsed(view, now).map_or_else(|| "-".to_owned(), duration::text);
        }
    };
    let waited = u64::try_from(now.wall.as_millis() - since.as_millis()).unwrap_or(0) / 1_000;
    let elapsed = duration::text(elapsed(view, now).unwrap_or(waited));
    match task.limits.timeout_seconds {
        Some(limit) => format!("{elapsed} / {}", duration::text(u64::from(limit))),
        None => elapsed,
    }
}

/// What else there is to say: why it waits, what it does, why it failed.
pub(crate) fn info(view: &TaskView, keys: &Keys<'_>, now: &Now) -> String {
    let task = &view.task;
    match &task.state {
        TaskState::Pending => waiting_for(view, keys, now),
        TaskState::Running { .. } => match &view.session {
            Some(session) if session.stop.is_some() => "stopping".to_owned(),
            Some(session) if session.status != SessionStatus::Running => {
                session.status.as_str().to_owned()
            }
            Some(_) | None => String::new(),
        },
        TaskState::Failed { failure, .. } => match task.chain.retried_by {
            Some(next) => format!("{} (retried by {next})", failure.message),
            None => failure.message.clone(),
        },
        TaskState::Completed { .. } => view
            .session
            .as_ref()
            .and_then(|session| session.outcome.as_ref())
            .map_or_else(String::new, changes),
        TaskState::Cancelled { .. } => String::new(),
    }
}

fn changes(outcome: &domain::session::Outcome) -> String {
    match outcome.changes.len() {
        0 => String::new(),
        files => super::count(files, "file") + " changed",
    }
}

fn waiting_for(view: &TaskView, keys: &Keys<'_>, now: &Now) -> String {
    let failed = view
        .blocked_by
        .iter()
        .find(|(_, status)| status.is_terminal());
    if let Some((dependency, status)) = failed {
        let dependency = with_key(dependency, keys.get(dependency).copied());
        return format!("Dependency {dependency} {}", status.as_str());
    }
    if !view.blocked_by.is_empty() {
        return format!("deps: {}", view.blocked_by.len());
    }
    match due_in(&view.task, now) {
        0 => String::new(),
        left if view.task.chain.retry_count > 0 => format!("retry in {}", duration::text(left)),
        left => format!("starts in {}", duration::text(left)),
    }
}

/// The line below the table.
pub(crate) fn summary(tasks: &[TaskView], counts: &Counts, now: &Now) -> String {
    let number = |status| counts.get(&status).copied().unwrap_or(0);
    let total: u64 = counts.values().sum();
    let shown = |wanted: TaskStatus, holds: &dyn Fn(&TaskView) -> bool| {
        tasks
            .iter()
            .filter(|view| view.task.status() == wanted && holds(view))
            .count()
    };
    let limited = shown(TaskStatus::Running, &|view| {
        view.task.limits.timeout_seconds.is_some()
    });
    let near = shown(TaskStatus::Running, &|view| is_near_timeout(view, now));
    let running = match (limited, near) {
        (0, _) => String::new(),
        (limited, 0) => format!(" ({limited} with timeouts)"),
        (limited, near) => format!(" ({limited} with timeouts, {near} nearing timeout)"),
    };
    let auto = shown(TaskStatus::Failed, &|view| view.task.limits.auto_retry);
    let timed_out = shown(TaskStatus::Failed, &|view| {
        view.task
            .failure()
            .is_some_and(|failure| failure.reason == FailureReason::Timeout)
    });
    let failed = match (auto, timed_out) {
        (0, 0) => String::new(),
        (auto, timed_out) => format!(" ({auto} with auto-retry enabled, {timed_out} timed out)"),
    };
    format!(
        "Summary: {total} total, {} running{running}, {} pending, {} completed, {} failed{failed}, {} cancelled",
        number(TaskStatus::Running),
        number(TaskStatus::Pending),
        number(TaskStatus::Completed),
        number(TaskStatus::Failed),
        number(TaskStatus::Cancelled),
    )
}
