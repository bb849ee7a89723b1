//! What may start, what runs, and when something becomes due.

use app::error::Error;
use domain::{
    id::ProjectId,
    plan::{Candidate, Occupant},
    task::Priority,
    time::{Now, Timestamp},
};
use rusqlite::{Connection, Row, params};

use crate::{
    failure::Explain as _,
    groups::{self, Group},
    row::{Columns as _, int, limit, project_number, unreadable},
    singles,
};

const OLDEST: &str = "SELECT id, created_at, due_wall FROM tasks INDEXED BY tasks_ready
    WHERE project = ?1 AND priority = ?2 AND agent = ?3 AND owner = ?4
    AND status = 0 AND kind = 0 AND unmet = 0 AND scheduled = 0 AND deleted_at IS NULL
    ORDER BY id LIMIT ?5";

/// Tasks whose time has come in this boot, and those of other boots, which only the wall clock
/// can judge.
const COME: [&str; 2] = [
    "INDEXED BY tasks_scheduled WHERE due_boot = ?1 AND due_millis <= ?2 AND ?3 = ?3
     AND status = 0 AND kind = 0 AND unmet = 0 AND scheduled = 1 AND deleted_at IS NULL",
    "INDEXED BY tasks_scheduled_wall WHERE due_wall <= ?3 AND due_boot <> ?1 AND ?2 = ?2
     AND status = 0 AND kind = 0 AND unmet = 0 AND scheduled = 1 AND deleted_at IS NULL",
];

/// Of each group the `per_group` oldest that may start.
pub(crate) fn candidates(
    connection: &Connection,
    project: Option<ProjectId>,
    per_group: usize,
    now: &Now,
) -> Result<Vec<Candidate>, Error> {
    let mut found = Vec::new();
    for project in singles::projects_or(connection, project)? {
        for group in groups::of_project(connection, project)? {
            oldest(connection, &group, per_group, now, &mut found)?;
        }
    }
    Ok(found)
}

/// Puts those whose time has come among the ready ones, once for each, so that later claims do
/// not look at them one by one.
pub(crate) fn promote(connection: &Connection, now: &Now) -> Result<(), Error> {
    for come in COME {
        let sql = format!(
            "UPDATE tasks {} ",
            come.replacen("WHERE", "SET scheduled = 0 WHERE", 1)
        );
        connection
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.execute(moment(now)))
            .explain()?;
    }
    Ok(())
}

/// At most `rows` of those whose time has come and that no writer has put among the ready ones.
pub(crate) fn come(
    connection: &Connection,
    project: Option<ProjectId>,
    rows: usize,
    now: &Now,
) -> Result<Vec<Candidate>, Error> {
    let mut found = Vec::new();
    for come in COME {
        let sql = format!(
            "SELECT id, created_at, due_wall, priority, agent, owner, project FROM tasks {come}
             AND (?4 IS NULL OR project = ?4) LIMIT ?5"
        );
        let mut statement = connection.prepare_cached(&sql).explain()?;
        let project = project.map(project_number);
        let (boot, millis, wall) = moment(now);
        let rows = statement
            .query_map(params![boot, millis, wall, project, limit(rows)], |row| {
                let of = Group {
                    project: row.project_id(6)?,
                    priority: row.get(3)?,
                    agent: row.get(4)?,
                    owner: row.get(5)?,
                };
                candidate(row, &of, now)
            })
            .explain()?;
        for row in rows {
            found.push(row.explain()?);
        }
    }
    Ok(found)
}

fn oldest(
    connection: &Connection,
    group: &Group,
    rows: usize,
    now: &Now,
    found: &mut Vec<Candidate>,
) -> Result<(), Error> {
    let mut statement = connection.prepare_cached(OLDEST).explain()?;
    let rows = statement
        .query_map(
            params![
                project_number(group.project),
                group.priority,
                group.agent,
                group.owner,
                limit(rows)
            ],
            |row| candidate(row, group, now),
        )
        .explain()?;
    for row in rows {
        found.push(row.explain()?);
    }
    Ok(())
}

fn candidate(row: &Row<'_>, of: &Group, now: &Now) -> rusqlite::Result<Candidate> {
    let created = row.time(1)?;
    let since = row.maybe_time(2)?.map_or(created, |due| due.max(created));
    Ok(Candidate {
        task: row.task_id(0)?,
        project: of.project,
        priority: Priority::try_from(of.priority).map_err(|error| unreadable(3, error))?,
        agent: of.agent.parse().map_err(|error| unreadable(4, error))?,
        owner: of.owner.clone(),
        waiting_millis: waited(since, now),
    })
}

fn waited(since: Timestamp, now: &Now) -> u64 {
    let millis = now.wall.as_millis().saturating_sub(since.as_millis());
    u64::try_from(millis).unwrap_or(0)
}

fn moment(now: &Now) -> (&str, i64, i64) {
    (
        now.moment.boot.0.as_str(),
        int(now.moment.millis),
        now.wall.as_millis(),
    )
}

/// The running managed tasks.
pub(crate) fn running(
    connection: &Connection,
    project: Option<ProjectId>,
) -> Result<Vec<Occupant>, Error> {
    let mut found = Vec::new();
    for project in singles::projects_or(connection, project)? {
        let mut statement = connection
            .prepare_cached(
                "SELECT agent, owner FROM tasks INDEXED BY tasks_listed
                 WHERE project = ?1 AND status = 1 AND archived_at IS NULL
                 AND deleted_at IS NULL AND kind = 0 ORDER BY id",
            )
            .explain()?;
        let rows = statement
            .query_map([project_number(project)], |row| {
                let agent: String = row.get(0)?;
                Ok(Occupant {
                    agent: agent.parse().map_err(|error| unreadable(0, error))?,
                    owner: row.get(1)?,
                })
            })
            .explain()?;
        for row in rows {
            found.push(row.explain()?);
        }
    }
    Ok(found)
}

/// Milliseconds until the first scheduled task becomes due, of those that are not.
pub(crate) fn next_due(
    connection: &Connection,
    project: Option<ProjectId>,
    now: &Now,
) -> Result<Option<u64>, Error> {
    let (boot, millis, wall) = moment(now);
    let first = |sql: &str, bound: i64| -> Result<Option<i64>, Error> {
        connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement.query_row(params![boot, bound, project.map(project_number)], |row| {
                    row.get(0)
                })
            })
            .explain()
    };
    let here = first(
        "SELECT min(due_millis) FROM tasks INDEXED BY tasks_scheduled
         WHERE due_boot = ?1 AND due_millis > ?2 AND (?3 IS NULL OR project = ?3)
         AND status = 0 AND kind = 0 AND unmet = 0 AND scheduled = 1 AND deleted_at IS NULL",
        millis,
    )?;
    let mut soonest = here.map(|due| due.saturating_sub(millis));
    for sql in [
        "SELECT min(due_wall) FROM tasks INDEXED BY tasks_scheduled
         WHERE due_boot < ?1 AND due_wall > ?2 AND (?3 IS NULL OR project = ?3)
         AND status = 0 AND kind = 0 AND unmet = 0 AND scheduled = 1 AND deleted_at IS NULL",
        "SELECT min(due_wall) FROM tasks INDEXED BY tasks_scheduled
         WHERE due_boot > ?1 AND due_wall > ?2 AND (?3 IS NULL OR project = ?3)
         AND status = 0 AND kind = 0 AND unmet = 0 AND scheduled = 1 AND deleted_at IS NULL",
    ] {
        let elsewhere = first(sql, wall)?.map(|due| due.saturating_sub(wall));
        soonest = [soonest, elsewhere].into_iter().flatten().min();
    }
    Ok(soonest.and_then(|left| u64::try_from(left).ok()))
}
