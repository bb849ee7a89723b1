//! Pages of tasks. Each is a walk along an index in the order asked for, of every status at once.

use app::{
    error::Error,
    query::{Deleted, TaskFilter},
};
use domain::{
    id::{ProjectId, TaskId},
    task::{Task, TaskStatus},
};
use tokio_postgres::types::Type;

use crate::{
    ask::Ask,
    row::{Columns as _, int, limit, project_number, status_code, task_number},
    singles,
    tasks::{from_row, get, task_columns},
};

/// A walk for each project of `$1` and each status of `$2` that starts behind the id `$3` and has at
/// most `$4` rows.
macro_rules! walk_by_status {
    ($beyond:literal, $order:literal) => {
        concat!(
            "SELECT ",
            task_columns!(),
            " FROM unnest($1) p, unnest($2) st, LATERAL (SELECT * FROM @tasks w
              WHERE w.project = p AND w.status = st AND w.id ",
            $beyond,
            " $3 AND w.archived_at IS NULL AND w.deleted_at IS NULL ORDER BY w.id ",
            $order,
            " LIMIT $4) t JOIN @specs s ON s.id = t.id"
        )
    };
}

/// A walk for each project of `$1` whose rows have one of the statuses of `$2`.
macro_rules! walk {
    ($condition:literal, $beyond:literal, $order:literal) => {
        concat!(
            "SELECT ",
            task_columns!(),
            " FROM unnest($1) p, LATERAL (SELECT * FROM @tasks w
              WHERE w.project = p AND w.status = ANY ($2) AND w.id ",
            $beyond,
            " $3 AND ",
            $condition,
            " ORDER BY w.id ",
            $order,
            " LIMIT $4) t JOIN @specs s ON s.id = t.id"
        )
    };
}

const LISTED_UP: &str = walk_by_status!(">", "ASC");
const LISTED_DOWN: &str = walk_by_status!("<", "DESC");
const ARCHIVED_UP: &str = walk!(
    "w.archived_at IS NOT NULL AND w.deleted_at IS NULL",
    ">",
    "ASC"
);
const ARCHIVED_DOWN: &str = walk!(
    "w.archived_at IS NOT NULL AND w.deleted_at IS NULL",
    "<",
    "DESC"
);
const DELETED_UP: &str = walk!(
    "w.deleted_at IS NOT NULL AND w.purged_at IS NULL",
    ">",
    "ASC"
);
const DELETED_DOWN: &str = walk!(
    "w.deleted_at IS NOT NULL AND w.purged_at IS NULL",
    "<",
    "DESC"
);

/// At most `rows` tasks of the filter, in its order.
pub(crate) fn page(ask: &dyn Ask, filter: &TaskFilter, rows: usize) -> Result<Vec<Task>, Error> {
    let projects: Vec<i64> = match filter.project {
        Some(project) => vec![project_number(project)],
        None => singles::projects(ask)?
            .iter()
            .map(|project| project_number(project.id))
            .collect(),
    };
    let mut walks = Vec::new();
    if filter.deleted != Deleted::Only {
        walks.push(match (filter.archived, filter.newest_first) {
            (false, false) => LISTED_UP,
            (false, true) => LISTED_DOWN,
            (true, false) => ARCHIVED_UP,
            (true, true) => ARCHIVED_DOWN,
        });
    }
    if filter.deleted != Deleted::Without {
        walks.push(if filter.newest_first {
            DELETED_DOWN
        } else {
            DELETED_UP
        });
    }
    let statuses = statuses(filter);
    let beginning = if filter.newest_first { i64::MAX } else { 0 };
    let after = filter.after.map_or(beginning, task_number);
    let mut found: Vec<Task> = Vec::new();
    for sql in walks {
        let tasks = ask.ask(
            sql,
            &[
                (&projects, Type::INT8_ARRAY),
                (&statuses, Type::INT2_ARRAY),
                (&after, Type::INT8),
                (&limit(rows), Type::INT8),
            ],
        )?;
        for row in tasks {
            found.push(from_row(&row)?);
        }
    }
    if filter.newest_first {
        found.sort_by_key(|task| std::cmp::Reverse(task.id));
    } else {
        found.sort_by_key(|task| task.id);
    }
    found.truncate(rows);
    Ok(found)
}

fn statuses(filter: &TaskFilter) -> Vec<i16> {
    let mut wanted = filter.statuses.clone();
    if wanted.is_empty() {
        wanted.extend(TaskStatus::ALL);
    }
    wanted.sort_unstable();
    wanted.dedup();
    wanted.into_iter().map(status_code).collect()
}

/// At most `rows` ids of a project that end in these digits, oldest first. The one walk that
/// looks at every task of the project.
pub(crate) fn of_suffix(
    ask: &dyn Ask,
    project: ProjectId,
    suffix: &str,
    rows: usize,
) -> Result<Vec<TaskId>, Error> {
    let digits = u32::try_from(suffix.len()).unwrap_or(u32::MAX);
    let (Ok(end), Some(modulus)) = (suffix.parse::<u64>(), 10_u64.checked_pow(digits)) else {
        return Ok(vec![]);
    };
    if modulus > 1 << 62 {
        return whole(ask, project, end);
    }
    ask.ask(
        "SELECT id FROM @tasks WHERE project = $1 AND id % $2 = $3 AND deleted_at IS NULL
         ORDER BY id LIMIT $4",
        &[
            (&project_number(project), Type::INT8),
            (&int(modulus), Type::INT8),
            (&int(end), Type::INT8),
            (&limit(rows), Type::INT8),
        ],
    )?
    .iter()
    .map(|row| row.task_id(0))
    .collect()
}

/// As many digits as an id can have: either it is the id, or there is none.
fn whole(ask: &dyn Ask, project: ProjectId, number: u64) -> Result<Vec<TaskId>, Error> {
    let Some(id) = TaskId::from_number(number) else {
        return Ok(vec![]);
    };
    let task = get(ask, id)?.filter(|task| task.project == project && task.deleted_at.is_none());
    Ok(task.into_iter().map(|task| task.id).collect())
}
