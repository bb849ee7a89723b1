//! Which tasks are old enough to leave the ordinary lists: the same rule for the verb and for the
//! daemon.

use std::collections::BTreeSet;

use app::{
    error::Error,
    ports::store::Store,
    query::{Deleted, Query, TaskFilter, View},
};
use domain::{
    id::{ProjectId, TaskId},
    task::{Task, TaskStatus},
    time::Timestamp,
};

use crate::config::Settings;

const DAY_MILLIS: i64 = 86_400_000;

/// Tasks that are read at once.
const PAGE: usize = 1_000;

/// How long ago a task ended, in whole days.
pub(crate) fn age_days(task: &Task, now: Timestamp) -> i64 {
    let ended = task.ended_at().unwrap_or(task.updated_at);
    (now.as_millis() - ended.as_millis()) / DAY_MILLIS
}

/// The time so many days before another.
pub(crate) fn days_before(now: Timestamp, days: u32) -> Timestamp {
    Timestamp::from_millis(now.as_millis().saturating_sub(i64::from(days) * DAY_MILLIS))
}

/// Old enough, and nothing open still hangs on it: its chain has ended, and nobody waits for it.
pub(crate) fn eligible(
    store: &dyn Store,
    project: ProjectId,
    settings: &Settings,
    now: Timestamp,
) -> Result<Vec<Task>, Error> {
    let open = all_tasks(
        store,
        project,
        &[TaskStatus::Pending, TaskStatus::Running],
        false,
    )?;
    let mut needed: BTreeSet<TaskId> = open.iter().map(|task| task.chain.root).collect();
    needed.extend(
        open.iter()
            .flat_map(|task| task.spec.depends_on.iter().copied()),
    );
    let is_old = |task: &Task| {
        let days = match task.status() {
            TaskStatus::Completed => settings.archive.max_completed_age_days,
            _ => settings.archive.max_failed_age_days,
        };
        age_days(task, now) >= i64::from(days)
    };
    let ended = [
        TaskStatus::Completed,
        TaskStatus::Failed,
        TaskStatus::Cancelled,
    ];
    let mut tasks = all_tasks(store, project, &ended, false)?;
    tasks.retain(|task| is_old(task) && !needed.contains(&task.chain.root));
    Ok(tasks)
}

/// Every task of these statuses, oldest first; all where none is named.
pub(crate) fn all_tasks(
    store: &dyn Store,
    project: ProjectId,
    statuses: &[TaskStatus],
    archived: bool,
) -> Result<Vec<Task>, Error> {
    walk(
        store,
        TaskFilter {
            project: Some(project),
            statuses: statuses.to_vec(),
            archived,
            ..TaskFilter::default()
        },
    )
}

/// Every task of these statuses that is listed, archived ones too where that is wanted, and of
/// deleted ones what is wanted.
pub(crate) fn every_task(
    store: &dyn Store,
    project: ProjectId,
    statuses: &[TaskStatus],
    archived: bool,
    deleted: Deleted,
) -> Result<Vec<Task>, Error> {
    let filter = |archived, deleted| TaskFilter {
        project: Some(project),
        statuses: statuses.to_vec(),
        archived,
        deleted,
        ..TaskFilter::default()
    };
    let mut tasks = walk(store, filter(false, deleted))?;
    if archived && deleted != Deleted::Only {
        tasks.extend(walk(store, filter(true, Deleted::Without))?);
    }
    Ok(tasks)
}

/// Every task of a filter, in its order.
fn walk(store: &dyn Store, mut filter: TaskFilter) -> Result<Vec<Task>, Error> {
    let mut all = Vec::new();
    loop {
        let query = Query::Tasks {
            filter: filter.clone(),
            limit: PAGE,
        };
        let View::Tasks { tasks } = store.read(&query)? else {
            return Err(Error::corrupt(
                "a list of tasks was answered by something else",
            ));
        };
        let full = tasks.len() == PAGE;
        all.extend(tasks);
        filter.after = all.last().map(|task| task.id);
        if !full {
            return Ok(all);
        }
    }
}
