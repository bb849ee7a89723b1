//! A folder held open: what is in it is named relative to it, and never through a link.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use app::{
    faults::{self, Act, Deed, Thing},
    hex::hex,
    ports::folders::FolderError,
};
use rustix::{
    fs::{
        AtFlags, FlockOperation, Mode, OFlags, RenameFlags, flock, mkdirat, open, openat, renameat,
        unlinkat,
    },
    io::Errno,
};
use sha2::{Digest as _, Sha256};

const FOLDER_MODE: Mode = Mode::RWXU;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// So often a lock is asked for that another holds, and the pause in between: about a second. Ours
/// hold it for a moment; a program that keeps it must not stop us.
const LOCK_ATTEMPTS: u32 = 40;
const LOCK_PAUSE: Duration = Duration::from_millis(25);

/// Makes the names of temporary files differ within this process; its number does so among
/// processes.
static TEMPORARY: AtomicU64 = AtomicU64::new(0);

/// Whether a write has to survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The file is synced; whoever puts several into a folder syncs that once.
    Contents,
    /// File and folder are synced.
    Synced,
    /// Whole or not at all, but perhaps not yet.
    Atomic,
}

/// An open folder and the name that it has for people.
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

impl Dir {
    /// A folder that the user named: links on the way are the user's own.
    pub(crate) fn root(path: &Path) -> Result<Self, FolderError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = open(path, flags, Mode::empty())
            .map_err(|errno| failed("open", path.to_path_buf(), errno.into()))?;
        Ok(Self {
            fd,
            path: path.to_path_buf(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn error(&self, act: &'static str, name: &str, source: impl Into<io::Error>) -> FolderError {
        failed(act, self.path.join(name), source.into())
    }

    /// A folder in this one, where it exists.
    pub(crate) fn existing(&self, name: &str) -> Result<Option<Self>, FolderError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(Self {
                fd,
                path: self.path.join(name),
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.error("open the folder", name, errno)),
        }
    }

    /// A folder in this one; made where it is missing. Says whether it was made.
    pub(crate) fn made(&self, name: &str) -> Result<(Self, bool), FolderError> {
        if let Some(folder) = self.existing(name)? {
            return Ok((folder, false));
        }
        let made = match mkdirat(&self.fd, name, FOLDER_MODE) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(self.error("make the folder", name, errno)),
        };
        match self.existing(name)? {
            Some(folder) => Ok((folder, made)),
            None => Err(self.error("open the folder", name, Errno::NOENT)),
        }
    }

    /// Makes everything in this folder so far survive a power cut.
    pub(crate) fn sync(&self) -> Result<(), FolderError> {
        rustix::fs::fsync(&self.fd).map_err(|errno| self.error("sync", "", errno))
    }

    /// The same, because of what is in it.
    pub(crate) fn sync_for(&self, thing: Thing) -> Result<(), FolderError> {
        let synced = faults::around(Act::new(thing, Deed::SyncFolder), || {
            Ok::<_, io::Error>(rustix::fs::fsync(&self.fd)?)
        });
        synced.map_err(|error| self.error("sync", "", error))
    }

    /// Keeps other processes that ask for the same lock out until the guard is dropped. Fails where
    /// another has held it for about a second.
    pub(crate) fn lock(&self) -> Result<DirLock<'_>, FolderError> {
        self.lock_within(LOCK_ATTEMPTS)
    }

    /// The same for what somebody waits to see written: fails after some ten seconds.
    pub(crate) fn lock_patiently(&self) -> Result<DirLock<'_>, FolderError> {
        self.lock_within(10 * LOCK_ATTEMPTS)
    }

    fn lock_within(&self, attempts_max: u32) -> Result<DirLock<'_>, FolderError> {
        let mut attempts = 1;
        loop {
            match flock(&self.fd, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(DirLock(self)),
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if attempts < attempts_max => {
                    attempts += 1;
                    thread::sleep(LOCK_PAUSE);
                }
                Err(errno) => return Err(self.error("lock", "", errno)),
            }
        }
    }

    /// Whether nobody holds the lock; it is held until the folder is closed.
    pub(crate) fn try_hold(&self) -> Result<bool, FolderError> {
        loop {
            match flock(&self.fd, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => return Ok(false),
                Err(errno) => return Err(self.error("lock", "", errno)),
            }
        }
    }

    /// The names in this folder, in order.
    pub(crate) fn sorted_names(&self) -> Result<Vec<String>, FolderError> {
        let mut names = self.names()?;
        names.retain(|name| name != "." && name != "..");
        names.sort();
        Ok(names)
    }

    /// The size of a regular file and the SHA-256 of its content; `None` where there is none.
    pub(crate) fn digest(&self, name: &str) -> Result<Option<(u64, String)>, FolderError> {
        let Some(file) = self.open_existing(name)? else {
            return Ok(None);
        };
        let mut reader = io::BufReader::with_capacity(1 << 16, file);
        let (mut bytes, mut hash) = (0_u64, Sha256::new());
        let mut block = vec![0; 1 << 16];
        loop {
            let read = match reader.read(&mut block) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(|error| self.error("read", name, error))?,
            };
            if read == 0 {
                return Ok(Some((bytes, hex(&hash.finalize()))));
            }
            hash.update(&block[..read]);
            bytes += u64::try_from(read).unwrap_or(u64::MAX);
        }
    }

    /// Makes a file survive a power cut.
    pub(crate) fn sync_file(&self, name: &str) -> Result<(), FolderError> {
        match self.open_existing(name)? {
            Some(file) => file
                .sync_all()
                .map_err(|error| self.error("sync", name, error)),
            None => Ok(()),
        }
    }

    /// The content of a file; `None` where there is none.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FolderError> {
        let Some(mut file) = self.open_existing(name)? else {
            return Ok(None);
        };
        let mut content = Vec::new();
        file.read_to_end(&mut content)
            .map_err(|error| self.error("read", name, error))?;
        Ok(Some(content))
    }

    /// A regular file for reading; `None` where there is none.
    pub(crate) fn open_existing(&self, name: &str) -> Result<Option<File>, FolderError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => self.regular(name, File::from(fd)).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.error("open", name, errno)),
        }
    }

    /// A file to append to; made where it is missing.
    pub(crate) fn open_append(&self, name: &str) -> Result<File, FolderError> {
        let flags = OFlags::RDWR
            | OFlags::APPEND
            | OFlags::CREATE
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::CLOEXEC;
        let fd = openat(&self.fd, name, flags, FILE_MODE)
            .map_err(|errno| self.error("open", name, errno))?;
        self.regular(name, File::from(fd))
    }

    /// Neither a device nor a pipe that someone left under our name.
    fn regular(&self, name: &str, file: File) -> Result<File, FolderError> {
        let metadata = file
            .metadata()
            .map_err(|error| self.error("open", name, error))?;
        if metadata.is_file() {
            return Ok(file);
        }
        let what = io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file");
        Err(self.error("open", name, what))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Replaces a file, or leaves it as it is.
    pub(crate) fn replace(
        &self,
        name: &str,
        content: &[u8],
        durability: Durability,
    ) -> Result<(), FolderError> {
        let number = TEMPORARY.fetch_add(1, Ordering::Relaxed);
        let temporary = format!(".{name}.{}.{number}.tmp", std::process::id());
        let thing = thing(name);
        let written = self
            .write_new(thing, &temporary, content, durability)
            .and_then(|()| {
                faults::around(Act::new(thing, Deed::Rename), || {
                    Ok(renameat(&self.fd, &temporary, &self.fd, name)?)
                })
            });
        if let Err(error) = written {
            // Whatever is left of it is in nobody's way.
            let _ = unlinkat(&self.fd, &temporary, AtFlags::empty());
            return Err(self.error("write", name, error));
        }
        if durability == Durability::Synced {
            self.sync_for(thing)?;
        }
        Ok(())
    }

    fn write_new(
        &self,
        thing: Thing,
        name: &str,
        content: &[u8],
        durability: Durability,
    ) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.fd, name, flags, FILE_MODE)?);
        faults::write(Act::new(thing, Deed::Write), &mut file, content)?;
        if durability != Durability::Atomic {
            faults::around(Act::new(thing, Deed::Sync), || file.sync_all())?;
        }
        Ok(())
    }

    /// The names of everything in the folder.
    pub(crate) fn names(&self) -> Result<Vec<String>, FolderError> {
        let listed = rustix::fs::Dir::read_from(&self.fd).and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
                .collect::<Result<Vec<_>, _>>()
        });
        listed.map_err(|errno| self.error("list", "", errno))
    }

    /// A new, empty file to read and write; whatever had the name is replaced.
    pub(crate) fn create(&self, name: &str) -> Result<File, FolderError> {
        match unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(self.error("replace", name, errno)),
        }
        self.create_new(name)
    }

    /// A new, empty file to read and write; fails where the name is taken.
    pub(crate) fn create_new(&self, name: &str) -> Result<File, FolderError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        openat(&self.fd, name, flags, FILE_MODE)
            .map(File::from)
            .map_err(|errno| self.error("make", name, errno))
    }

    /// Renames inside the folder, over whatever has the new name.
    pub(crate) fn rename_over(
        &self,
        thing: Thing,
        from: &str,
        to: &str,
    ) -> Result<(), FolderError> {
        let renamed = faults::around(Act::new(thing, Deed::Rename), || {
            Ok::<_, io::Error>(renameat(&self.fd, from, &self.fd, to)?)
        });
        renamed.map_err(|error| self.error("write", to, error))
    }

    /// Gives each of two names to what has the other.
    pub(crate) fn exchange(&self, one: &str, other: &str) -> Result<(), FolderError> {
        rustix::fs::renameat_with(&self.fd, one, &self.fd, other, RenameFlags::EXCHANGE)
            .map_err(|errno| self.error("write", other, errno))
    }

    /// Renames inside the folder; fails where the new name is taken.
    pub(crate) fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        rustix::fs::renameat_with(&self.fd, from, &self.fd, to, RenameFlags::NOREPLACE)
            .map_err(Into::into)
    }

    /// Removes a file; a missing one is fine.
    pub(crate) fn remove(&self, name: &str) -> Result<(), FolderError> {
        match unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.error("remove", name, errno)),
        }
    }

    /// Renames inside the folder; a missing file is fine.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        match renameat(&self.fd, from, &self.fd, to) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Removes a folder with all that is in it; links are removed and not followed.
    pub(crate) fn remove_folder(&self, thing: Thing, name: &str) -> Result<(), FolderError> {
        let through = PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_fd().as_raw_fd()));
        let removed = faults::around(Act::new(thing, Deed::Remove), || {
            std::fs::remove_dir_all(through.join(name))
        });
        match removed {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(self.error("remove", name, error)),
        }
    }
}

/// See [`Dir::lock`].
#[derive(Debug)]
pub(crate) struct DirLock<'a>(&'a Dir);

impl Drop for DirLock<'_> {
    fn drop(&mut self) {
        // Closing the folder unlocks it as well.
        let _ = flock(&self.0.fd, FlockOperation::Unlock);
    }
}

/// What a file of this name is.
fn thing(name: &str) -> Thing {
    match name {
        "outcome.json" => Thing::Outcome,
        "manifest.json" => Thing::Manifest,
        "decisions.md" => Thing::Decisions,
        "plan.md" => Thing::Plan,
        _ => Thing::State,
    }
}

pub(crate) fn failed(act: &'static str, path: PathBuf, source: io::Error) -> FolderError {
    FolderError { act, path, source }
}
