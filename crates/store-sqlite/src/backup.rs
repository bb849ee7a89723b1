//! Copying a store while it is used, and looking whether its file is whole.

use std::{
    ffi::OsString,
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use app::{
    error::Error,
    faults::{self, Act, Deed, Thing},
};
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::{
    failure::{self, Explain as _},
    schema,
};

/// A copy of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// How long the file is.
    pub bytes: u64,
    /// How many tasks it holds, deleted ones included.
    pub tasks: u64,
    /// The last position of its log.
    pub position: u64,
}

/// Copies a store, as it is at one moment, into a file that does not exist yet. Others may go on
/// reading and writing. The copy is checked, has reached the disk, and has all of it or is not there.
///
/// # Errors
/// [`Error::Exists`] where the file is there; [`Error::Corrupt`] where the store is not whole.
pub fn back_up(store: &Path, copy: &Path) -> Result<Copied, Error> {
    if fs::symlink_metadata(copy).is_ok() {
        return Err(exists(copy));
    }
    let part = Part::beside(copy)?;
    let text = part.path.to_str().ok_or_else(|| {
        Error::invalid(
            "file",
            "its name has bytes that are no text: choose another",
        )
    })?;
    let (source, _) = schema::open_reader(store)?;
    let unusable = |error: io::Error| failure::of_file(copy, &error);
    faults::around_with(act(Deed::Write), unusable, || {
        source.execute("VACUUM INTO ?1", [text]).explain()
    })?;
    drop(source);
    let copied = settle(&part.path)?;
    let moved = faults::around(act(Deed::Rename), || {
        Ok::<_, io::Error>(renameat_with(
            CWD,
            &part.path,
            CWD,
            copy,
            RenameFlags::NOREPLACE,
        )?)
    });
    match moved {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists(copy)),
        moved => moved.map_err(unusable)?,
    }
    faults::around_with(act(Deed::SyncFolder), unusable, || sync_folder_of(copy))?;
    Ok(copied)
}

fn act(deed: Deed) -> Act {
    Act::new(Thing::Backup, deed)
}

/// What is wrong with the file of a store, at most a hundred things; empty where it is whole.
///
/// # Errors
/// Where it cannot be read at all.
pub fn check(store: &Path) -> Result<Vec<String>, Error> {
    let (connection, _) = schema::open_reader(store)?;
    problems(&connection, "PRAGMA integrity_check")
}

/// Gives a store's file another name, by adding `suffix`, with all that belongs to it; answers the
/// name. Nobody may be at work on it.
///
/// # Errors
/// Where it cannot be renamed.
pub fn set_aside(store: &Path, suffix: &str) -> Result<PathBuf, Error> {
    let named = |ending: &str, suffix: &str| {
        let mut name = store.as_os_str().to_owned();
        name.push(ending);
        name.push(suffix);
        PathBuf::from(name)
    };
    let suffix = format!(".{suffix}");
    // The store itself comes last: a log without it is nobody's, and must not meet a new store.
    for ending in ["-wal", "-shm", "-journal", ""] {
        let moved = fs::rename(named(ending, ""), named("", &format!("{suffix}{ending}")));
        match moved {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failure::of_file(store, &error));
            }
            _ => {}
        }
    }
    sync_folder_of(store)?;
    Ok(named("", &suffix))
}

pub(crate) fn sync_folder_of(file: &Path) -> Result<(), Error> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| failure::of_file(folder, &error))
}

fn exists(copy: &Path) -> Error {
    Error::Exists {
        what: "a file of this name".to_owned(),
        name: copy.display().to_string(),
    }
}

/// Checks a copy, makes it what a store's file is, and sees it to the disk.
fn settle(copy: &Path) -> Result<Copied, Error> {
    let unusable = |error: io::Error| failure::of_file(copy, &error);
    let connection =
        Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_WRITE).explain()?;
    connection
        .pragma_update(None, "journal_mode", "wal")
        .explain()?;
    let wrong = problems(&connection, "PRAGMA quick_check")?;
    if let Some(first) = wrong.first() {
        return Err(Error::corrupt(format!("the copy is not whole: {first}")));
    }
    let number = |sql: &str| -> Result<u64, Error> {
        let number: i64 = connection.query_row(sql, [], |row| row.get(0)).explain()?;
        Ok(number.unsigned_abs())
    };
    let tasks = number("SELECT count(*) FROM tasks")?;
    let position = number("SELECT coalesce(max(position), 0) FROM events")?;
    connection.close().map_err(|(_, error)| error).explain()?;
    fs::set_permissions(copy, Permissions::from_mode(0o600)).map_err(unusable)?;
    let file = File::open(copy).map_err(unusable)?;
    faults::around(act(Deed::Sync), || file.sync_all()).map_err(unusable)?;
    Ok(Copied {
        bytes: file.metadata().map_err(unusable)?.len(),
        tasks,
        position,
    })
}

fn problems(connection: &Connection, sql: &str) -> Result<Vec<String>, Error> {
    let mut statement = connection.prepare(sql).explain()?;
    let said: Vec<String> = statement
        .query_map([], |row| row.get(0))
        .and_then(Iterator::collect)
        .explain()?;
    Ok(said.into_iter().filter(|line| line != "ok").collect())
}

/// An unfinished copy, which goes with this.
struct Part {
    path: PathBuf,
}

impl Part {
    fn beside(copy: &Path) -> Result<Self, Error> {
        let mut name: OsString = copy.as_os_str().to_owned();
        name.push(format!(".part-{}", std::process::id()));
        let part = Self { path: name.into() };
        // Of a process of this number that was killed.
        part.remove()
            .map_err(|error| failure::of_file(&part.path, &error))?;
        Ok(part)
    }

    fn remove(&self) -> io::Result<()> {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let mut name = self.path.as_os_str().to_owned();
            name.push(suffix);
            match fs::remove_file(&name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        drop(self.remove());
    }
}
