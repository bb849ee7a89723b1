//! One daemon for one store: whoever holds the lock file.

use std::{
    fs::{DirBuilder, File},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};

/// The lock, held until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct DaemonLock {
    _file: File,
}

/// Why the lock was not to be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Another daemon has it.
    #[error("a daemon is already running for this store{}", pid.map(|pid| format!(" (PID: {pid})")).unwrap_or_default())]
    Held {
        /// Its process number, where it could be read.
        pid: Option<u32>,
    },
    /// The file could not be opened or locked.
    #[error("cannot lock {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl DaemonLock {
    /// Takes the lock without waiting.
    pub(crate) fn take(path: &Path) -> Result<Self, LockError> {
        let failed = |source: io::Error| LockError::Io {
            path: path.to_owned(),
            source,
        };
        if let Some(folder) = path.parent() {
            let mut private = DirBuilder::new();
            let made = private.recursive(true).mode(0o700).create(folder);
            made.map_err(failed)?;
        }
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let opened = open(path, flags, Mode::RUSR | Mode::WUSR);
        let mut file = File::from(opened.map_err(|error| failed(error.into()))?);
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                drop(file.read_to_string(&mut text));
                return Err(LockError::Held {
                    pid: text.trim().parse().ok(),
                });
            }
            Err(error) => return Err(failed(error.into())),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn folders_made_for_it_are_the_users_alone() {
        let dir = tempfile::tempdir().unwrap();
        let _lock = DaemonLock::take(&dir.path().join("home/deep/daemon.lock")).unwrap();
        for folder in ["home", "home/deep"] {
            let mode = fs::metadata(dir.path().join(folder)).unwrap().permissions();
            assert_eq!(mode.mode() & 0o777, 0o700, "{folder}");
        }
    }
}
