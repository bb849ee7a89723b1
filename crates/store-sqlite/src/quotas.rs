//! Quotas, and what is counted for them.

use app::error::Error;
use domain::{
    id::ProjectId,
    quota::{Quota, QuotaKey, QuotaResource},
    task::TaskStatus,
};
use rusqlite::{Connection, Row, params};

use crate::{
    failure::Explain as _,
    row::{Columns as _, int, project_number, status_code, unreadable},
};

/// Every quota, in the order of their keys.
pub(crate) fn all(connection: &Connection) -> Result<Vec<Quota>, Error> {
    connection
        .prepare_cached(
            "SELECT resource, project, owner, max, created_at, updated_at, version FROM quotas
             ORDER BY resource, project, owner",
        )
        .and_then(|mut statement| statement.query_map([], from_row)?.collect())
        .explain()
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Quota> {
    let resource = usize::try_from(row.number(0)?).ok();
    let resource = resource.and_then(|code| QuotaResource::ALL.get(code).copied());
    let unknown = || unreadable(0, std::io::Error::other("no resource has this number"));
    let owner: String = row.get(2)?;
    Ok(Quota {
        key: QuotaKey {
            resource: resource.ok_or_else(unknown)?,
            project: ProjectId::from_number(row.number(1)?),
            owner: Some(owner).filter(|owner| !owner.is_empty()),
        },
        max: row.number(3)?,
        created_at: row.time(4)?,
        updated_at: row.time(5)?,
        version: row.number(6)?,
    })
}

fn code(resource: QuotaResource) -> i64 {
    match resource {
        QuotaResource::ActiveSessions => 0,
        QuotaResource::QueuedTasks => 1,
        QuotaResource::TokensMonth => 2,
    }
}

fn columns(key: &QuotaKey) -> (i64, i64, &str) {
    (
        code(key.resource),
        key.project.map_or(0, project_number),
        key.owner.as_deref().unwrap_or_default(),
    )
}

/// Sets a quota, in place of the one with its key.
pub(crate) fn put(connection: &Connection, quota: &Quota) -> Result<(), Error> {
    let (resource, project, owner) = columns(&quota.key);
    connection
        .execute(
            "INSERT OR REPLACE INTO quotas
             (resource, project, owner, max, created_at, updated_at, version)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                resource,
                project,
                owner,
                int(quota.max),
                quota.created_at.as_millis(),
                quota.updated_at.as_millis(),
                int(quota.version),
            ],
        )
        .explain()?;
    Ok(())
}

/// Removes a quota, where there is one.
pub(crate) fn remove(connection: &Connection, key: &QuotaKey) -> Result<(), Error> {
    let (resource, project, owner) = columns(key);
    connection
        .execute(
            "DELETE FROM quotas WHERE resource = ?1 AND project = ?2 AND owner = ?3",
            params![resource, project, owner],
        )
        .explain()?;
    Ok(())
}

/// Sessions that have not ended.
pub(crate) fn active(
    connection: &Connection,
    project: Option<ProjectId>,
    owner: Option<&str>,
) -> Result<u64, Error> {
    let sql = "SELECT count(*) FROM sessions s INDEXED BY sessions_live
        CROSS JOIN tasks t ON t.id = s.task
        WHERE s.live = 1 AND (?1 IS NULL OR s.project = ?1) AND (?2 IS NULL OR t.owner = ?2)";
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| {
            statement.query_row(params![project.map(project_number), owner], |row| {
                row.number(0)
            })
        })
        .explain()
}

/// Tasks that are pending, from kept counters.
pub(crate) fn queued(
    connection: &Connection,
    project: Option<ProjectId>,
    owner: Option<&str>,
) -> Result<u64, Error> {
    let sql = "SELECT coalesce(sum(count), 0) FROM counters
        WHERE status = ?1 AND (?2 IS NULL OR project = ?2) AND (?3 IS NULL OR owner = ?3)";
    let pending = status_code(TaskStatus::Pending);
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| {
            let project = project.map(project_number);
            statement.query_row(params![pending, project, owner], |row| row.number(0))
        })
        .explain()
}

/// Tokens that were counted in a month.
pub(crate) fn tokens(
    connection: &Connection,
    month: u32,
    project: Option<ProjectId>,
    owner: Option<&str>,
) -> Result<u64, Error> {
    // A real number does not overflow; what matters of such sums is that they are large.
    let sql = "SELECT CAST(total(tokens) AS INTEGER) FROM token_months
        WHERE month = ?1 AND (?2 IS NULL OR project = ?2) AND (?3 IS NULL OR owner = ?3)";
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| {
            let project = project.map(project_number);
            statement.query_row(params![month, project, owner], |row| row.number(0))
        })
        .explain()
}

/// Counts tokens of an owner in a project in a month.
pub(crate) fn add_tokens(
    connection: &Connection,
    month: u32,
    project: ProjectId,
    owner: &str,
    more: u64,
) -> Result<(), Error> {
    // A sum above the largest integer would become a real number, which the column refuses.
    connection
        .prepare_cached(
            "INSERT INTO token_months (month, project, owner, tokens) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (month, project, owner)
             DO UPDATE SET tokens = min(tokens, 9223372036854775807 - ?4) + ?4",
        )
        .and_then(|mut statement| {
            statement.execute(params![month, project_number(project), owner, int(more)])
        })
        .explain()?;
    Ok(())
}
