//! The table of tasks, as `status` shows it.

use std::collections::BTreeMap;

use app::{
    overview::{SessionLine, TaskLine},
    query::Counts,
};
use domain::{
    failure::FailureReason,
    id::{Key, TaskId},
    session::SessionStatus,
    task::{Task, TaskStatus},
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
pub(crate) fn render(out: &Output, tasks: &[TaskLine], now: &Now) -> String {
    let header = [
        "ID",
        "Agent",
        "Status",
        "Prompt",
        "Time",
        "Retry",
        "Error/Info",
    ];
    let names = names(out, tasks.iter().map(|task| task.id));
    let keyed = tasks
        .iter()
        .filter_map(|task| Some((task.id, task.key.as_ref()?)));
    let keys = keyed.collect();
    let rows: Vec<Vec<String>> = tasks
        .iter()
        .zip(names)
        .map(|(task, name)| row(out, task, &name, &keys, now))
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

fn row(out: &Output, task: &TaskLine, name: &str, keys: &Keys<'_>, now: &Now) -> Vec<String> {
    let symbol = symbol(task, now);
    let prefix = if task.retry_count > 0 {
        format!("{} ", Symbol::Retry.text(out.unicode))
    } else {
        String::new()
    };
    let deleted = if task.deleted { ", deleted" } else { "" };
    let status = format!(
        "{} {}{deleted}",
        symbol.text(out.unicode),
        task.status.as_str()
    );
    vec![
        format!("{prefix}{}", with_key(name, task.key.as_ref())),
        task.agent.to_string(),
        out.paint(symbol.color(), &status),
        cut(&task.prompt, PROMPT_CHARS),
        time(out, task, now),
        format!("{}/{}", task.retry_count, task.retries_max),
        cut(&info(task, keys, now), INFO_CHARS),
    ]
}

/// The sign of a task's state, derived states included.
pub(crate) fn symbol(task: &TaskLine, now: &Now) -> Symbol {
    match task.status {
        TaskStatus::Pending if !task.blocked_by.is_empty() => Symbol::Blocked,
        TaskStatus::Pending if due_in(task, now) > 0 && task.retry_count > 0 => Symbol::RetryDue,
        TaskStatus::Running if is_near_timeout(task, now) => Symbol::NearTimeout,
        status => Symbol::of(status),
    }
}

fn due_in(task: &TaskLine, now: &Now) -> u64 {
    task.not_before
        .as_ref()
        .map_or(0, |due| due.millis_left(now).div_ceil(1_000))
}

/// Seconds that the agent has been, or was, at work.
pub(crate) fn elapsed(task: &TaskLine, now: &Now) -> Option<u64> {
    let session = task.session.as_ref()?;
    if let Some(process) = &session.process
        && process.boot == now.moment.boot
    {
        // However the wall clock was set meanwhile.
        let ticks = rustix::param::clock_ticks_per_second().max(1);
        let since_boot = process.start_ticks.saturating_mul(1_000) / ticks;
        return Some(now.moment.millis.saturating_sub(since_boot) / 1_000);
    }
    let started = session.started_at?;
    let end = session.ended_at.unwrap_or(now.wall);
    u64::try_from(end.as_millis() - started.as_millis())
        .ok()
        .map(|millis| millis / 1_000)
}

/// Seconds left of a running task's time, where it is limited.
pub(crate) fn seconds_left(task: &TaskLine, now: &Now) -> Option<u64> {
    let running = |session: &&SessionLine| session.status == SessionStatus::Running;
    let session = task.session.as_ref().filter(running)?;
    Some(session.deadline.as_ref()?.millis_left(now) / 1_000)
}

/// Whether the warning before the deadline is due.
pub(crate) fn is_near_timeout(task: &TaskLine, now: &Now) -> bool {
    seconds_left(task, now).is_some_and(|left| left <= u64::from(task.timeout_warning_seconds))
}

fn is_timed_out(task: &TaskLine) -> bool {
    let failure = task.failure.as_ref();
    failure.is_some_and(|failure| failure.reason == FailureReason::Timeout)
}

fn time(out: &Output, task: &TaskLine, now: &Now) -> String {
    if is_timed_out(task) {
        return format!("{} timeout", Symbol::Running.text(out.unicode));
    }
    let waited = task
        .since
        .map(|since| now.wall.as_millis() - since.as_millis())
        .map(|millis| u64::try_from(millis).unwrap_or(0) / 1_000);
    let took = match task.status {
        TaskStatus::Pending => None,
        _ => elapsed(task, now).or(waited).map(duration::text),
    };
    match (took, task.timeout_seconds) {
        (None, _) => "-".to_owned(),
        (Some(took), Some(limit)) if task.status == TaskStatus::Running => {
            format!("{took} / {}", duration::text(u64::from(limit)))
        }
        (Some(took), _) => took,
    }
}

/// What else there is to say: why it waits, what it does, why it failed.
pub(crate) fn info(task: &TaskLine, keys: &Keys<'_>, now: &Now) -> String {
    let session = task.session.as_ref();
    match task.status {
        TaskStatus::Pending => waiting_for(task, keys, now),
        TaskStatus::Running => match session {
            Some(session) if session.stopping => "stopping".to_owned(),
            Some(session) if session.status != SessionStatus::Running => {
                session.status.as_str().to_owned()
            }
            Some(_) | None => String::new(),
        },
        TaskStatus::Failed => {
            let message = task.failure.as_ref().map(|failure| &failure.message);
            let message = message.map_or("", String::as_str);
            match task.retried_by {
                Some(next) => format!("{message} (retried by {next})"),
                None => message.to_owned(),
            }
        }
        TaskStatus::Completed => match session.map_or(0, |session| session.files_changed) {
            0 => String::new(),
            files => super::count(files, "file") + " changed",
        },
        TaskStatus::Cancelled => String::new(),
    }
}

fn waiting_for(task: &TaskLine, keys: &Keys<'_>, now: &Now) -> String {
    let failed = task
        .blocked_by
        .iter()
        .find(|(_, status)| status.is_terminal());
    if let Some((dependency, status)) = failed {
        let dependency = with_key(dependency, keys.get(dependency).copied());
        return format!("Dependency {dependency} {}", status.as_str());
    }
    if !task.blocked_by.is_empty() {
        return format!("deps: {}", task.blocked_by.len());
    }
    match due_in(task, now) {
        0 => match task.quotas.first() {
            Some(quota) => format!("waits for quota {quota}"),
            None => String::new(),
        },
        left if task.retry_count > 0 => format!("retry in {}", duration::text(left)),
        left => format!("starts in {}", duration::text(left)),
    }
}

/// The line below the table.
pub(crate) fn summary(tasks: &[TaskLine], counts: &Counts, now: &Now) -> String {
    let number = |status| counts.get(&status).copied().unwrap_or(0);
    let total: u64 = counts.values().sum();
    let shown = |wanted: TaskStatus, holds: &dyn Fn(&TaskLine) -> bool| {
        let held = |task: &&TaskLine| task.status == wanted && holds(task);
        tasks.iter().filter(held).count()
    };
    let limited = shown(TaskStatus::Running, &|task| task.timeout_seconds.is_some());
    let near = shown(TaskStatus::Running, &|task| is_near_timeout(task, now));
    let running = match (limited, near) {
        (0, _) => String::new(),
        (limited, 0) => format!(" ({limited} with timeouts)"),
        (limited, near) => format!(" ({limited} with timeouts, {near} nearing timeout)"),
    };
    let auto = shown(TaskStatus::Failed, &|task| task.auto_retry);
    let timed_out = shown(TaskStatus::Failed, &is_timed_out);
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
