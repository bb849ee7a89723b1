//! Sessions: a few columns to find them by, and the rest as one value.

use app::error::Error;
use domain::{
    id::{ProjectId, SessionId, TaskId},
    session::Session,
};
use tokio_postgres::{Row, types::Type};

use crate::{
    ask::{Ask, first},
    row::{Columns as _, project_number, session_number, task_number},
};

/// Several, with the ends of their streams.
pub(crate) const WITH_HEADS: &str = "SELECT s.body, e.seq, e.stream_hash FROM @sessions s
    LEFT JOIN LATERAL (SELECT seq, stream_hash FROM @events
        WHERE stream_kind = 2 AND stream_id = s.id ORDER BY seq DESC LIMIT 1) e ON true
    WHERE s.id = ANY ($1)";

/// The session of an id.
pub(crate) fn get(ask: &dyn Ask, id: SessionId) -> Result<Option<Session>, Error> {
    let rows = ask.ask(
        "SELECT body FROM @sessions WHERE id = $1",
        &[(&session_number(id), Type::INT8)],
    )?;
    first(&rows, |row| row.json(0))
}

/// The sessions of a task, oldest first.
pub(crate) fn of_task(ask: &dyn Ask, task: TaskId) -> Result<Vec<Session>, Error> {
    read(&ask.ask(
        "SELECT body FROM @sessions WHERE task = $1 ORDER BY id",
        &[(&task_number(task), Type::INT8)],
    )?)
}

/// Every session that has not ended, oldest first.
pub(crate) fn live(ask: &dyn Ask, project: Option<ProjectId>) -> Result<Vec<Session>, Error> {
    read(&match project {
        None => ask.ask("SELECT body FROM @sessions WHERE live ORDER BY id", &[])?,
        Some(project) => ask.ask(
            "SELECT body FROM @sessions WHERE project = $1 AND live ORDER BY id",
            &[(&project_number(project), Type::INT8)],
        )?,
    })
}

fn read(rows: &[Row]) -> Result<Vec<Session>, Error> {
    rows.iter().map(|row| row.json(0)).collect()
}
