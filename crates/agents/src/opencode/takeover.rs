//! Going on with an earlier conversation: its database is copied into the session's folder, and
//! told where the work is now, for `OpenCode` binds a conversation to the directory in which it was
//! begun. Columns as of `OpenCode` 1.18.

use std::{fs, io::ErrorKind, path::Path};

use app::ports::agents::Conversation;
use rusqlite::{Connection, OpenFlags, params};

/// Copies the database of an earlier session, whose agent no longer runs, and moves the
/// conversation to `directory`. A session that begins again has its copy.
///
/// # Errors
/// Why the conversation cannot be gone on with; nothing of it is left in the folder then.
pub(super) fn take_over(
    earlier: &Conversation,
    own: &Path,
    directory: &Path,
) -> Result<(), String> {
    let Some(source) = earlier.session_dir.as_ref() else {
        return Ok(());
    };
    let (source, copy) = (source.join(super::DATABASE), own.join(super::DATABASE));
    if source == copy {
        return Ok(());
    }
    // One that was cut off is made again.
    remove(&copy)?;
    let moved = copy_of(&source, &copy).and_then(|()| move_to(&copy, &earlier.id, directory));
    if moved.is_err() {
        remove(&copy)?;
    }
    moved
}

/// A consistent copy, of what is in the log beside it too.
fn copy_of(source: &Path, copy: &Path) -> Result<(), String> {
    if !source.is_file() {
        return Err("its database is gone".to_owned());
    }
    let text = copy
        .to_str()
        .ok_or("the session's folder is not named in UTF-8")?;
    Connection::open_with_flags(source, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .and_then(|database| database.execute("VACUUM INTO ?1", [text]))
        .map(drop)
        .map_err(|error| format!("its database cannot be copied: {error}"))
}

fn move_to(copy: &Path, conversation: &str, directory: &Path) -> Result<(), String> {
    let directory = directory
        .to_str()
        .ok_or("the workspace is not named in UTF-8")?;
    let moved = Connection::open(copy).and_then(|database| {
        database.execute(
            "UPDATE session SET directory = ?2
             WHERE directory = (SELECT directory FROM session WHERE id = ?1)",
            params![conversation, directory],
        )
    });
    match moved {
        Ok(0) => Err("its database does not have it".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(format!("its database has another form: {error}")),
    }
}

fn remove(file: &Path) -> Result<(), String> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(format!("{} cannot be removed: {error}", file.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
