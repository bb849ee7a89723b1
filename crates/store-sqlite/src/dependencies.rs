//! Who waits for which chain, and how many chains a task still waits for.

use app::error::Error;
use domain::{id::TaskId, task::Task};
use rusqlite::{Connection, params};

use crate::{
    failure::Explain as _,
    row::{Columns as _, task_number},
};

/// A chain has completed once one of its tasks has: nothing follows a completed task.
const HAS_COMPLETED: &str = "SELECT
    EXISTS (SELECT 1 FROM tasks WHERE id = ?1 AND status = 2)
    OR EXISTS (SELECT 1 FROM tasks INDEXED BY tasks_retries
               WHERE root = ?1 AND retry_of IS NOT NULL AND status = 2)";

/// How many of these chains have not completed.
pub(crate) fn unmet(connection: &Connection, roots: &[TaskId]) -> Result<u32, Error> {
    let mut unmet = 0;
    for root in roots {
        let completed: bool = connection
            .prepare_cached(HAS_COMPLETED)
            .and_then(|mut statement| statement.query_row([task_number(*root)], |row| row.get(0)))
            .explain()?;
        unmet += u32::from(!completed);
    }
    Ok(unmet)
}

/// Notes what a new task waits for.
pub(crate) fn insert(connection: &Connection, task: &Task) -> Result<(), Error> {
    for root in &task.spec.depends_on {
        connection
            .prepare_cached("INSERT INTO dependencies (root, task) VALUES (?1, ?2)")
            .and_then(|mut statement| {
                statement.execute(params![task_number(*root), task_number(task.id)])
            })
            .explain()?;
    }
    Ok(())
}

/// Lets everyone who waits for a chain wait for one less.
pub(crate) fn release(connection: &Connection, root: TaskId) -> Result<(), Error> {
    connection
        .prepare_cached(
            "UPDATE tasks SET unmet = unmet - 1
             WHERE id IN (SELECT task FROM dependencies WHERE root = ?1) AND unmet > 0",
        )
        .and_then(|mut statement| statement.execute([task_number(root)]))
        .explain()?;
    Ok(())
}

/// The tasks, not deleted, that wait for a chain, oldest first.
pub(crate) fn dependants(connection: &Connection, root: TaskId) -> Result<Vec<TaskId>, Error> {
    let mut statement = connection
        .prepare_cached(
            "SELECT d.task FROM dependencies d JOIN tasks t ON t.id = d.task
             WHERE d.root = ?1 AND t.deleted_at IS NULL ORDER BY d.task",
        )
        .explain()?;
    statement
        .query_map([task_number(root)], |row| row.task_id(0))
        .and_then(Iterator::collect)
        .explain()
}
