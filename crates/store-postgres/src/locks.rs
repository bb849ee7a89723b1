//! Locks: a few columns to find them by, their paths in a table of their own, and the rest as one
//! value.

use app::error::Error;
use domain::{
    id::{LockId, ProjectId},
    lock::{Lock, LockState, Resource, Token, Totals},
    time::Now,
};
use tokio_postgres::{Row, types::Type};

use crate::{
    ask::{Ask, first},
    flush::batch,
    link::Batch,
    row::{Columns as _, int, project_number, to_json},
};

const OVERLAPPING: &str = "SELECT body FROM @locks WHERE id IN (
        SELECT lock FROM @lock_paths WHERE project = $1 AND path = ANY ($2)
        UNION SELECT lock FROM @lock_paths WHERE project = $1 AND path = ANY ($3) AND tree
        UNION SELECT p.lock FROM unnest($4, $5) AS r (a, b)
            JOIN @lock_paths p ON p.project = $1 AND p.path >= r.a AND p.path < r.b)
    ORDER BY id";

const PUT: &str = "INSERT INTO @locks (id, project, standing, token, holder, boot, until, body)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (id) DO UPDATE SET project = excluded.project, standing = excluded.standing,
        token = excluded.token, holder = excluded.holder, boot = excluded.boot,
        until = excluded.until, body = excluded.body";

fn standing(lock: &Lock) -> i16 {
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
pub(crate) fn get(ask: &dyn Ask, project: ProjectId, id: LockId) -> Result<Option<Lock>, Error> {
    one(
        ask,
        "SELECT body FROM @locks WHERE id = $2 AND project = $1",
        project,
        int(id.number()),
    )
}

/// The lock of a grant.
pub(crate) fn of_token(
    ask: &dyn Ask,
    project: ProjectId,
    token: Token,
) -> Result<Option<Lock>, Error> {
    one(
        ask,
        "SELECT body FROM @locks WHERE token = $2 AND project = $1",
        project,
        int(token.0),
    )
}

fn one(
    ask: &dyn Ask,
    sql: &'static str,
    project: ProjectId,
    number: i64,
) -> Result<Option<Lock>, Error> {
    let project = project_number(project);
    let rows = ask.ask(sql, &[(&project, Type::INT8), (&number, Type::INT8)])?;
    first(&rows, |row| row.json(0))
}

/// What is held or waits on something that overlaps one of these, oldest first.
pub(crate) fn overlapping(
    ask: &dyn Ask,
    project: ProjectId,
    resources: &[Resource],
) -> Result<Vec<Lock>, Error> {
    let same: Vec<&str> = resources.iter().map(Resource::path).collect();
    let above: Vec<String> = resources
        .iter()
        .flat_map(|resource| resource.above().map(str::to_owned))
        .collect();
    let (from, to): (Vec<String>, Vec<String>) = resources
        .iter()
        .filter(|resource| resource.is_tree())
        .map(Resource::beneath)
        .unzip();
    read(&ask.ask(
        OVERLAPPING,
        &[
            (&project_number(project), Type::INT8),
            (&same, Type::TEXT_ARRAY),
            (&above, Type::TEXT_ARRAY),
            (&from, Type::TEXT_ARRAY),
            (&to, Type::TEXT_ARRAY),
        ],
    )?)
}

/// What a holder has or waits for, oldest first.
pub(crate) fn of_holder(
    ask: &dyn Ask,
    project: ProjectId,
    holder: &str,
) -> Result<Vec<Lock>, Error> {
    read(&ask.ask(
        "SELECT body FROM @locks WHERE project = $1 AND holder = $2 AND standing < 2 ORDER BY id",
        &[
            (&project_number(project), Type::INT8),
            (&holder, Type::TEXT),
        ],
    )?)
}

/// What is held or waits, or what waits alone, oldest first.
pub(crate) fn all(
    ask: &dyn Ask,
    project: ProjectId,
    waiting_only: bool,
) -> Result<Vec<Lock>, Error> {
    let below: i16 = if waiting_only { 1 } else { 2 };
    read(&ask.ask(
        "SELECT body FROM @locks WHERE project = $1 AND standing < $2 ORDER BY id",
        &[(&project_number(project), Type::INT8), (&below, Type::INT2)],
    )?)
}

fn read(rows: &[Row]) -> Result<Vec<Lock>, Error> {
    rows.iter().map(|row| row.json(0)).collect()
}

/// What has happened, in numbers.
pub(crate) fn totals(ask: &dyn Ask, project: ProjectId) -> Result<Totals, Error> {
    let rows = ask.ask(
        "SELECT body FROM @lock_totals WHERE project = $1",
        &[(&project_number(project), Type::INT8)],
    )?;
    Ok(first(&rows, |row| row.json(0))?.unwrap_or_default())
}

/// Adds a lock, or replaces it.
pub(crate) fn put(project: ProjectId, lock: &Lock) -> Result<Vec<Batch>, Error> {
    let (id, project) = (int(lock.id.number()), project_number(project));
    let until = lock.stands_until();
    let mut batches = vec![batch!(PUT,
        id => INT8, project => INT8, standing(lock) => INT2, token_of(lock) => INT8,
        lock.holder.to_string() => TEXT, until.boot.0.clone() => TEXT, int(until.millis) => INT8,
        to_json(lock)? => TEXT)];
    if standing(lock) == 2 {
        batches.push(batch!("DELETE FROM @lock_paths WHERE lock = $1", id => INT8));
        return Ok(batches);
    }
    let paths: Vec<String> = lock.resources.iter().map(|r| r.path().to_owned()).collect();
    let trees: Vec<bool> = lock.resources.iter().map(Resource::is_tree).collect();
    batches.push(batch!(
        "INSERT INTO @lock_paths (project, lock, path, tree)
         SELECT $1, $2, p, t FROM unnest($3, $4) AS n (p, t) ON CONFLICT DO NOTHING",
        project => INT8, id => INT8, paths => TEXT_ARRAY, trees => BOOL_ARRAY));
    Ok(batches)
}

/// Removes a lock.
pub(crate) fn remove(id: LockId) -> Vec<Batch> {
    let id = int(id.number());
    vec![
        batch!("DELETE FROM @lock_paths WHERE lock = $1", id => INT8),
        batch!("DELETE FROM @locks WHERE id = $1", id => INT8),
    ]
}

/// Removes what was taken away long enough ago.
pub(crate) fn forget(project: ProjectId, now: &Now) -> Batch {
    batch!(
        "DELETE FROM @locks WHERE project = $1 AND standing = 2 AND (boot <> $2 OR until <= $3)",
        project_number(project) => INT8, now.moment.boot.0.clone() => TEXT,
        int(now.moment.millis) => INT8)
}

/// Replaces the numbers.
pub(crate) fn set_totals(project: ProjectId, totals: &Totals) -> Result<Batch, Error> {
    Ok(batch!(
        "INSERT INTO @lock_totals (project, body) VALUES ($1, $2)
         ON CONFLICT (project) DO UPDATE SET body = excluded.body",
        project_number(project) => INT8, to_json(totals)? => TEXT))
}
