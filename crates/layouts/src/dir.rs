//! A folder held open: what is in it is named relative to it, and never through a link.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use app::ports::folders::FolderError;
use rustix::{
    fs::{
        AtFlags, FlockOperation, Mode, OFlags, Stat, Timespec, Timestamps, flock, fstat, futimens,
        mkdirat, open, openat, renameat, statat, unlinkat,
    },
    io::Errno,
};

/// Files of the layout are for other tools too: the user's umask decides.
const FOLDER_MODE: Mode = Mode::RWXU.union(Mode::RWXG).union(Mode::RWXO);
const FILE_MODE: Mode = Mode::from_raw_mode(0o666);
/// What is only ours.
const PRIVATE_MODE: Mode = Mode::RWXU;

/// Makes the names of temporary files differ within this process; its number does so among
/// processes.
static TEMPORARY: AtomicU64 = AtomicU64::new(0);

/// What tells one state of a file from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    seconds: i64,
    nanoseconds: i64,
    size: i64,
}

impl Stamp {
    pub(crate) fn new(seconds: i64, nanoseconds: i64, size: i64) -> Self {
        Self {
            seconds,
            nanoseconds,
            size,
        }
    }

    pub(crate) fn numbers(self) -> [i64; 3] {
        [self.seconds, self.nanoseconds, self.size]
    }

    pub(crate) fn size(self) -> u64 {
        u64::try_from(self.size).unwrap_or(0)
    }
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
        let fd = open(path, flags, Mode::empty()).map_err(|errno| FolderError {
            act: "open",
            path: path.to_owned(),
            source: errno.into(),
        })?;
        Ok(Self {
            fd,
            path: path.to_owned(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn error(
        &self,
        act: &'static str,
        name: &str,
        source: impl Into<io::Error>,
    ) -> FolderError {
        FolderError {
            act,
            path: self.path.join(name),
            source: source.into(),
        }
    }

    /// A folder below this one, where it exists; `/` separates names.
    pub(crate) fn existing(&self, names: &str) -> Result<Option<Self>, FolderError> {
        let mut found: Option<Self> = None;
        for name in names.split('/') {
            let here = found.as_ref().unwrap_or(self);
            match here.open_folder(name)? {
                Some(folder) => found = Some(folder),
                None => return Ok(None),
            }
        }
        Ok(found)
    }

    fn open_folder(&self, name: &str) -> Result<Option<Self>, FolderError> {
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

    /// A folder below this one; made where it is missing.
    pub(crate) fn made(&self, names: &str) -> Result<Self, FolderError> {
        self.made_as(names, FOLDER_MODE)
    }

    /// The same for ourselves alone.
    pub(crate) fn made_private(&self, names: &str) -> Result<Self, FolderError> {
        self.made_as(names, PRIVATE_MODE)
    }

    fn made_as(&self, names: &str, mode: Mode) -> Result<Self, FolderError> {
        let mut found: Option<Self> = None;
        for name in names.split('/') {
            let here = found.as_ref().unwrap_or(self);
            if here.open_folder(name)?.is_none() {
                match mkdirat(&here.fd, name, mode) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(here.error("make the folder", name, errno)),
                }
            }
            let folder = here.open_folder(name)?;
            found = Some(folder.ok_or_else(|| here.error("open the folder", name, Errno::NOENT))?);
        }
        found.ok_or_else(|| self.error("open the folder", names, Errno::INVAL))
    }

    /// The names in it, sorted.
    pub(crate) fn names(&self) -> Result<Vec<String>, FolderError> {
        let refuse = |errno: Errno| self.error("list", "", errno);
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd).map_err(refuse)? {
            let entry = entry.map_err(refuse)?;
            if let Ok(name) = entry.file_name().to_str()
                && !matches!(name, "." | "..")
            {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Keeps other processes that ask for the same lock out until the guard is dropped.
    pub(crate) fn lock(self) -> Result<DirLock, FolderError> {
        loop {
            match flock(&self.fd, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(DirLock(self)),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.error("lock", "", errno)),
            }
        }
    }

    /// The content of a regular file of at most `bytes_max`; `None` where there is none.
    pub(crate) fn read(&self, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, FolderError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => self.regular(name, File::from(fd))?,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(self.error("open", name, errno)),
        };
        let mut content = Vec::new();
        file.take(bytes_max + 1)
            .read_to_end(&mut content)
            .map_err(|error| self.error("read", name, error))?;
        if content.len() as u64 > bytes_max {
            let what = io::Error::new(io::ErrorKind::FileTooLarge, "it is too large");
            return Err(self.error("read", name, what));
        }
        Ok(Some(content))
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
        statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// When a file was last written, and how large it is.
    pub(crate) fn stamp(&self, name: &str) -> Option<Stamp> {
        let stat = statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some(stamp_of(&stat))
    }

    /// When something was last made, renamed or removed in it.
    pub(crate) fn own_stamp(&self) -> Option<Stamp> {
        Some(stamp_of(&fstat(&self.fd).ok()?))
    }

    /// Replaces a file, or leaves it as it is; with the time of modification of `like`.
    pub(crate) fn replace(
        &self,
        name: &str,
        content: &[u8],
        like: Option<Stamp>,
    ) -> Result<(), FolderError> {
        let number = TEMPORARY.fetch_add(1, Ordering::Relaxed);
        let temporary = format!(".{name}.{}.{number}.tmp", std::process::id());
        let written = self
            .write_new(&temporary, content, like)
            .and_then(|()| Ok(renameat(&self.fd, &temporary, &self.fd, name)?));
        if let Err(error) = written {
            // Whatever is left of it is in nobody's way.
            let _ = unlinkat(&self.fd, &temporary, AtFlags::empty());
            return Err(self.error("write", name, error));
        }
        Ok(())
    }

    fn write_new(&self, name: &str, content: &[u8], like: Option<Stamp>) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.fd, name, flags, FILE_MODE)?);
        file.write_all(content)?;
        if let Some(stamp) = like {
            let time = Timespec {
                tv_sec: stamp.seconds,
                tv_nsec: stamp.nanoseconds,
            };
            let times = Timestamps {
                last_access: time,
                last_modification: time,
            };
            futimens(&file, &times)?;
        }
        Ok(())
    }

    /// Moves a file into another folder; says whether there was one.
    pub(crate) fn move_to(&self, name: &str, other: &Self) -> Result<bool, FolderError> {
        match renameat(&self.fd, name, &other.fd, name) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(self.error("move", name, errno)),
        }
    }

    /// Renames inside the folder; a missing file is fine.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        match renameat(&self.fd, from, &self.fd, to) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Removes a file or a link; says whether there was one.
    pub(crate) fn remove(&self, name: &str) -> Result<bool, FolderError> {
        match unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(self.error("remove", name, errno)),
        }
    }
}

fn stamp_of(stat: &Stat) -> Stamp {
    let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Stamp::new(stat.st_mtime, nanoseconds, stat.st_size)
}

/// See [`Dir::lock`]. Closing the folder unlocks it.
#[derive(Debug)]
pub(crate) struct DirLock(Dir);

impl std::ops::Deref for DirLock {
    type Target = Dir;

    fn deref(&self) -> &Dir {
        &self.0
    }
}
