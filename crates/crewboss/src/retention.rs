//! Which tasks are old enough to leave the ordinary lists: the same rule for the verb and for the
//! daemon.

use std::collections::BTreeSet;

use app::{error::Error, ports::store::Store, query::TaskFilter};
use domain::{
    id::{ProjectId, TaskId},
    task::{Task, TaskStatus},
    time::Timestamp,
};

use crate::{config::Settings, listing};

const DAY_MILLIS: i64 = 86_400_000;

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
    let listed = |statuses: &[TaskStatus]| {
        let filter = TaskFilter {
            project: Some(project),
            statuses: statuses.to_vec(),
            ..TaskFilter::default()
        };
        listing::tasks(store, filter)
    };
    let open = listed(&[TaskStatus::Pending, TaskStatus::Running])?;
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
    let mut tasks = listed(&[
        TaskStatus::Completed,
        TaskStatus::Failed,
        TaskStatus::Cancelled,
    ])?;
    tasks.retain(|task| is_old(task) && !needed.contains(&task.chain.root));
    Ok(tasks)
}
