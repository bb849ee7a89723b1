//! Tasks: the hot row, and what was asked for beside it.

use app::{error::Error, ports::store::counted_as};
use domain::{
    id::{Key, ProjectId, TaskId},
    task::{Chain, Limits, Task, TaskKind, TaskState, TaskStatus},
    time::{BootId, Due, Moment, Timestamp},
};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::{
    dependencies,
    failure::Explain as _,
    row::{Columns as _, int, project_number, status_code, status_of, task_number, to_json},
};

/// The columns that [`from_row`] reads, of `tasks t JOIN specs s`.
macro_rules! task_columns {
    () => {
        "t.id, t.project, t.status, t.fence, t.requeues, t.due_boot, t.due_millis, t.due_wall, \
         t.root, t.retry_of, t.retry_count, t.retried_by, t.timeout, t.timeout_warning, \
         t.retries_max, t.auto_retry, t.archived_at, t.deleted_at, t.created_at, t.updated_at, \
         t.version, t.state, s.spec, t.purged_at"
    };
}
pub(crate) use task_columns;

const BY_ID: &str = concat!(
    "SELECT ",
    task_columns!(),
    " FROM tasks t JOIN specs s ON s.id = t.id WHERE t.id = ?1"
);
const BY_KEY: &str = concat!(
    "SELECT ",
    task_columns!(),
    " FROM tasks t INDEXED BY tasks_key JOIN specs s ON s.id = t.id
      WHERE t.project = ?1 AND t.key = ?2 AND t.key IS NOT NULL AND t.deleted_at IS NULL"
);
const RETRIES: &str = concat!(
    "SELECT ",
    task_columns!(),
    " FROM tasks t INDEXED BY tasks_retries JOIN specs s ON s.id = t.id
      WHERE t.root = ?1 AND t.retry_of IS NOT NULL ORDER BY t.id"
);
const INSERT: &str = "INSERT INTO tasks (id, project, status, kind, priority, unmet, scheduled,
    fence, requeues, due_boot, due_millis, due_wall, root, retry_of, retry_count, retried_by,
    agent, owner, key, timeout, timeout_warning, retries_max, auto_retry, archived_at, deleted_at,
    created_at, updated_at, version, state, purged_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19,
    ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30)";
const BEFORE: &str =
    "SELECT status, archived_at, deleted_at FROM tasks WHERE id = ?1 AND version = ?2";
const UPDATE: &str = "UPDATE tasks SET status = ?2, fence = ?3, requeues = ?4, retried_by = ?5,
    timeout = ?6, timeout_warning = ?7, retries_max = ?8, auto_retry = ?9, archived_at = ?10,
    deleted_at = ?11, updated_at = ?12, version = ?13, state = ?14, purged_at = ?15
    WHERE id = ?1";

/// A task from [`task_columns`].
pub(crate) fn from_row(row: &Row<'_>) -> rusqlite::Result<Task> {
    let status = status_of(row.get(2)?);
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
            timeout_seconds: row.get(12)?,
            timeout_warning_seconds: row.small(13)?,
            retries_max: row.small(14)?,
            auto_retry: row.get(15)?,
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

fn due(row: &Row<'_>) -> rusqlite::Result<Option<Due>> {
    let Some(wall) = row.maybe_time(7)? else {
        return Ok(None);
    };
    Ok(Some(Due {
        wall,
        moment: Moment {
            boot: BootId(row.get(5)?),
            millis: row.number(6)?,
        },
    }))
}

/// The task of an id.
pub(crate) fn get(connection: &Connection, id: TaskId) -> Result<Option<Task>, Error> {
    connection
        .prepare_cached(BY_ID)
        .and_then(|mut statement| statement.query_row([task_number(id)], from_row).optional())
        .explain()
}

/// The task of a key that is not deleted.
pub(crate) fn of_key(
    connection: &Connection,
    project: ProjectId,
    key: &Key,
) -> Result<Option<Task>, Error> {
    connection
        .prepare_cached(BY_KEY)
        .and_then(|mut statement| {
            statement
                .query_row(params![project_number(project), key.as_str()], from_row)
                .optional()
        })
        .explain()
}

/// A chain, oldest first.
pub(crate) fn chain(connection: &Connection, root: TaskId) -> Result<Vec<Task>, Error> {
    let mut tasks: Vec<Task> = get(connection, root)?.into_iter().collect();
    let mut statement = connection.prepare_cached(RETRIES).explain()?;
    let retries = statement
        .query_map([task_number(root)], from_row)
        .explain()?;
    for task in retries {
        tasks.push(task.explain()?);
    }
    Ok(tasks)
}

/// Adds a task that waits for those of its dependencies that have not completed.
pub(crate) fn insert(connection: &Connection, task: &Task) -> Result<(), Error> {
    let unmet = dependencies::unmet(connection, &task.spec.depends_on)?;
    let spec = &task.spec;
    let due = task.not_before.as_ref();
    let limits = &task.limits;
    connection
        .prepare_cached(INSERT)
        .and_then(|mut statement| {
            statement.execute(params![
                task_number(task.id),
                project_number(task.project),
                status_code(task.status()),
                i64::from(spec.kind == TaskKind::External),
                spec.priority.value(),
                unmet,
                due.is_some(),
                int(task.fence),
                task.requeues,
                due.map(|due| due.moment.boot.0.as_str()),
                due.map(|due| int(due.moment.millis)),
                due.map(|due| due.wall.as_millis()),
                task_number(task.chain.root),
                task.chain.retry_of.map(task_number),
                task.chain.retry_count,
                task.chain.retried_by.map(task_number),
                spec.agent.as_str(),
                spec.owner,
                spec.key.as_ref().map(Key::as_str),
                limits.timeout_seconds,
                limits.timeout_warning_seconds,
                limits.retries_max,
                limits.auto_retry,
                task.archived_at.map(Timestamp::as_millis),
                task.deleted_at.map(Timestamp::as_millis),
                task.created_at.as_millis(),
                task.updated_at.as_millis(),
                int(task.version),
                state_column(task)?,
                task.purged_at.map(Timestamp::as_millis),
            ])
        })
        .explain()?;
    let spec = to_json(spec)?;
    connection
        .prepare_cached("INSERT INTO specs (id, spec) VALUES (?1, ?2)")
        .and_then(|mut statement| statement.execute(params![task_number(task.id), spec]))
        .explain()?;
    dependencies::insert(connection, task)?;
    if task.status() == TaskStatus::Completed {
        dependencies::release(connection, task.chain.root)?;
    }
    count(connection, task, None, counted_as(task))
}

/// Replaces a task whose stored version is `expected`.
pub(crate) fn update(connection: &Connection, task: &Task, expected: u64) -> Result<(), Error> {
    let before = connection
        .prepare_cached(BEFORE)
        .and_then(|mut statement| {
            statement
                .query_row(params![task_number(task.id), int(expected)], |row| {
                    let hidden = row.maybe_time(1)?.is_some() || row.maybe_time(2)?.is_some();
                    Ok((status_of(row.get(0)?), hidden))
                })
                .optional()
        })
        .explain()?;
    let Some((status, hidden)) = before else {
        return Err(Error::Conflict {
            what: task.id.to_string(),
        });
    };
    let limits = &task.limits;
    connection
        .prepare_cached(UPDATE)
        .and_then(|mut statement| {
            statement.execute(params![
                task_number(task.id),
                status_code(task.status()),
                int(task.fence),
                task.requeues,
                task.chain.retried_by.map(task_number),
                limits.timeout_seconds,
                limits.timeout_warning_seconds,
                limits.retries_max,
                limits.auto_retry,
                task.archived_at.map(Timestamp::as_millis),
                task.deleted_at.map(Timestamp::as_millis),
                task.updated_at.as_millis(),
                int(task.version),
                state_column(task)?,
                task.purged_at.map(Timestamp::as_millis),
            ])
        })
        .explain()?;
    let was = status.filter(|_| !hidden);
    count(connection, task, was, counted_as(task))
}

/// Replaces what was asked for of a task, and its key with it.
pub(crate) fn rewrite_spec(connection: &Connection, task: &Task) -> Result<(), Error> {
    let id = task_number(task.id);
    let spec = to_json(&task.spec)?;
    connection
        .prepare_cached("UPDATE specs SET spec = ?2 WHERE id = ?1")
        .and_then(|mut statement| statement.execute(params![id, spec]))
        .explain()?;
    let key = task.spec.key.as_ref().map(Key::as_str);
    connection
        .execute("UPDATE tasks SET key = ?2 WHERE id = ?1", params![id, key])
        .explain()?;
    Ok(())
}

/// What the status alone does not say of a state.
fn state_column(task: &Task) -> rusqlite::Result<Option<String>> {
    match &task.state {
        TaskState::Pending => Ok(None),
        state => serde_json::to_string(state)
            .map(Some)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error))),
    }
}

/// Moves a task from one counter to another.
fn count(
    connection: &Connection,
    task: &Task,
    from: Option<TaskStatus>,
    to: Option<TaskStatus>,
) -> Result<(), Error> {
    if from == to {
        return Ok(());
    }
    let moves = [(from, -1), (to, 1)];
    for (status, change) in moves {
        let Some(status) = status else { continue };
        connection
            .prepare_cached(
                "INSERT INTO counters (project, owner, status, count) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (project, owner, status) DO UPDATE SET count = count + ?4",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    project_number(task.project),
                    task.spec.owner,
                    status_code(status),
                    change
                ])
            })
            .explain()?;
    }
    Ok(())
}
