//! Quotas, and what is counted for them.

use app::error::Error;
use domain::{
    id::ProjectId,
    quota::{Quota, QuotaKey, QuotaResource},
};
use tokio_postgres::{Row, types::Type};

use crate::{
    ask::{Ask, first},
    flush::batch,
    link::Batch,
    row::{Columns as _, int, project_number},
};

/// Every quota, in the order of their keys.
pub(crate) const ALL: &str = "SELECT resource, project, owner, max, created_at, updated_at, version
    FROM @quotas ORDER BY resource, project, owner";

/// See [`ALL`].
pub(crate) fn all(ask: &dyn Ask) -> Result<Vec<Quota>, Error> {
    read(&ask.ask(ALL, &[])?)
}

/// Quotas from rows of [`ALL`].
pub(crate) fn read(rows: &[Row]) -> Result<Vec<Quota>, Error> {
    rows.iter().map(from_row).collect()
}

fn from_row(row: &Row) -> Result<Quota, Error> {
    let code: i16 = row.value(0)?;
    let resource = usize::try_from(code).ok();
    let resource = resource.and_then(|code| QuotaResource::ALL.get(code).copied());
    let owner: String = row.value(2)?;
    Ok(Quota {
        key: QuotaKey {
            resource: resource.ok_or_else(|| Error::corrupt("no resource has this number"))?,
            project: ProjectId::from_number(row.number(1)?),
            owner: Some(owner).filter(|owner| !owner.is_empty()),
        },
        max: row.number(3)?,
        created_at: row.time(4)?,
        updated_at: row.time(5)?,
        version: row.number(6)?,
    })
}

fn code(resource: QuotaResource) -> i16 {
    match resource {
        QuotaResource::ActiveSessions => 0,
        QuotaResource::QueuedTasks => 1,
        QuotaResource::TokensMonth => 2,
    }
}

fn columns(key: &QuotaKey) -> (i16, i64, String) {
    (
        code(key.resource),
        key.project.map_or(0, project_number),
        key.owner.clone().unwrap_or_default(),
    )
}

/// Sets a quota, in place of the one with its key.
pub(crate) fn put(quota: &Quota) -> Batch {
    let (resource, project, owner) = columns(&quota.key);
    batch!(
        "INSERT INTO @quotas (resource, project, owner, max, created_at, updated_at, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (resource, project, owner) DO UPDATE SET max = excluded.max,
            created_at = excluded.created_at, updated_at = excluded.updated_at,
            version = excluded.version",
        resource => INT2, project => INT8, owner => TEXT, int(quota.max) => INT8,
        quota.created_at.as_millis() => INT8, quota.updated_at.as_millis() => INT8,
        int(quota.version) => INT8)
}

/// Removes a quota, where there is one.
pub(crate) fn remove(key: &QuotaKey) -> Batch {
    let (resource, project, owner) = columns(key);
    batch!(
        "DELETE FROM @quotas WHERE resource = $1 AND project = $2 AND owner = $3",
        resource => INT2, project => INT8, owner => TEXT)
}

/// Sessions that have not ended.
pub(crate) fn active(
    ask: &dyn Ask,
    project: Option<ProjectId>,
    owner: Option<&str>,
) -> Result<u64, Error> {
    let project = project.map(project_number);
    let rows = ask.ask(
        "SELECT count(*) FROM @sessions s JOIN @tasks t ON t.id = s.task
         WHERE s.live AND ($1::bigint IS NULL OR s.project = $1)
         AND ($2::text IS NULL OR t.owner = $2)",
        &[(&project, Type::INT8), (&owner, Type::TEXT)],
    )?;
    Ok(first(&rows, |row| row.number(0))?.unwrap_or(0))
}

/// Tokens that were counted in a month.
pub(crate) fn tokens(
    ask: &dyn Ask,
    month: u32,
    project: Option<ProjectId>,
    owner: Option<&str>,
) -> Result<u64, Error> {
    let project = project.map(project_number);
    // A sum of what is large is larger than what a column holds.
    let rows = ask.ask(
        "SELECT least(coalesce(sum(tokens), 0), 9223372036854775807)::bigint FROM @token_months
         WHERE month = $1 AND ($2::bigint IS NULL OR project = $2)
         AND ($3::text IS NULL OR owner = $3)",
        &[
            (&i64::from(month), Type::INT8),
            (&project, Type::INT8),
            (&owner, Type::TEXT),
        ],
    )?;
    Ok(first(&rows, |row| row.number(0))?.unwrap_or(0))
}

/// Counts tokens of an owner in a project in a month.
pub(crate) fn add_tokens(month: u32, project: ProjectId, owner: &str, more: u64) -> Batch {
    batch!(
        "INSERT INTO @token_months AS m (month, project, owner, tokens) VALUES ($1, $2, $3, $4)
         ON CONFLICT (month, project, owner)
         DO UPDATE SET tokens = least(m.tokens, 9223372036854775807 - $4) + $4",
        i64::from(month) => INT8, project_number(project) => INT8, owner.to_owned() => TEXT,
        int(more) => INT8)
}
