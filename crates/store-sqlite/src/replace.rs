//! Putting a copy in the place of a store, and noticing that somebody has.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use app::{crash_points::CrashPoint, error::Error};

use crate::{
    backup::{self, Copied},
    connection::{self, Checkpoints},
    failure,
    ticket::Tickets,
};

/// For so long readers may keep the log from being emptied.
const READERS_MAX: Duration = Duration::from_secs(10);

/// Which file a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// Of what a path names now; `None` where that cannot be seen.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
        })
    }
}

/// A store that took the place of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// What is in its place now.
    pub copied: Copied,
    /// Where the old file is kept, where there was one.
    pub old: Option<PathBuf>,
}

/// Puts a copy in the place of a store: whole and durably, or not at all. Others may read meanwhile,
/// and who wants to write waits; afterwards they notice. The old file is kept as
/// `<store>.<suffix>`. `prepare` sees the new file before anybody else does.
///
/// # Errors
/// [`Error::Corrupt`] where the copy is not whole; [`Error::Unavailable`] where somebody reads the
/// store and does not end.
pub fn replace(
    store: &Path,
    copy: &Path,
    suffix: &str,
    prepare: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<Replaced, Error> {
    if let Some(first) = backup::check(copy)?.first() {
        return Err(Error::corrupt(format!("the copy is not whole: {first}")));
    }
    let new = New::beside(store)?;
    let copied = backup::back_up(copy, &new.0)?;
    prepare(&new.0)?;
    settle(&new.0)?;
    let mut tickets = Tickets::of(store);
    let ticket = tickets.draw()?;
    let old = put(store, &new.0, suffix);
    tickets.give_back(ticket);
    Ok(Replaced { copied, old: old? })
}

fn put(store: &Path, new: &Path, suffix: &str) -> Result<Option<PathBuf>, Error> {
    let failed = |error: io::Error| failure::of_file(store, &error);
    let beside = |name: &Path, ending: &str| {
        let mut text = name.as_os_str().to_owned();
        text.push(ending);
        PathBuf::from(text)
    };
    let old = beside(store, &format!(".{suffix}"));
    let has_old = store.try_exists().map_err(failed)?;
    if has_old {
        if !empty_log(store)? {
            // A store that cannot be read: what its log holds stays with it.
            moved(&beside(store, "-wal"), &beside(&old, "-wal")).map_err(failed)?;
        }
        fs::hard_link(store, &old).map_err(failed)?;
    }
    CrashPoint::RestoreLinked.reached();
    fs::rename(new, store).map_err(failed)?;
    CrashPoint::RestoreReplaced.reached();
    // They are of the old file, and whoever has it open goes on with them.
    for ending in ["-wal", "-shm"] {
        match fs::remove_file(beside(store, ending)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    backup::sync_folder_of(store)?;
    Ok(has_old.then_some(old))
}

fn moved(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        moved => moved,
    }
}

/// Copies the log of a store into its file. `false` where the store cannot be read.
fn empty_log(store: &Path) -> Result<bool, Error> {
    let Ok(connection) = connection::writer(store, Checkpoints::Often) else {
        return Ok(false);
    };
    connection
        .busy_timeout(Duration::ZERO)
        .map_err(|error| Error::unavailable(error.to_string()))?;
    #[expect(
        clippy::disallowed_methods,
        reason = "a wait inside this adapter, whoever else reads"
    )]
    let deadline = Instant::now() + READERS_MAX;
    loop {
        let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
        let busy: rusqlite::Result<i64> = connection.query_row(checkpoint, [], |row| row.get(0));
        match busy {
            Ok(0) => return Ok(true),
            Err(rusqlite::Error::SqliteFailure(failure, _))
                if matches!(
                    failure.code,
                    rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase
                ) =>
            {
                return Ok(false);
            }
            Ok(_) | Err(_) => {}
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "a wait inside this adapter, whoever else reads"
        )]
        let now = Instant::now();
        if now >= deadline {
            return Err(Error::unavailable(
                "another program reads the store all the time: end it and try again",
            ));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Everything of the new file is in it, and on the disk.
fn settle(new: &Path) -> Result<(), Error> {
    if !empty_log(new)? {
        return Err(Error::corrupt("the new file cannot be read"));
    }
    let synced = fs::File::open(new).and_then(|file| file.sync_all());
    synced.map_err(|error| failure::of_file(new, &error))
}

/// The file that is to take the place, which goes with this unless it did.
#[derive(Debug)]
struct New(PathBuf);

impl New {
    fn beside(store: &Path) -> Result<Self, Error> {
        let mut name = store.as_os_str().to_owned();
        name.push(format!(".new-{}", std::process::id()));
        let new = Self(name.into());
        new.remove()
            .map_err(|error| failure::of_file(&new.0, &error))?;
        Ok(new)
    }

    fn remove(&self) -> io::Result<()> {
        for ending in ["", "-wal", "-shm", "-ticket"] {
            let mut name = self.0.as_os_str().to_owned();
            name.push(ending);
            match fs::remove_file(&name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Drop for New {
    fn drop(&mut self) {
        drop(self.remove());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use app::{
        command::{Command, Output},
        ports::store::Store as _,
        query::{Query, View},
    };
    use testkit::contract::world::request;

    use super::*;
    use crate::SqliteStore;

    fn register(store: &SqliteStore, root: &str) {
        let command = Command::RegisterProject {
            root: root.to_owned(),
            name: "p".to_owned(),
        };
        let reply = store.execute(request(command)).unwrap();
        assert!(matches!(reply.output, Output::Project { .. }));
    }

    fn roots(store: &SqliteStore) -> Vec<String> {
        match store.read(&Query::Projects).unwrap() {
            View::Projects { projects } => projects.into_iter().map(|one| one.root).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn whoever_has_the_old_file_open_goes_on_in_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let (file, copy) = (dir.path().join("store.db"), dir.path().join("copy.db"));
        let clock: Arc<dyn app::ports::clock::Clock> =
            Arc::new(testkit::contract::clock::ManualClock::default());
        let direct = SqliteStore::open(&file, Arc::clone(&clock)).unwrap();
        register(&direct, "/a");
        backup::back_up(&file, &copy).unwrap();
        let grouped = SqliteStore::own(&file, Arc::clone(&clock)).unwrap();
        register(&grouped, "/b");
        let generation = direct.generation().unwrap();
        assert_eq!(roots(&direct), ["/a", "/b"]);
        let replaced = replace(&file, &copy, "before", |_| Ok(())).unwrap();
        assert_ne!(direct.generation().unwrap(), generation);
        assert_eq!(roots(&direct), ["/a"]);
        register(&direct, "/c");
        register(&grouped, "/d");
        assert_eq!(roots(&direct), ["/a", "/c", "/d"]);
        assert_eq!(roots(&grouped), ["/a", "/c", "/d"]);
        let fresh = SqliteStore::open(&file, Arc::clone(&clock)).unwrap();
        assert_eq!(roots(&fresh), ["/a", "/c", "/d"]);
        let old = SqliteStore::open(&replaced.old.unwrap(), clock).unwrap();
        assert_eq!(roots(&old), ["/a", "/b"]);
        let names = fs::read_dir(dir.path()).unwrap().flatten();
        let left = names.filter(|name| name.file_name().to_string_lossy().contains(".new-"));
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn a_copy_that_is_not_whole_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (file, copy) = (dir.path().join("store.db"), dir.path().join("copy.db"));
        let clock = Arc::new(testkit::contract::clock::ManualClock::default());
        let store = SqliteStore::open(&file, clock).unwrap();
        register(&store, "/a");
        fs::write(&copy, "no store at all").unwrap();
        assert!(replace(&file, &copy, "before", |_| Ok(())).is_err());
        assert_eq!(roots(&store), ["/a"]);
    }
}
