//! What an error of SQLite means to the caller, and what to do about it.

use app::error::Error;
use rusqlite::ErrorCode;

/// Turns an error of SQLite into one that a caller can act on.
pub(crate) trait Explain<T> {
    /// See the trait.
    fn explain(self) -> Result<T, Error>;
}

impl<T> Explain<T> for rusqlite::Result<T> {
    fn explain(self) -> Result<T, Error> {
        self.map_err(|error| of(&error))
    }
}

fn of(error: &rusqlite::Error) -> Error {
    let rusqlite::Error::SqliteFailure(failure, _) = error else {
        return Error::corrupt(format!("a row cannot be read: {error}"));
    };
    match failure.code {
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Error::corrupt(format!(
            "{error}; move the file away and put a copy in its place"
        )),
        ErrorCode::DiskFull => {
            Error::unavailable("the disk of the store is full: free some space and try again")
        }
        ErrorCode::ReadOnly => Error::unavailable(
            "the store is read-only: make its file and its folder writable and try again",
        ),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Error::unavailable(
            "the store was locked by another program for too long: end that program and try again",
        ),
        ErrorCode::CannotOpen | ErrorCode::PermissionDenied => Error::unavailable(format!(
            "the store cannot be opened: {error}; check that its folder exists and is writable"
        )),
        ErrorCode::ConstraintViolation => Error::Conflict {
            what: format!("a row ({error})"),
        },
        _ => Error::unavailable(format!("the store failed: {error}")),
    }
}

/// A file of the store that could not be used.
pub(crate) fn of_file(path: &std::path::Path, error: &std::io::Error) -> Error {
    Error::unavailable(format!(
        "{}: {error}; check that its folder exists, is writable and has space",
        path.display()
    ))
}
