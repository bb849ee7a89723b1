//! What may start, what runs, and when something becomes due.

use app::error::Error;
use domain::{
    id::ProjectId,
    plan::{Candidate, Occupant},
    task::Priority,
    time::{Now, Timestamp},
};
use tokio_postgres::{Row, types::Type};

use crate::{
    ask::{Ask, first},
    link::{Batch, Link, Param, Step},
    row::{Columns as _, int, limit, project_number, unreadable},
};

/// Of each group the oldest that may start. Groups are tasks of one project, priority, agent and
/// owner: among equals only the oldest can be next, so that a claim looks at a few rows however many
/// wait. From one group to the next is one step of the index.
const CANDIDATES: &str = "WITH RECURSIVE groups AS (
        SELECT n.* FROM @projects p, LATERAL (
            SELECT project, priority, agent, owner FROM @tasks
            WHERE project = p.id
              AND status = 0 AND kind = 0 AND unmet = 0 AND NOT scheduled AND deleted_at IS NULL
            ORDER BY priority, agent, owner LIMIT 1) n
        WHERE $1::bigint IS NULL OR p.id = $1
        UNION ALL
        SELECT n.* FROM groups g, LATERAL (
            SELECT t.project, t.priority, t.agent, t.owner FROM @tasks t
            WHERE t.project = g.project
              AND (t.priority, t.agent, t.owner) > (g.priority, g.agent, g.owner)
              AND status = 0 AND kind = 0 AND unmet = 0 AND NOT scheduled AND deleted_at IS NULL
            ORDER BY t.priority, t.agent, t.owner LIMIT 1) n)
    SELECT t.id, t.created_at, t.due_wall, g.priority, g.agent, g.owner, g.project
    FROM groups g, LATERAL (
        SELECT id, created_at, due_wall FROM @tasks o
        WHERE o.project = g.project AND o.priority = g.priority AND o.agent = g.agent
          AND o.owner = g.owner
          AND status = 0 AND kind = 0 AND unmet = 0 AND NOT scheduled AND deleted_at IS NULL
        ORDER BY o.id LIMIT $2) t
    ORDER BY g.project, g.priority, g.agent, g.owner, t.id";

/// Tasks whose time has come in this boot, and those of other boots, which only the wall clock
/// can judge.
const PROMOTE: [&str; 2] = [
    "UPDATE @tasks SET scheduled = false WHERE due_boot = $1 AND due_millis <= $2 AND $3 = $3
     AND status = 0 AND kind = 0 AND unmet = 0 AND scheduled AND deleted_at IS NULL RETURNING 1",
    "UPDATE @tasks SET scheduled = false WHERE due_wall <= $3 AND due_boot <> $1 AND $2 = $2
     AND status = 0 AND kind = 0 AND unmet = 0 AND scheduled AND deleted_at IS NULL RETURNING 1",
];

const COME: [&str; 2] = [
    "SELECT id, created_at, due_wall, priority, agent, owner, project FROM @tasks
     WHERE due_boot = $1 AND due_millis <= $2 AND $3 = $3
     AND status = 0 AND kind = 0 AND unmet = 0 AND scheduled AND deleted_at IS NULL
     AND ($4::bigint IS NULL OR project = $4) LIMIT $5",
    "SELECT id, created_at, due_wall, priority, agent, owner, project FROM @tasks
     WHERE due_wall <= $3 AND due_boot <> $1 AND $2 = $2
     AND status = 0 AND kind = 0 AND unmet = 0 AND scheduled AND deleted_at IS NULL
     AND ($4::bigint IS NULL OR project = $4) LIMIT $5",
];

/// Of each group the `per_group` oldest that may start.
pub(crate) fn candidates(
    ask: &dyn Ask,
    project: Option<ProjectId>,
    per_group: usize,
    now: &Now,
) -> Result<Vec<Candidate>, Error> {
    let project = project.map(project_number);
    let rows = ask.ask(
        CANDIDATES,
        &[(&project, Type::INT8), (&limit(per_group), Type::INT8)],
    )?;
    rows.iter().map(|row| candidate(row, now)).collect()
}

/// The same, after those whose time has come were put among the ready ones, once for each, so that
/// later claims do not look at them one by one. `before` is sent first. Says whether there were any.
pub(crate) fn promoted(
    link: &Link,
    before: &[Batch],
    project: Option<ProjectId>,
    per_group: usize,
    now: &Now,
) -> Result<(bool, Vec<Candidate>), Error> {
    let (boot, millis, wall) = moment(now);
    let bounds: [Param<'_>; 3] = [
        (&boot, Type::TEXT),
        (&millis, Type::INT8),
        (&wall, Type::INT8),
    ];
    let (project, rows) = (project.map(project_number), limit(per_group));
    let which: [Param<'_>; 2] = [(&project, Type::INT8), (&rows, Type::INT8)];
    let mut steps: Vec<Step<'_>> = before.iter().map(Step::Do).collect();
    steps.extend(PROMOTE.map(|sql| Step::Ask(sql, &bounds)));
    steps.push(Step::Ask(CANDIDATES, &which));
    let mut answers = link.together(&steps)?.split_off(before.len());
    let rows = answers.pop().unwrap_or_default();
    let any = answers.iter().any(|changed| !changed.is_empty());
    let found: Result<_, Error> = rows.iter().map(|row| candidate(row, now)).collect();
    Ok((any, found?))
}

/// At most `rows` of those whose time has come and that no writer has put among the ready ones.
pub(crate) fn come(
    ask: &dyn Ask,
    project: Option<ProjectId>,
    rows: usize,
    now: &Now,
) -> Result<Vec<Candidate>, Error> {
    let (boot, millis, wall) = moment(now);
    let project = project.map(project_number);
    let mut found = Vec::new();
    for sql in COME {
        let rows = ask.ask(
            sql,
            &[
                (&boot, Type::TEXT),
                (&millis, Type::INT8),
                (&wall, Type::INT8),
                (&project, Type::INT8),
                (&limit(rows), Type::INT8),
            ],
        )?;
        for row in rows {
            found.push(candidate(&row, now)?);
        }
    }
    Ok(found)
}

fn candidate(row: &Row, now: &Now) -> Result<Candidate, Error> {
    let created = row.time(1)?;
    let since = row.maybe_time(2)?.map_or(created, |due| due.max(created));
    let priority: i16 = row.value(3)?;
    let priority = u8::try_from(priority).map_err(|error| unreadable(3, &error))?;
    let agent: &str = row.value(4)?;
    Ok(Candidate {
        project: row.project_id(6)?,
        task: row.task_id(0)?,
        priority: Priority::try_from(priority).map_err(|error| unreadable(3, &error))?,
        agent: agent.parse().map_err(|error| unreadable(4, &error))?,
        owner: row.value(5)?,
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
pub(crate) fn running(ask: &dyn Ask, project: Option<ProjectId>) -> Result<Vec<Occupant>, Error> {
    let project = project.map(project_number);
    let rows = ask.ask(
        "SELECT t.agent, t.owner FROM @projects p JOIN @tasks t ON t.project = p.id
         WHERE ($1::bigint IS NULL OR p.id = $1) AND t.status = 1 AND t.archived_at IS NULL
         AND t.deleted_at IS NULL AND t.kind = 0 ORDER BY t.project, t.id",
        &[(&project, Type::INT8)],
    )?;
    rows.iter()
        .map(|row| {
            let agent: &str = row.value(0)?;
            Ok(Occupant {
                agent: agent.parse().map_err(|error| unreadable(0, &error))?,
                owner: row.value(1)?,
            })
        })
        .collect()
}

/// Milliseconds until the first scheduled task becomes due, of those that are not.
pub(crate) fn next_due(
    ask: &dyn Ask,
    project: Option<ProjectId>,
    now: &Now,
) -> Result<Option<u64>, Error> {
    let (boot, millis, wall) = moment(now);
    let project = project.map(project_number);
    let rows = ask.ask(
        "SELECT least(
            (SELECT min(due_millis) - $2 FROM @tasks
             WHERE due_boot = $1 AND due_millis > $2 AND ($4::bigint IS NULL OR project = $4)
             AND status = 0 AND kind = 0 AND unmet = 0 AND scheduled AND deleted_at IS NULL),
            (SELECT min(due_wall) - $3 FROM @tasks
             WHERE due_boot <> $1 AND due_wall > $3 AND ($4::bigint IS NULL OR project = $4)
             AND status = 0 AND kind = 0 AND unmet = 0 AND scheduled AND deleted_at IS NULL))",
        &[
            (&boot, Type::TEXT),
            (&millis, Type::INT8),
            (&wall, Type::INT8),
            (&project, Type::INT8),
        ],
    )?;
    Ok(first(&rows, |row| row.maybe_number(0))?.flatten())
}
