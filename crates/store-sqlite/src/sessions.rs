//! Sessions: a few columns to find them by, and the rest as one value.

use app::error::Error;
use domain::{
    id::{ProjectId, SessionId, TaskId},
    session::{Session, SessionKind},
};
use rusqlite::{Connection, OptionalExtension as _, Params, params};

use crate::{
    failure::Explain as _,
    row::{Columns as _, int, project_number, session_number, task_number, to_json},
    singles,
};

/// The session of an id.
pub(crate) fn get(connection: &Connection, id: SessionId) -> Result<Option<Session>, Error> {
    connection
        .prepare_cached("SELECT body FROM sessions WHERE id = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([session_number(id)], |row| row.json(0))
                .optional()
        })
        .explain()
}

/// The sessions of a task, oldest first.
pub(crate) fn of_task(connection: &Connection, task: TaskId) -> Result<Vec<Session>, Error> {
    list(
        connection,
        "SELECT body FROM sessions INDEXED BY sessions_of_task WHERE task = ?1 ORDER BY id",
        [task_number(task)],
    )
}

/// Every session that has not ended, oldest first.
pub(crate) fn live(
    connection: &Connection,
    project: Option<ProjectId>,
) -> Result<Vec<Session>, Error> {
    let mut found = Vec::new();
    for project in singles::projects_or(connection, project)? {
        found.extend(list(
            connection,
            "SELECT body FROM sessions INDEXED BY sessions_live
             WHERE project = ?1 AND live = 1 ORDER BY id",
            [project_number(project)],
        )?);
    }
    found.sort_by_key(|session| session.id);
    Ok(found)
}

fn list(connection: &Connection, sql: &str, params: impl Params) -> Result<Vec<Session>, Error> {
    let mut statement = connection.prepare_cached(sql).explain()?;
    statement
        .query_map(params, |row| row.json(0))
        .and_then(Iterator::collect)
        .explain()
}

/// Adds a session.
pub(crate) fn insert(connection: &Connection, session: &Session) -> Result<(), Error> {
    let body = to_json(session)?;
    connection
        .prepare_cached(
            "INSERT INTO sessions (id, task, project, live, version, body, node, managed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                session_number(session.id),
                task_number(session.task),
                project_number(session.project),
                !session.status.is_terminal(),
                int(session.version),
                body,
                session.node.map(|node| int(node.number())),
                session.kind == SessionKind::Managed,
            ])
        })
        .explain()?;
    Ok(())
}

/// Replaces a session whose stored version is `expected`.
pub(crate) fn update(
    connection: &Connection,
    session: &Session,
    expected: u64,
) -> Result<(), Error> {
    let body = to_json(session)?;
    let changed = connection
        .prepare_cached(
            "UPDATE sessions SET live = ?3, version = ?4, body = ?5
             WHERE id = ?1 AND version = ?2",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                session_number(session.id),
                int(expected),
                !session.status.is_terminal(),
                int(session.version),
                body,
            ])
        })
        .explain()?;
    if changed == 1 {
        return Ok(());
    }
    Err(Error::Conflict {
        what: session.id.to_string(),
    })
}
