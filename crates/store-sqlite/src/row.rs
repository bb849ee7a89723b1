//! Numbers and words as they stand in columns.

use domain::{
    id::{ProjectId, SessionId, TaskId},
    task::TaskStatus,
    time::Timestamp,
};
use rusqlite::{Row, types::Type};

/// A number as SQLite holds it. Ids have 63 bits; counters do not get that far.
pub(crate) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A limit on rows as SQLite holds it.
pub(crate) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// The stored number of a status.
pub(crate) fn status_code(status: TaskStatus) -> i64 {
    match status {
        TaskStatus::Pending => 0,
        TaskStatus::Running => 1,
        TaskStatus::Completed => 2,
        TaskStatus::Failed => 3,
        TaskStatus::Cancelled => 4,
    }
}

/// The status of a stored number.
pub(crate) fn status_of(code: i64) -> Option<TaskStatus> {
    let index = usize::try_from(code).ok()?;
    TaskStatus::ALL.get(index).copied()
}

/// Reads columns as the domain's types.
pub(crate) trait Columns {
    /// A number that is not negative.
    fn number(&self, index: usize) -> rusqlite::Result<u64>;
    /// A number that is not negative, or nothing.
    fn maybe_number(&self, index: usize) -> rusqlite::Result<Option<u64>>;
    /// A small number.
    fn small(&self, index: usize) -> rusqlite::Result<u32>;
    /// A time.
    fn time(&self, index: usize) -> rusqlite::Result<Timestamp>;
    /// A time, or nothing.
    fn maybe_time(&self, index: usize) -> rusqlite::Result<Option<Timestamp>>;
    /// A task's id.
    fn task_id(&self, index: usize) -> rusqlite::Result<TaskId>;
    /// A task's id, or nothing.
    fn maybe_task_id(&self, index: usize) -> rusqlite::Result<Option<TaskId>>;
    /// A project's id.
    fn project_id(&self, index: usize) -> rusqlite::Result<ProjectId>;
    /// A value stored as JSON.
    fn json<T: serde::de::DeserializeOwned>(&self, index: usize) -> rusqlite::Result<T>;
}

impl Columns for Row<'_> {
    fn number(&self, index: usize) -> rusqlite::Result<u64> {
        let value: i64 = self.get(index)?;
        u64::try_from(value).map_err(|error| unreadable(index, error))
    }

    fn maybe_number(&self, index: usize) -> rusqlite::Result<Option<u64>> {
        let value: Option<i64> = self.get(index)?;
        value
            .map(|value| u64::try_from(value).map_err(|error| unreadable(index, error)))
            .transpose()
    }

    fn small(&self, index: usize) -> rusqlite::Result<u32> {
        self.get(index)
    }

    fn time(&self, index: usize) -> rusqlite::Result<Timestamp> {
        Ok(Timestamp::from_millis(self.get(index)?))
    }

    fn maybe_time(&self, index: usize) -> rusqlite::Result<Option<Timestamp>> {
        let millis: Option<i64> = self.get(index)?;
        Ok(millis.map(Timestamp::from_millis))
    }

    fn task_id(&self, index: usize) -> rusqlite::Result<TaskId> {
        TaskId::from_number(self.number(index)?).ok_or_else(|| no_id(index))
    }

    fn maybe_task_id(&self, index: usize) -> rusqlite::Result<Option<TaskId>> {
        self.maybe_number(index)?
            .map(|number| TaskId::from_number(number).ok_or_else(|| no_id(index)))
            .transpose()
    }

    fn project_id(&self, index: usize) -> rusqlite::Result<ProjectId> {
        ProjectId::from_number(self.number(index)?).ok_or_else(|| no_id(index))
    }

    fn json<T: serde::de::DeserializeOwned>(&self, index: usize) -> rusqlite::Result<T> {
        let text = self.get_ref(index)?.as_str()?;
        serde_json::from_str(text).map_err(|error| unreadable(index, error))
    }
}

/// An error about a column that holds what it must not.
pub(crate) fn unreadable(
    index: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(error))
}

fn no_id(index: usize) -> rusqlite::Error {
    unreadable(index, std::io::Error::other("no id has this number"))
}

/// The JSON of a value, as it stands in a column.
pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> Result<String, app::error::Error> {
    serde_json::to_string(value)
        .map_err(|error| app::error::Error::corrupt(format!("unwritable row: {error}")))
}

/// The number of a session's id.
pub(crate) fn session_number(id: SessionId) -> i64 {
    int(id.number())
}

/// The number of a task's id.
pub(crate) fn task_number(id: TaskId) -> i64 {
    int(id.number())
}

/// The number of a project's id.
pub(crate) fn project_number(id: ProjectId) -> i64 {
    int(id.number())
}
