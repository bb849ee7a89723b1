//! Pages of tasks. Each is a walk along an index in the order asked for: nothing is sorted, and
//! nothing is passed over but what a filter on archived tasks leaves out.

use app::{
    error::Error,
    query::{Deleted, TaskFilter},
};
use domain::{
    id::{ProjectId, TaskId},
    task::{Task, TaskStatus},
};
use rusqlite::{Connection, params};

use crate::{
    failure::Explain as _,
    row::{Columns as _, int, limit, project_number, status_code, task_number},
    singles,
    tasks::{from_row, task_columns},
};

/// The four walks: listed or archived, each in both directions. `?2` is the status (of listed
/// tasks), `?3` the id to start behind, `?4` the limit.
macro_rules! walk {
    ($condition:literal, $order:literal) => {
        concat!(
            "SELECT ",
            task_columns!(),
            " FROM tasks t INDEXED BY ",
            $condition,
            " ORDER BY t.id ",
            $order,
            " LIMIT ?4"
        )
    };
}

const LISTED_UP: &str = walk!(
    "tasks_listed JOIN specs s ON s.id = t.id WHERE t.project = ?1 AND t.status = ?2 \
     AND t.id > ?3 AND t.archived_at IS NULL AND t.deleted_at IS NULL",
    "ASC"
);
const LISTED_DOWN: &str = walk!(
    "tasks_listed JOIN specs s ON s.id = t.id WHERE t.project = ?1 AND t.status = ?2 \
     AND t.id < ?3 AND t.archived_at IS NULL AND t.deleted_at IS NULL",
    "DESC"
);
const ARCHIVED_UP: &str = walk!(
    "tasks_archived JOIN specs s ON s.id = t.id WHERE t.project = ?1 AND (?2 IS NULL OR t.status = ?2) \
     AND t.id > ?3 AND t.archived_at IS NOT NULL AND t.deleted_at IS NULL",
    "ASC"
);
const ARCHIVED_DOWN: &str = walk!(
    "tasks_archived JOIN specs s ON s.id = t.id WHERE t.project = ?1 AND (?2 IS NULL OR t.status = ?2) \
     AND t.id < ?3 AND t.archived_at IS NOT NULL AND t.deleted_at IS NULL",
    "DESC"
);

const DELETED_UP: &str = walk!(
    "tasks_deleted JOIN specs s ON s.id = t.id WHERE t.project = ?1 AND (?2 IS NULL OR t.status = ?2) \
     AND t.id > ?3 AND t.deleted_at IS NOT NULL AND t.purged_at IS NULL",
    "ASC"
);
const DELETED_DOWN: &str = walk!(
    "tasks_deleted JOIN specs s ON s.id = t.id WHERE t.project = ?1 AND (?2 IS NULL OR t.status = ?2) \
     AND t.id < ?3 AND t.deleted_at IS NOT NULL AND t.purged_at IS NULL",
    "DESC"
);

/// At most `rows` tasks of the filter, in its order.
pub(crate) fn page(
    connection: &Connection,
    filter: &TaskFilter,
    rows: usize,
) -> Result<Vec<Task>, Error> {
    let mut found = Vec::new();
    for project in singles::projects_or(connection, filter.project)? {
        let walks = Walks {
            connection,
            filter,
            project,
            rows,
        };
        if filter.deleted != Deleted::Only {
            let sql = match (filter.archived, filter.newest_first) {
                (false, false) => LISTED_UP,
                (false, true) => LISTED_DOWN,
                (true, false) => ARCHIVED_UP,
                (true, true) => ARCHIVED_DOWN,
            };
            for status in statuses(filter, filter.archived) {
                walks.one(sql, status, &mut found)?;
            }
        }
        if filter.deleted != Deleted::Without {
            let sql = if filter.newest_first {
                DELETED_DOWN
            } else {
                DELETED_UP
            };
            for status in statuses(filter, true) {
                walks.one(sql, status, &mut found)?;
            }
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

/// The statuses to walk: archived tasks of all statuses are one walk, and so are deleted ones.
fn statuses(filter: &TaskFilter, as_one: bool) -> Vec<Option<TaskStatus>> {
    if !filter.statuses.is_empty() {
        let mut wanted = filter.statuses.clone();
        wanted.sort_unstable();
        wanted.dedup();
        wanted.into_iter().map(Some).collect()
    } else if as_one {
        vec![None]
    } else {
        TaskStatus::ALL.into_iter().map(Some).collect()
    }
}

/// Walks of one project for one page.
struct Walks<'a> {
    connection: &'a Connection,
    filter: &'a TaskFilter,
    project: ProjectId,
    rows: usize,
}

impl Walks<'_> {
    fn one(
        &self,
        sql: &str,
        status: Option<TaskStatus>,
        found: &mut Vec<Task>,
    ) -> Result<(), Error> {
        let beginning = if self.filter.newest_first {
            i64::MAX
        } else {
            0
        };
        let after = self.filter.after.map_or(beginning, task_number);
        let mut statement = self.connection.prepare_cached(sql).explain()?;
        let project = project_number(self.project);
        let parameters = params![project, status.map(status_code), after, limit(self.rows)];
        let tasks = statement.query_map(parameters, from_row).explain()?;
        for task in tasks {
            found.push(task.explain()?);
        }
        Ok(())
    }
}

/// At most `rows` ids of a project that end in these digits, oldest first. The one walk that
/// looks at every task of the project: along an index that holds nothing but numbers.
pub(crate) fn of_suffix(
    connection: &Connection,
    project: ProjectId,
    suffix: &str,
    rows: usize,
) -> Result<Vec<TaskId>, Error> {
    let digits = u32::try_from(suffix.len()).unwrap_or(u32::MAX);
    let (Ok(end), Some(modulus)) = (suffix.parse::<u64>(), 10_u64.checked_pow(digits)) else {
        return Ok(vec![]);
    };
    if modulus > 1 << 62 {
        return whole(connection, project, end);
    }
    let mut found = Vec::new();
    for sql in [
        "SELECT id FROM tasks INDEXED BY tasks_listed WHERE project = ?1 AND id % ?2 = ?3
         AND archived_at IS NULL AND deleted_at IS NULL",
        "SELECT id FROM tasks INDEXED BY tasks_archived WHERE project = ?1 AND id % ?2 = ?3
         AND archived_at IS NOT NULL AND deleted_at IS NULL",
    ] {
        let mut statement = connection.prepare_cached(sql).explain()?;
        let ids = statement
            .query_map(
                params![project_number(project), int(modulus), int(end)],
                |row| row.task_id(0),
            )
            .explain()?;
        for id in ids {
            found.push(id.explain()?);
        }
    }
    found.sort_unstable();
    found.truncate(rows);
    Ok(found)
}

/// As many digits as an id can have: either it is the id, or there is none.
fn whole(connection: &Connection, project: ProjectId, number: u64) -> Result<Vec<TaskId>, Error> {
    let Some(id) = TaskId::from_number(number) else {
        return Ok(vec![]);
    };
    let task = crate::tasks::get(connection, id)?
        .filter(|task| task.project == project && task.deleted_at.is_none());
    Ok(task.into_iter().map(|task| task.id).collect())
}
