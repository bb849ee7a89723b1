//! The form of the file, and how an older one is brought up to it.

use std::path::Path;

use app::error::Error;
use refinery::Target;
use rusqlite::Connection;

use crate::{connection, failure::Explain as _};

mod migrations {
    refinery::embed_migrations!("migrations");
}

/// The form that this program reads and writes; each migration sets it in its own transaction.
const KNOWN: i64 = 5;

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
    let found = found(connection)?;
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

/// A connection that only reads, and the form of the file.
///
/// # Errors
/// As [`form`].
pub(crate) fn open_reader(path: &Path) -> Result<(Connection, Form), Error> {
    let reader = connection::reader(path)?;
    let form = form(&reader)?;
    Ok((reader, form))
}

/// Brings a file up to our form. The caller holds the ticket.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), Error> {
    connection
        .pragma_update(None, "journal_mode", "wal")
        .explain()?;
    let reached = found(connection)?;
    // A migration is noted after its own transaction: one that was cut off in between is noted now.
    let note = Target::FakeVersion(reached.try_into().unwrap_or_default());
    for target in [note, Target::Latest] {
        migrations::migrations::runner()
            .set_target(target)
            .run(connection)
            .map_err(|error| {
                Error::unavailable(format!("the store cannot be migrated: {error}"))
            })?;
    }
    Ok(())
}

fn found(connection: &Connection) -> Result<i64, Error> {
    connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .explain()
}
