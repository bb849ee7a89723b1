//! Opening the file: with which rights, and with which settings.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use app::error::Error;
use rusqlite::{Connection, OpenFlags, config::DbConfig};

use crate::{
    failure::{self, Explain as _},
    ticket::PATIENCE,
};

/// More than the product has statements, so that none is ever prepared twice.
const STATEMENTS: usize = 128;

/// Makes the folder (0700) and the empty file (0600) where they are missing.
pub(crate) fn ensure_file(path: &Path) -> Result<(), Error> {
    if fs::metadata(path).is_ok() {
        return Ok(());
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| failure::of_file(folder, &error))?;
    }
    let made = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path);
    match made {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(failure::of_file(path, &error))
        }
        _ => Ok(()),
    }
}

/// The log beside a store.
pub(crate) fn log_of(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// A connection that only reads.
pub(crate) fn reader(path: &Path) -> Result<Connection, Error> {
    finish_making(path);
    open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// A store that was being made when its maker ended has a journal of before it had a log, and whoever
/// only reads may not roll that back. Where this fails, reading says why.
fn finish_making(path: &Path) {
    let mut journal = path.as_os_str().to_owned();
    journal.push("-journal");
    if fs::metadata(journal).is_ok()
        && let Ok(connection) = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
    {
        drop(connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)));
    }
}

/// When a writer copies the log into the file, which only it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checkpoints {
    /// After 4 MiB of log: it stays open, and a commit must seldom wait for the file.
    Seldom,
    /// After 256 KiB, and then it empties the log: the first process that opens a store which nobody
    /// has open reads the whole log, and does not know what of it was copied, so that a log which is
    /// only copied would grow for ever among processes that come and go.
    Often,
}

/// The length of a log that processes which come and go leave behind.
pub(crate) const LOG_BYTES: u64 = 256 * 1024;

impl Checkpoints {
    /// After how many pages of log SQLite copies it by itself; 0 for never.
    fn pages(self) -> u32 {
        match self {
            Self::Seldom => 1_000,
            Self::Often => 0,
        }
    }
}

/// A connection that writes. A commit has reached the disk when it returns.
pub(crate) fn writer(path: &Path, checkpoints: Checkpoints) -> Result<Connection, Error> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let pages = checkpoints.pages();
    connection
        .execute_batch(&format!(
            "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;
             PRAGMA wal_autocheckpoint = {pages}; PRAGMA cache_size = -16384;",
        ))
        .explain()?;
    Ok(connection)
}

/// Closing never checkpoints: a short-lived process must not pay for what others wrote.
fn open(path: &Path, access: OpenFlags) -> Result<Connection, Error> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags)
            .explain()
            .map_err(|error| match error {
                Error::Unavailable { message } => {
                    Error::unavailable(format!("{}: {message}", path.display()))
                }
                other => other,
            })?;
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .explain()?;
    // A statement that is kept is planned once, not again for every value that a partial index
    // might want to know.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .explain()?;
    connection.busy_timeout(PATIENCE).explain()?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}
