//! Tasks: the hot row, and what was asked for beside it.

use app::error::Error;
use domain::{
    id::{Key, ProjectId, TaskId},
    task::{Chain, Limits, Task, TaskState, TaskStatus},
    time::{BootId, Due, Moment},
};
use tokio_postgres::{Row, types::Type};

use crate::{
    ask::{Ask, first},
    row::{Columns as _, project_number, status_of, task_number},
};

/// The columns that [`from_row`] reads, of `@tasks t JOIN @specs s`.
macro_rules! task_columns {
    () => {
        "t.id, t.project, t.status, t.fence, t.requeues, t.due_boot, t.due_millis, t.due_wall, \
         t.root, t.retry_of, t.retry_count, t.retried_by, t.timeout, t.timeout_warning, \
         t.retries_max, t.auto_retry, t.archived_at, t.deleted_at, t.created_at, t.updated_at, \
         t.version, t.state, s.spec, t.purged_at"
    };
}
pub(crate) use task_columns;

/// How many columns [`from_row`] reads: what else a row has stands behind them.
pub(crate) const COLUMNS: usize = 24;

const BY_ID: &str = concat!(
    "SELECT ",
    task_columns!(),
    " FROM @tasks t JOIN @specs s ON s.id = t.id WHERE t.id = $1"
);

/// The same of several, and of the tasks of several sessions, with the ends of their streams.
pub(crate) const WITH_HEADS: &str = concat!(
    "SELECT ",
    task_columns!(),
    ", e.seq, e.stream_hash FROM @tasks t JOIN @specs s ON s.id = t.id
     LEFT JOIN LATERAL (SELECT seq, stream_hash FROM @events
        WHERE stream_kind = 1 AND stream_id = t.id ORDER BY seq DESC LIMIT 1) e ON true
     WHERE t.id = ANY ($1 || ARRAY(SELECT task FROM @sessions WHERE id = ANY ($2)))"
);

const BY_KEY: &str = concat!(
    "SELECT ",
    task_columns!(),
    " FROM @tasks t JOIN @specs s ON s.id = t.id
      WHERE t.project = $1 AND t.key = $2 AND t.key IS NOT NULL AND t.deleted_at IS NULL"
);
const RETRIES: &str = concat!(
    "SELECT ",
    task_columns!(),
    " FROM @tasks t JOIN @specs s ON s.id = t.id
      WHERE t.root = $1 AND t.retry_of IS NOT NULL ORDER BY t.id"
);

/// A task from [`task_columns`].
pub(crate) fn from_row(row: &Row) -> Result<Task, Error> {
    let status = status_of(row.value(2)?);
    Ok(Task {
        id: row.task_id(0)?,
        project: row.project_id(1)?,
        fence: row.number(3)?,
        requeues: row.small(4)?,
        not_before: due(row)?,
        chain: Chain {
            root: row.task_id(8)?,
            retry_of: row.maybe_task_id(9)?,
            retry_count: row.small(10)?,
            retried_by: row.maybe_task_id(11)?,
        },
        limits: Limits {
            timeout_seconds: row.maybe_small(12)?,
            timeout_warning_seconds: row.small(13)?,
            retries_max: row.small(14)?,
            auto_retry: row.value(15)?,
        },
        archived_at: row.maybe_time(16)?,
        deleted_at: row.maybe_time(17)?,
        created_at: row.time(18)?,
        updated_at: row.time(19)?,
        version: row.number(20)?,
        state: match status {
            Some(TaskStatus::Pending) => TaskState::Pending,
            _ => row.json(21)?,
        },
        spec: row.json(22)?,
        purged_at: row.maybe_time(23)?,
    })
}

fn due(row: &Row) -> Result<Option<Due>, Error> {
    let Some(wall) = row.maybe_time(7)? else {
        return Ok(None);
    };
    let boot: &str = row.value(5)?;
    Ok(Some(Due {
        wall,
        moment: Moment {
            boot: BootId(boot.to_owned()),
            millis: row.number(6)?,
        },
    }))
}

/// The task of an id.
pub(crate) fn get(ask: &dyn Ask, id: TaskId) -> Result<Option<Task>, Error> {
    let rows = ask.ask(BY_ID, &[(&task_number(id), Type::INT8)])?;
    first(&rows, from_row)
}

/// The task of a key that is not deleted.
pub(crate) fn of_key(ask: &dyn Ask, project: ProjectId, key: &Key) -> Result<Option<Task>, Error> {
    let key = key.as_str();
    let rows = ask.ask(
        BY_KEY,
        &[(&project_number(project), Type::INT8), (&key, Type::TEXT)],
    )?;
    first(&rows, from_row)
}

/// A chain, oldest first.
pub(crate) fn chain(ask: &dyn Ask, root: TaskId) -> Result<Vec<Task>, Error> {
    let mut tasks: Vec<Task> = get(ask, root)?.into_iter().collect();
    for row in ask.ask(RETRIES, &[(&task_number(root), Type::INT8)])? {
        tasks.push(from_row(&row)?);
    }
    Ok(tasks)
}

/// The tasks, not deleted, that wait for a chain, oldest first.
pub(crate) fn dependants(ask: &dyn Ask, root: TaskId) -> Result<Vec<TaskId>, Error> {
    ask.ask(
        "SELECT d.task FROM @dependencies d JOIN @tasks t ON t.id = d.task
         WHERE d.root = $1 AND t.deleted_at IS NULL ORDER BY d.task",
        &[(&task_number(root), Type::INT8)],
    )?
    .iter()
    .map(|row| row.task_id(0))
    .collect()
}

/// Those of these chains that have completed. One has once one of its tasks has: nothing follows a
/// completed task.
pub(crate) fn completed(ask: &dyn Ask, roots: &[TaskId]) -> Result<usize, Error> {
    let roots: Vec<i64> = roots.iter().map(|root| task_number(*root)).collect();
    let rows = ask.ask(
        "SELECT count(*) FROM unnest($1) r WHERE
            EXISTS (SELECT 1 FROM @tasks WHERE id = r AND status = 2)
            OR EXISTS (SELECT 1 FROM @tasks
                       WHERE root = r AND retry_of IS NOT NULL AND status = 2)",
        &[(&roots, Type::INT8_ARRAY)],
    )?;
    let found = first(&rows, |row| row.number(0))?.unwrap_or(0);
    Ok(usize::try_from(found).unwrap_or(usize::MAX))
}
