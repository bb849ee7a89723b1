//! The small tables: projects, counters, numbers, effects, and answers kept for a day.

use app::{
    command::Reply,
    error::Error,
    ports::store::{Effect, IdKind, Mark},
    query::Counts,
};
use domain::{
    id::{self, Numbering, ProjectId, TaskId},
    project::Project,
    time::Timestamp,
};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::{
    failure::Explain as _,
    row::{Columns as _, int, limit, project_number, status_of, task_number, to_json},
};

/// How long the answer to an idempotency key is kept.
const ANSWERS_KEPT_MILLIS: i64 = 24 * 60 * 60 * 1_000;

/// Old answers dropped by each request that adds one: more than come in, so that none pile up.
const ANSWERS_DROPPED: i64 = 8;

fn project_from(row: &Row<'_>) -> rusqlite::Result<Project> {
    Ok(Project {
        id: row.project_id(0)?,
        root: row.get(1)?,
        name: row.get(2)?,
        created_at: row.time(3)?,
        remote: row.get(4)?,
    })
}

/// A project by id.
pub(crate) fn project(connection: &Connection, id: ProjectId) -> Result<Option<Project>, Error> {
    connection
        .prepare_cached("SELECT id, root, name, created_at, remote FROM projects WHERE id = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([project_number(id)], project_from)
                .optional()
        })
        .explain()
}

/// A project by its directory.
pub(crate) fn project_at(connection: &Connection, root: &str) -> Result<Option<Project>, Error> {
    connection
        .prepare_cached("SELECT id, root, name, created_at, remote FROM projects WHERE root = ?1")
        .and_then(|mut statement| statement.query_row([root], project_from).optional())
        .explain()
}

/// Every project, oldest first.
pub(crate) fn projects(connection: &Connection) -> Result<Vec<Project>, Error> {
    connection
        .prepare_cached("SELECT id, root, name, created_at, remote FROM projects ORDER BY id")
        .and_then(|mut statement| statement.query_map([], project_from)?.collect())
        .explain()
}

/// The one that is asked for, or every project.
pub(crate) fn projects_or(
    connection: &Connection,
    project: Option<ProjectId>,
) -> Result<Vec<ProjectId>, Error> {
    match project {
        Some(project) => Ok(vec![project]),
        None => Ok(projects(connection)?.into_iter().map(|p| p.id).collect()),
    }
}

/// Adds a project.
pub(crate) fn insert_project(connection: &Connection, project: &Project) -> Result<(), Error> {
    connection
        .prepare_cached(
            "INSERT INTO projects (id, root, name, created_at, remote) VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                project_number(project.id),
                project.root,
                project.name,
                project.created_at.as_millis(),
                project.remote
            ])
        })
        .explain()?;
    Ok(())
}

/// The kept counters of a project.
pub(crate) fn counts(connection: &Connection, project: ProjectId) -> Result<Counts, Error> {
    let mut statement = connection
        .prepare_cached(
            "SELECT status, sum(count) FROM counters WHERE project = ?1
             GROUP BY status HAVING sum(count) > 0",
        )
        .explain()?;
    let rows = statement
        .query_map([project_number(project)], |row| {
            Ok((status_of(row.get(0)?), row.number(1)?))
        })
        .explain()?;
    let mut counts = Counts::new();
    for row in rows {
        if let (Some(status), count) = row.explain()? {
            counts.insert(status, count);
        }
    }
    Ok(counts)
}

/// The next number of a kind.
pub(crate) fn next_number(
    connection: &Connection,
    kind: IdKind,
    now: Timestamp,
) -> Result<u64, Error> {
    let code = kind_code(kind);
    let last: Option<u64> = connection
        .prepare_cached("SELECT last FROM ids WHERE kind = ?1")
        .and_then(|mut statement| statement.query_row([code], |row| row.number(0)).optional())
        .explain()?;
    let next = match kind {
        IdKind::Task => numbering(connection)?.next(last.unwrap_or(0), now),
        IdKind::Project | IdKind::Session => id::next_number(last.unwrap_or(0), now),
    };
    connection
        .prepare_cached(
            "INSERT INTO ids (kind, last) VALUES (?1, ?2)
             ON CONFLICT (kind) DO UPDATE SET last = ?2",
        )
        .and_then(|mut statement| statement.execute(params![code, int(next)]))
        .explain()?;
    Ok(next)
}

fn kind_code(kind: IdKind) -> u8 {
    match kind {
        IdKind::Project => 0,
        IdKind::Task => 1,
        IdKind::Session => 2,
    }
}

/// Numbers of a kind are given out above this one from now on.
pub(crate) fn raise_number(connection: &Connection, kind: IdKind, above: u64) -> Result<(), Error> {
    keep_largest(connection, kind_code(kind), above)
}

/// Rows of `ids` above those of kinds and [`MILLIS`] hold what the store keeps of itself.
fn mark_code(mark: Mark) -> u8 {
    match mark {
        Mark::Epoch => 101,
        Mark::UnverifiedFrom => 102,
        Mark::UnverifiedTo => 103,
        Mark::LockNumber => 104,
    }
}

/// A number that the store keeps of itself.
pub(crate) fn mark(connection: &Connection, mark: Mark) -> Result<u64, Error> {
    let kept: Option<u64> = connection
        .prepare_cached("SELECT last FROM ids WHERE kind = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([mark_code(mark)], |row| row.number(0))
                .optional()
        })
        .explain()?;
    Ok(kept.unwrap_or(0))
}

/// Sets a number that the store keeps of itself.
pub(crate) fn set_mark(connection: &Connection, mark: Mark, value: u64) -> Result<(), Error> {
    connection
        .execute(
            "INSERT INTO ids (kind, last) VALUES (?1, ?2)
             ON CONFLICT (kind) DO UPDATE SET last = ?2",
            params![mark_code(mark), int(value)],
        )
        .explain()?;
    Ok(())
}

fn keep_largest(connection: &Connection, code: u8, value: u64) -> Result<(), Error> {
    connection
        .execute(
            "INSERT INTO ids (kind, last) VALUES (?1, ?2)
             ON CONFLICT (kind) DO UPDATE SET last = max(last, ?2)",
            params![code, int(value)],
        )
        .explain()?;
    Ok(())
}

/// The row of `ids` that says, by being there, that tasks are numbered in milliseconds.
const MILLIS: u8 = 100;

fn numbering(connection: &Connection) -> Result<Numbering, Error> {
    let is_millis = connection
        .prepare_cached("SELECT 1 FROM ids WHERE kind = ?1")
        .and_then(|mut statement| statement.exists([MILLIS]))
        .explain()?;
    Ok(if is_millis {
        Numbering::Millis
    } else {
        Numbering::Wide
    })
}

/// From now on tasks are numbered in milliseconds, by every process that uses this file.
pub(crate) fn number_in_millis(connection: &Connection) -> Result<(), Error> {
    connection
        .execute(
            "INSERT OR IGNORE INTO ids (kind, last) VALUES (?1, 0)",
            [MILLIS],
        )
        .explain()?;
    Ok(())
}

/// At most `rows` effects that are owed, in the order of their tasks, of those behind a task or of
/// all.
pub(crate) fn effects(
    connection: &Connection,
    after: Option<TaskId>,
    rows: usize,
) -> Result<Vec<Effect>, Error> {
    let after = after.map_or(0, task_number);
    connection
        .prepare_cached("SELECT task, version FROM effects WHERE task > ?2 ORDER BY task LIMIT ?1")
        .and_then(|mut statement| {
            statement
                .query_map([limit(rows), after], |row| {
                    Ok(Effect {
                        task: row.task_id(0)?,
                        version: row.number(1)?,
                    })
                })?
                .collect()
        })
        .explain()
}

/// Notes an effect; a later version replaces an earlier one.
pub(crate) fn add_effect(connection: &Connection, effect: &Effect) -> Result<(), Error> {
    connection
        .prepare_cached(
            "INSERT INTO effects (task, version) VALUES (?1, ?2)
             ON CONFLICT (task) DO UPDATE SET version = max(version, ?2)",
        )
        .and_then(|mut statement| statement.execute(effect_numbers(effect)))
        .explain()?;
    Ok(())
}

/// Forgets an effect unless a later version is owed.
pub(crate) fn remove_effect(connection: &Connection, effect: &Effect) -> Result<(), Error> {
    connection
        .prepare_cached("DELETE FROM effects WHERE task = ?1 AND version <= ?2")
        .and_then(|mut statement| statement.execute(effect_numbers(effect)))
        .explain()?;
    Ok(())
}

fn effect_numbers(effect: &Effect) -> [i64; 2] {
    let task: TaskId = effect.task;
    [task_number(task), int(effect.version)]
}

/// The answer that was given under a key, less than a day ago.
pub(crate) fn answer_of(
    connection: &Connection,
    key: &str,
    now: Timestamp,
) -> Result<Option<Reply>, Error> {
    connection
        .prepare_cached("SELECT reply FROM idempotency WHERE key = ?1 AND at > ?2")
        .and_then(|mut statement| {
            statement
                .query_row(params![key, oldest_kept(now)], |row| row.json(0))
                .optional()
        })
        .explain()
}

/// Keeps the answer that was given under a key, and drops some that are too old.
pub(crate) fn keep_answer(
    connection: &Connection,
    key: &str,
    reply: &Reply,
    now: Timestamp,
) -> Result<(), Error> {
    connection
        .prepare_cached(
            "DELETE FROM idempotency WHERE key IN
             (SELECT key FROM idempotency WHERE at <= ?1 ORDER BY at LIMIT ?2)",
        )
        .and_then(|mut statement| statement.execute([oldest_kept(now), ANSWERS_DROPPED]))
        .explain()?;
    let reply = to_json(reply)?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO idempotency (key, at, reply) VALUES (?1, ?2, ?3)")
        .and_then(|mut statement| statement.execute(params![key, now.as_millis(), reply]))
        .explain()?;
    Ok(())
}

fn oldest_kept(now: Timestamp) -> i64 {
    now.as_millis().saturating_sub(ANSWERS_KEPT_MILLIS)
}
