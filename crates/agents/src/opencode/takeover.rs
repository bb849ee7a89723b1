//! Going on with an earlier conversation: its database is copied into the session's folder, and
//! told where the work is now, for `OpenCode` binds a conversation to the directory in which it was
//! begun. Columns as of `OpenCode` 1.18.

use std::{fs, io::ErrorKind, path::Path};

use app::ports::{agents::Conversation, checkpoints::KeptConversation};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};

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

/// Copies a conversation's database as it is now. Without a name, the conversation is the newest
/// that no other began.
pub(super) fn keep(
    session_dir: &Path,
    known: Option<&str>,
    folder: &Path,
) -> Result<Option<KeptConversation>, String> {
    let source = session_dir.join(super::DATABASE);
    if !source.is_file() {
        return Ok(None);
    }
    let copy = folder.join(super::DATABASE);
    remove(&copy)?;
    let kept = copy_of(&source, &copy).and_then(|()| cursor(&copy, known));
    if !matches!(kept, Ok(Some(_))) {
        remove(&copy)?;
    }
    kept
}

/// Whether a conversation is there to be taken over.
pub(super) fn resumes(session_dir: &Path, known: Option<&str>) -> Result<(), String> {
    let known = known.ok_or("it ended before its conversation began")?;
    let source = session_dir.join(super::DATABASE);
    if !source.is_file() {
        return Err("its database is gone".to_owned());
    }
    match cursor(&source, Some(known))? {
        Some(_) => Ok(()),
        None => Err("its database does not have its conversation".to_owned()),
    }
}

/// The conversation and its last message.
fn cursor(copy: &Path, known: Option<&str>) -> Result<Option<KeptConversation>, String> {
    let read = || -> rusqlite::Result<Option<KeptConversation>> {
        let database = Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let session = database
            .query_row(
                "SELECT id FROM session WHERE id = ?1 OR (?1 IS NULL AND parent_id IS NULL)
                 ORDER BY time_created DESC, id DESC LIMIT 1",
                [known],
                |row| row.get::<_, String>(0),
            )
            .optional()?;
        let Some(agent_session) = session else {
            return Ok(None);
        };
        let last_message = database
            .query_row(
                "SELECT id FROM message WHERE session_id = ?1
                 ORDER BY time_created DESC, id DESC LIMIT 1",
                [&agent_session],
                |row| row.get(0),
            )
            .optional()?;
        Ok(Some(KeptConversation {
            agent_session,
            last_message,
        }))
    };
    read().map_err(|error| format!("its database has another form: {error}"))
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
