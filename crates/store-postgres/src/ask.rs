//! Who can be asked: a connection as it is, or a transaction that first sends what it has kept back.

use app::error::Error;
use tokio_postgres::Row;

use crate::link::{Link, Param};

/// Answers statements in which `@` stands for the store's schema.
pub(crate) trait Ask {
    /// The rows of one statement.
    fn ask(&self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, Error>;
}

impl Ask for Link {
    fn ask(&self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        Self::ask(self, sql, params)
    }
}

/// The first row, read by `read`.
pub(crate) fn first<T>(
    rows: &[Row],
    read: impl FnOnce(&Row) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    rows.first().map(read).transpose()
}
