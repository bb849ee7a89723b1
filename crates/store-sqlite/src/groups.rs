//! The groups of what may start: tasks of one project, priority, agent and owner. Among equals
//! only the oldest of a group can be next, so that a claim looks at a few rows however many wait.

use app::error::Error;
use domain::id::ProjectId;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::{failure::Explain as _, row::project_number};

const NEXT: &str = "SELECT priority, agent, owner FROM tasks INDEXED BY tasks_ready
    WHERE project = ?1 AND (priority, agent, owner) > (?2, ?3, ?4)
    AND status = 0 AND kind = 0 AND unmet = 0 AND scheduled = 0 AND deleted_at IS NULL
    ORDER BY priority, agent, owner LIMIT 1";

/// Tasks that differ in nothing but their age, as far as the scheduler is concerned.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) project: ProjectId,
    pub(crate) priority: u8,
    pub(crate) agent: String,
    pub(crate) owner: String,
}

/// Every group of a project that has a task that may start: one step of the index for each.
pub(crate) fn of_project(connection: &Connection, project: ProjectId) -> Result<Vec<Group>, Error> {
    let mut groups: Vec<Group> = Vec::new();
    let mut statement = connection.prepare_cached(NEXT).explain()?;
    loop {
        let (priority, agent, owner) = groups.last().map_or((0, "", ""), |last| {
            (last.priority, last.agent.as_str(), last.owner.as_str())
        });
        let next = statement
            .query_row(
                params![project_number(project), priority, agent, owner],
                |row| {
                    Ok(Group {
                        project,
                        priority: row.get(0)?,
                        agent: row.get(1)?,
                        owner: row.get(2)?,
                    })
                },
            )
            .optional()
            .explain()?;
        let Some(next) = next else { return Ok(groups) };
        groups.push(next);
    }
}
