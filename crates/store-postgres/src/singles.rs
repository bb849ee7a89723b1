//! The small tables: projects, counters, marks, effects, and answers kept for a day.

use app::{
    command::Reply,
    error::Error,
    ports::store::{Effect, Mark},
    query::Counts,
};
use domain::{
    id::{ProjectId, TaskId},
    project::Project,
    task::TaskStatus,
    time::Timestamp,
};
use tokio_postgres::{Row, types::Type};

use crate::{
    ask::{Ask, first},
    row::{Columns as _, limit, project_number, task_number},
};

/// How long the answer to an idempotency key is kept.
const ANSWERS_KEPT_MILLIS: i64 = 24 * 60 * 60 * 1_000;

/// Answers to several keys, of those that are kept.
pub(crate) const ANSWERS: &str = "SELECT key, reply FROM @answers WHERE key = ANY ($1) AND at > $2";

/// The newest counters of each owner in a project. From one owner to the next is one step back in the
/// index, whatever older rows a snapshot keeps alive.
const COUNTERS: &str = "WITH RECURSIVE newest AS (
        (SELECT project, owner, generation, counts FROM @counters WHERE project = $1
         ORDER BY owner DESC, generation DESC LIMIT 1)
        UNION ALL
        SELECT n.* FROM newest o, LATERAL (
            SELECT project, owner, generation, counts FROM @counters c
            WHERE c.project = o.project AND c.owner < o.owner
            ORDER BY owner DESC, generation DESC LIMIT 1) n)
    SELECT owner, generation, counts FROM newest";

pub(crate) fn project_from(row: &Row) -> Result<Project, Error> {
    Ok(Project {
        id: row.project_id(0)?,
        root: row.value(1)?,
        name: row.value(2)?,
        created_at: row.time(3)?,
        remote: row.value(4)?,
    })
}

/// A project by id.
pub(crate) fn project(ask: &dyn Ask, id: ProjectId) -> Result<Option<Project>, Error> {
    let rows = ask.ask(
        "SELECT id, root, name, created_at, remote FROM @projects WHERE id = $1",
        &[(&project_number(id), Type::INT8)],
    )?;
    first(&rows, project_from)
}

/// A project by its directory.
pub(crate) fn project_at(ask: &dyn Ask, root: &str) -> Result<Option<Project>, Error> {
    let rows = ask.ask(
        "SELECT id, root, name, created_at, remote FROM @projects WHERE root = $1",
        &[(&root, Type::TEXT)],
    )?;
    first(&rows, project_from)
}

/// Every project, oldest first.
pub(crate) fn projects(ask: &dyn Ask) -> Result<Vec<Project>, Error> {
    ask.ask(
        "SELECT id, root, name, created_at, remote FROM @projects ORDER BY id",
        &[],
    )?
    .iter()
    .map(project_from)
    .collect()
}

/// How many tasks of each status a project has, in the order of [`TaskStatus::ALL`].
pub(crate) type Tally = [i64; TaskStatus::ALL.len()];

/// Kept counters: of an owner, since a generation.
pub(crate) type Counted = (String, u64, Tally);

/// The kept counters of a project.
pub(crate) fn counted(ask: &dyn Ask, project: ProjectId) -> Result<Vec<Counted>, Error> {
    let rows = ask.ask(COUNTERS, &[(&project_number(project), Type::INT8)])?;
    rows.iter()
        .map(|row| {
            let kept: Vec<i64> = row.value(2)?;
            let mut tally = Tally::default();
            for (place, count) in tally.iter_mut().zip(kept) {
                *place = count;
            }
            Ok((row.value(0)?, row.number(1)?, tally))
        })
        .collect()
}

/// The sum of several.
pub(crate) fn sum<'t>(tallies: impl Iterator<Item = &'t Tally>) -> Tally {
    tallies.fold(Tally::default(), |mut sum, tally| {
        for (place, count) in sum.iter_mut().zip(tally) {
            *place += count;
        }
        sum
    })
}

/// Of a sum those that are pending.
pub(crate) fn pending(tally: &Tally) -> u64 {
    let [pending, ..] = tally;
    u64::try_from(*pending).unwrap_or(0)
}

/// Counters as they are shown.
pub(crate) fn counts(tally: &Tally) -> Counts {
    let statuses = TaskStatus::ALL.into_iter().zip(tally);
    statuses
        .filter_map(|(status, count)| Some((status, u64::try_from(*count).ok()?)))
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// The stored number of a mark.
pub(crate) fn mark_code(mark: Mark) -> i16 {
    match mark {
        Mark::Epoch => 1,
        Mark::UnverifiedFrom => 2,
        Mark::UnverifiedTo => 3,
        Mark::LockNumber => 4,
    }
}

/// A number that the store keeps of itself.
pub(crate) fn mark(ask: &dyn Ask, mark: Mark) -> Result<u64, Error> {
    let rows = ask.ask(
        "SELECT value FROM @marks WHERE kind = $1",
        &[(&mark_code(mark), Type::INT2)],
    )?;
    Ok(first(&rows, |row| row.number(0))?.unwrap_or(0))
}

/// At most `rows` effects that are owed, in the order of their tasks, of those behind a task or of
/// all.
pub(crate) fn effects(
    ask: &dyn Ask,
    after: Option<TaskId>,
    rows: usize,
) -> Result<Vec<Effect>, Error> {
    ask.ask(
        "SELECT task, version FROM @effects WHERE task > $2 ORDER BY task LIMIT $1",
        &[
            (&limit(rows), Type::INT8),
            (&after.map_or(0, task_number), Type::INT8),
        ],
    )?
    .iter()
    .map(|row| {
        Ok(Effect {
            task: row.task_id(0)?,
            version: row.number(1)?,
        })
    })
    .collect()
}

/// The answer that was given under a key, less than a day ago.
pub(crate) fn answer_of(ask: &dyn Ask, key: &str, now: Timestamp) -> Result<Option<Reply>, Error> {
    let rows = ask.ask(
        ANSWERS,
        &[
            (&vec![key], Type::TEXT_ARRAY),
            (&oldest_kept(now), Type::INT8),
        ],
    )?;
    first(&rows, |row| row.json(1))
}

pub(crate) fn oldest_kept(now: Timestamp) -> i64 {
    now.as_millis().saturating_sub(ANSWERS_KEPT_MILLIS)
}
