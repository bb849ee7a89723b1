//! Locks: a few columns to find them by, their paths in a table of their own, and the rest as one
//! value.

use std::collections::BTreeMap;

use app::error::Error;
use domain::{
    id::{LockId, ProjectId},
    lock::{Lock, LockState, Mode, Resource, Token, Totals},
    time::{Moment, Now},
};
use rusqlite::{Connection, OptionalExtension as _, Params, params};

use crate::{
    failure::Explain as _,
    row::{Columns as _, int, project_number, to_json},
};

const AT: &str = "SELECT p.lock, l.body FROM lock_paths p JOIN locks l ON l.id = p.lock
    WHERE p.project = ?1 AND p.path = ?2";
const ABOVE: &str = "SELECT p.lock, l.body FROM lock_paths p JOIN locks l ON l.id = p.lock
    WHERE p.project = ?1 AND p.path = ?2 AND p.tree = 1";
const BENEATH: &str = "SELECT p.lock, l.body FROM lock_paths p JOIN locks l ON l.id = p.lock
    WHERE p.project = ?1 AND p.path >= ?2 AND p.path < ?3";

/// Who holds something there, and then who waits there in the order of the queue.
const LINE: &str = "SELECT p.lock, l.standing = 0 AND l.shares = 0 AND l.boot = ?3 AND l.until > ?4
    FROM lock_paths p JOIN locks l ON l.id = p.lock WHERE p.project = ?1 AND p.path = ?2
    ORDER BY l.standing DESC, l.rank, l.id";

fn standing(lock: &Lock) -> i64 {
    match lock.state {
        LockState::Waiting { .. } => 0,
        LockState::Held { .. } => 1,
        LockState::Gone { .. } => 2,
    }
}

fn token_of(lock: &Lock) -> Option<i64> {
    let token = match &lock.state {
        LockState::Waiting { .. } => None,
        LockState::Held { token, .. } => Some(*token),
        LockState::Gone { token, .. } => *token,
    };
    token.map(|token| int(token.0))
}

/// A request, in whichever state.
pub(crate) fn get(
    connection: &Connection,
    project: ProjectId,
    id: LockId,
) -> Result<Option<Lock>, Error> {
    one(
        connection,
        "SELECT body FROM locks WHERE id = ?2 AND project = ?1",
        params![project_number(project), int(id.number())],
    )
}

/// The lock of a grant.
pub(crate) fn of_token(
    connection: &Connection,
    project: ProjectId,
    token: Token,
) -> Result<Option<Lock>, Error> {
    one(
        connection,
        "SELECT body FROM locks INDEXED BY locks_of_token WHERE token = ?2 AND project = ?1",
        params![project_number(project), int(token.0)],
    )
}

fn one(connection: &Connection, sql: &str, params: impl Params) -> Result<Option<Lock>, Error> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row(params, |row| row.json(0)).optional())
        .explain()
}

/// What is held or waits on something that overlaps one of these, oldest first.
pub(crate) fn overlapping(
    connection: &Connection,
    project: ProjectId,
    resources: &[Resource],
) -> Result<Vec<Lock>, Error> {
    let mut found = BTreeMap::new();
    let project = project_number(project);
    for resource in resources {
        collect(
            connection,
            AT,
            params![project, resource.path()],
            &mut found,
        )?;
        for above in resource.above() {
            collect(connection, ABOVE, params![project, above], &mut found)?;
        }
        if resource.is_tree() {
            let (from, to) = resource.beneath();
            collect(connection, BENEATH, params![project, from, to], &mut found)?;
        }
    }
    Ok(found.into_values().collect())
}

/// The same without those that cannot be next because of who waits before them at the same path.
pub(crate) fn in_line(
    connection: &Connection,
    project: ProjectId,
    resources: &[Resource],
    now: &Moment,
) -> Result<Vec<Lock>, Error> {
    let mut found = BTreeMap::new();
    let number = project_number(project);
    let (boot, millis) = (&now.boot.0, int(now.millis));
    for resource in resources {
        let mut statement = connection.prepare_cached(LINE).explain()?;
        let mut rows = statement
            .query(params![number, resource.path(), boot, millis])
            .explain()?;
        while let Some(row) = rows.next().explain()? {
            let (id, closes): (i64, bool) = (row.get(0).explain()?, row.get(1).explain()?);
            let known = LockId::from_number(id.unsigned_abs());
            if let Some(lock) = known.map(|id| get(connection, project, id)).transpose()? {
                found.extend(lock.map(|lock| (id, lock)));
            }
            if closes {
                break;
            }
        }
        for above in resource.above() {
            collect(connection, ABOVE, params![number, above], &mut found)?;
        }
        if resource.is_tree() {
            let (from, to) = resource.beneath();
            collect(connection, BENEATH, params![number, from, to], &mut found)?;
        }
    }
    Ok(found.into_values().collect())
}

fn collect(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    found: &mut BTreeMap<i64, Lock>,
) -> Result<(), Error> {
    let mut statement = connection.prepare_cached(sql).explain()?;
    let mut rows = statement.query(params).explain()?;
    while let Some(row) = rows.next().explain()? {
        let id = row.get(0).explain()?;
        if let std::collections::btree_map::Entry::Vacant(vacant) = found.entry(id) {
            vacant.insert(row.json(1).explain()?);
        }
    }
    Ok(())
}

/// What a holder has or waits for, oldest first.
pub(crate) fn of_holder(
    connection: &Connection,
    project: ProjectId,
    holder: &str,
) -> Result<Vec<Lock>, Error> {
    list(
        connection,
        "SELECT body FROM locks INDEXED BY locks_of_holder
         WHERE project = ?1 AND holder = ?2 AND standing < 2 ORDER BY id",
        params![project_number(project), holder],
    )
}

/// What is held or waits, or what waits alone, oldest first.
pub(crate) fn all(
    connection: &Connection,
    project: ProjectId,
    waiting_only: bool,
) -> Result<Vec<Lock>, Error> {
    let mut found: Vec<Lock> = Vec::new();
    for standing in if waiting_only { 0..1 } else { 0..2 } {
        found.extend(list(
            connection,
            "SELECT body FROM locks INDEXED BY locks_standing
             WHERE project = ?1 AND standing = ?2 ORDER BY id",
            params![project_number(project), standing],
        )?);
    }
    found.sort_by_key(|lock| lock.id);
    Ok(found)
}

fn list(connection: &Connection, sql: &str, params: impl Params) -> Result<Vec<Lock>, Error> {
    let mut statement = connection.prepare_cached(sql).explain()?;
    statement
        .query_map(params, |row| row.json(0))
        .and_then(Iterator::collect)
        .explain()
}

/// Adds a lock, or replaces it.
pub(crate) fn put(connection: &Connection, project: ProjectId, lock: &Lock) -> Result<(), Error> {
    let body = to_json(lock)?;
    let (id, project) = (int(lock.id.number()), project_number(project));
    let until = lock.over_at();
    let values = params![
        id,
        project,
        standing(lock),
        token_of(lock),
        lock.holder.to_string(),
        int(lock.rank),
        lock.mode.goes_with(Mode::Shared),
        until.boot.0,
        int(until.millis),
        body,
    ];
    let replaced = run(
        connection,
        "UPDATE locks SET project = ?2, standing = ?3, token = ?4, holder = ?5, rank = ?6,
         shares = ?7, boot = ?8, until = ?9, body = ?10 WHERE id = ?1",
        values,
    )?;
    if replaced == 0 {
        run(
            connection,
            "INSERT INTO locks
             (id, project, standing, token, holder, rank, shares, boot, until, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            values,
        )?;
    }
    if standing(lock) == 2 {
        return remove_paths(connection, project, lock);
    }
    if replaced == 0 {
        for resource in &lock.resources {
            run(
                connection,
                "INSERT INTO lock_paths (project, path, lock, tree) VALUES (?1, ?2, ?3, ?4)",
                params![project, resource.path(), id, resource.is_tree()],
            )?;
        }
    }
    Ok(())
}

/// Removes a lock.
pub(crate) fn remove(connection: &Connection, id: LockId) -> Result<(), Error> {
    let number = int(id.number());
    let found: Option<(i64, Lock)> = connection
        .prepare_cached("SELECT project, body FROM locks WHERE id = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([number], |row| Ok((row.get(0)?, row.json(1)?)))
                .optional()
        })
        .explain()?;
    if let Some((project, lock)) = found {
        remove_paths(connection, project, &lock)?;
        run(connection, "DELETE FROM locks WHERE id = ?1", [number])?;
    }
    Ok(())
}

fn remove_paths(connection: &Connection, project: i64, lock: &Lock) -> Result<(), Error> {
    for resource in &lock.resources {
        run(
            connection,
            "DELETE FROM lock_paths WHERE project = ?1 AND path = ?2 AND lock = ?3",
            params![project, resource.path(), int(lock.id.number())],
        )?;
    }
    Ok(())
}

/// Removes what was taken away long enough ago.
pub(crate) fn forget(connection: &Connection, project: ProjectId, now: &Now) -> Result<(), Error> {
    run(
        connection,
        "DELETE FROM locks INDEXED BY locks_standing
         WHERE project = ?1 AND standing = 2 AND (boot <> ?2 OR until <= ?3)",
        params![
            project_number(project),
            now.moment.boot.0,
            int(now.moment.millis)
        ],
    )
    .map(drop)
}

/// What has happened, in numbers.
pub(crate) fn totals(connection: &Connection, project: ProjectId) -> Result<Totals, Error> {
    let kept = connection
        .prepare_cached("SELECT body FROM lock_totals WHERE project = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([project_number(project)], |row| row.json(0))
                .optional()
        })
        .explain()?;
    Ok(kept.unwrap_or_default())
}

/// Replaces the numbers.
pub(crate) fn set_totals(
    connection: &Connection,
    project: ProjectId,
    totals: &Totals,
) -> Result<(), Error> {
    run(
        connection,
        "INSERT INTO lock_totals (project, body) VALUES (?1, ?2)
         ON CONFLICT (project) DO UPDATE SET body = ?2",
        params![project_number(project), to_json(totals)?],
    )
    .map(drop)
}

fn run(connection: &Connection, sql: &str, params: impl Params) -> Result<usize, Error> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute(params))
        .explain()
}
