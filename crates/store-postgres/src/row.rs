//! Numbers and words as they stand in columns.

use app::error::Error;
use domain::{
    id::{ProjectId, SessionId, TaskId},
    task::TaskStatus,
    time::Timestamp,
};
use tokio_postgres::{Row, types::FromSql};

/// A number as the server holds it. Ids have 63 bits; counters do not get that far.
pub(crate) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A limit on rows as the server holds it.
pub(crate) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// The stored number of a status.
pub(crate) fn status_code(status: TaskStatus) -> i16 {
    match status {
        TaskStatus::Pending => 0,
        TaskStatus::Running => 1,
        TaskStatus::Completed => 2,
        TaskStatus::Failed => 3,
        TaskStatus::Cancelled => 4,
    }
}

/// The status of a stored number.
pub(crate) fn status_of(code: i16) -> Option<TaskStatus> {
    let index = usize::try_from(code).ok()?;
    TaskStatus::ALL.get(index).copied()
}

/// Reads columns as the domain's types.
pub(crate) trait Columns {
    /// A value as the driver reads it.
    fn value<'r, T: FromSql<'r>>(&'r self, index: usize) -> Result<T, Error>;

    /// A number that is not negative.
    fn number(&self, index: usize) -> Result<u64, Error> {
        let value: i64 = self.value(index)?;
        u64::try_from(value).map_err(|error| unreadable(index, &error))
    }

    /// A number that is not negative, or nothing.
    fn maybe_number(&self, index: usize) -> Result<Option<u64>, Error> {
        let value: Option<i64> = self.value(index)?;
        value
            .map(|value| u64::try_from(value).map_err(|error| unreadable(index, &error)))
            .transpose()
    }

    /// A small number, of a column that holds large ones.
    fn small(&self, index: usize) -> Result<u32, Error> {
        let value: i64 = self.value(index)?;
        u32::try_from(value).map_err(|error| unreadable(index, &error))
    }

    /// The same, or nothing.
    fn maybe_small(&self, index: usize) -> Result<Option<u32>, Error> {
        let value: Option<i64> = self.value(index)?;
        value
            .map(|value| u32::try_from(value).map_err(|error| unreadable(index, &error)))
            .transpose()
    }

    /// A time.
    fn time(&self, index: usize) -> Result<Timestamp, Error> {
        Ok(Timestamp::from_millis(self.value(index)?))
    }

    /// A time, or nothing.
    fn maybe_time(&self, index: usize) -> Result<Option<Timestamp>, Error> {
        let millis: Option<i64> = self.value(index)?;
        Ok(millis.map(Timestamp::from_millis))
    }

    /// A task's id.
    fn task_id(&self, index: usize) -> Result<TaskId, Error> {
        TaskId::from_number(self.number(index)?).ok_or_else(|| no_id(index))
    }

    /// A task's id, or nothing.
    fn maybe_task_id(&self, index: usize) -> Result<Option<TaskId>, Error> {
        self.maybe_number(index)?
            .map(|number| TaskId::from_number(number).ok_or_else(|| no_id(index)))
            .transpose()
    }

    /// A project's id.
    fn project_id(&self, index: usize) -> Result<ProjectId, Error> {
        ProjectId::from_number(self.number(index)?).ok_or_else(|| no_id(index))
    }

    /// A hash.
    fn hash(&self, index: usize) -> Result<app::event::Hash, Error> {
        let bytes: &[u8] = self.value(index)?;
        bytes.try_into().map_err(|error| unreadable(index, &error))
    }

    /// A value stored as JSON.
    fn json<T: serde::de::DeserializeOwned>(&self, index: usize) -> Result<T, Error> {
        let text: &str = self.value(index)?;
        serde_json::from_str(text).map_err(|error| unreadable(index, &error))
    }
}

impl Columns for Row {
    fn value<'r, T: FromSql<'r>>(&'r self, index: usize) -> Result<T, Error> {
        self.try_get(index)
            .map_err(|error| unreadable(index, &error))
    }
}

/// An error about a column that holds what it must not.
pub(crate) fn unreadable(index: usize, error: &dyn std::error::Error) -> Error {
    Error::corrupt(format!("column {index} of a row cannot be read: {error}"))
}

fn no_id(index: usize) -> Error {
    Error::corrupt(format!("column {index} of a row holds no id"))
}

/// The JSON of a value, as it stands in a column.
pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::corrupt(format!("unwritable row: {error}")))
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
