//! The form of the file, and how an older one is brought up to it.

use app::error::Error;
use rusqlite::Connection;

use crate::failure::Explain as _;

mod migrations {
    refinery::embed_migrations!("migrations");
}

/// The form that this program reads and writes; each migration sets it in its own transaction.
const KNOWN: i64 = 2;

/// How the form of a file compares with ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// To be migrated first.
    Older,
    /// Ours.
    Current,
}

/// Compares the form of a file with ours: one read of its first page.
///
/// # Errors
/// [`Error::Unavailable`] where it is newer: an old program must not touch it.
pub(crate) fn form(connection: &Connection) -> Result<Form, Error> {
    let found: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .explain()?;
    if found > KNOWN {
        return Err(Error::unavailable(format!(
            "the store has form {found} and this program knows {KNOWN}: use a newer crewboss"
        )));
    }
    Ok(if found < KNOWN {
        Form::Older
    } else {
        Form::Current
    })
}

/// Brings a file up to our form. The caller holds the ticket.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), Error> {
    connection
        .pragma_update(None, "journal_mode", "wal")
        .explain()?;
    migrations::migrations::runner()
        .run(connection)
        .map_err(|error| Error::unavailable(format!("the store cannot be migrated: {error}")))?;
    Ok(())
}
