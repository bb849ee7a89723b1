//! The files by which an agent says how it went: where they are, what they say, and noticing them
//! at once.

use std::{
    fs::{self, File},
    io::Read,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    sync::mpsc::Sender,
    thread,
    time::Duration,
};

use app::ports::agents::SentinelPaths;
use domain::{completion::Sentinels, id::TaskId};
use rustix::fs::{
    OFlags,
    inotify::{self, CreateFlags, WatchFlags},
};

use crate::{
    event::Event,
    stop_pipe::{Stopper, Waiting, stop_pipe},
};

/// The most that is read of a file.
const CONTENT_MAX: u64 = 64 * 1024;

/// Between two looks where the system does not tell of new files.
const LOOK: Duration = Duration::from_millis(50);

/// Between two looks where it does: a notice may be lost with a folder that is replaced.
const LOOK_ANYWAY: Duration = Duration::from_secs(1);

/// The sentinel files of a task in a folder, as they are shown to the agent.
pub(crate) fn paths(folder: &Path, task: TaskId) -> SentinelPaths {
    let file = |ending: &str| folder.join(format!("{task}.{ending}"));
    SentinelPaths {
        done: file("done"),
        error: file("error"),
        cancelled: file("cancelled"),
        timeout: file("timeout"),
    }
}

/// The sentinel files of one session, where they really are.
#[derive(Debug, Clone)]
pub(crate) struct SentinelFiles(SentinelPaths);

impl SentinelFiles {
    /// The files behind what the agent is shown, which may be relative to its directory.
    pub(crate) fn new(shown: &SentinelPaths, directory: &Path) -> Self {
        Self(SentinelPaths {
            done: directory.join(&shown.done),
            error: directory.join(&shown.error),
            cancelled: directory.join(&shown.cancelled),
            timeout: directory.join(&shown.timeout),
        })
    }

    fn all(&self) -> [&PathBuf; 4] {
        let paths = &self.0;
        [&paths.done, &paths.error, &paths.cancelled, &paths.timeout]
    }

    fn any(&self) -> bool {
        self.all()
            .iter()
            .any(|path| path.symlink_metadata().is_ok())
    }

    /// What they say now.
    pub(crate) fn read(&self) -> Sentinels {
        let exists = |path: &PathBuf| path.symlink_metadata().is_ok();
        Sentinels {
            done: exists(&self.0.done),
            error: content(&self.0.error),
            cancelled: exists(&self.0.cancelled),
            timeout: content(&self.0.timeout),
        }
    }

    /// Removes them: what an earlier attempt said does not count, nor what was read.
    pub(crate) fn clear(&self) {
        for path in self.all() {
            // One that cannot be removed is read again; it is the task's own.
            drop(fs::remove_file(path));
        }
    }

    /// Tells of the first one until dropped.
    pub(crate) fn watch(&self, events: Sender<Event>) -> std::io::Result<Stopper> {
        let (stopper, waiting) = stop_pipe()?;
        let files = self.clone();
        let told_by = self.notices();
        thread::Builder::new()
            .name("sentinels".to_owned())
            .spawn(move || {
                let appeared = match told_by {
                    Some(notices) => files.wait_for_notice(&notices, &waiting),
                    None => files.look(&waiting),
                };
                if appeared {
                    let _ = events.send(Event::Sentinel);
                }
            })?;
        Ok(stopper)
    }

    fn notices(&self) -> Option<OwnedFd> {
        let folder = self.0.done.parent()?;
        let notices = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
        let flags = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        inotify::add_watch(&notices, folder, flags).ok()?;
        Some(notices)
    }

    fn wait_for_notice(&self, notices: &OwnedFd, waiting: &Waiting) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        while !self.any() {
            if waiting.stopped_before(notices, LOOK_ANYWAY) {
                return false;
            }
            let mut reader = inotify::Reader::new(notices, &mut buffer);
            while reader.next().is_ok() {}
        }
        true
    }

    fn look(&self, waiting: &Waiting) -> bool {
        while !self.any() {
            if waiting.stopped_within(LOOK) {
                return false;
            }
        }
        true
    }
}

/// The beginning of a file; `None` where there is none. One that is no regular file says nothing.
fn content(path: &Path) -> Option<String> {
    path.symlink_metadata().ok()?;
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or(0);
    let file = File::options().read(true).custom_flags(flags).open(path);
    let mut bytes = Vec::new();
    if let Ok(file) = file
        && file.metadata().is_ok_and(|metadata| metadata.is_file())
    {
        // What could be read is what it says.
        drop(file.take(CONTENT_MAX).read_to_end(&mut bytes));
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, sync::mpsc::channel};

    use super::*;

    fn files(folder: &Path) -> SentinelFiles {
        let shown = paths(Path::new("."), "task_5".parse().unwrap());
        SentinelFiles::new(&shown, folder)
    }

    #[test]
    fn only_the_own_tasks_file_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (events, inbox) = channel();
        let stopper = files(dir.path()).watch(events).unwrap();
        fs::write(dir.path().join("task_6.done"), "").unwrap();
        assert!(inbox.recv_timeout(Duration::from_millis(100)).is_err());
        fs::write(dir.path().join("task_5.part"), "").unwrap();
        fs::rename(
            dir.path().join("task_5.part"),
            dir.path().join("task_5.done"),
        )
        .unwrap();
        let told = inbox.recv_timeout(Duration::from_millis(500));
        assert_eq!(told, Ok(Event::Sentinel));
        drop(stopper);
        let said = files(dir.path()).read();
        assert!(said.done && said.error.is_none() && !said.cancelled);
    }

    #[test]
    fn a_watch_ends_when_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        for folder in [dir.path().to_path_buf(), dir.path().join("missing")] {
            let (events, inbox) = channel();
            drop(files(&folder).watch(events).unwrap());
            let ended = inbox.recv_timeout(Duration::from_secs(5));
            assert_eq!(ended, Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
        }
    }

    #[test]
    fn a_link_is_not_read_through() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("secret"), "password").unwrap();
        symlink(dir.path().join("secret"), dir.path().join("task_5.error")).unwrap();
        assert_eq!(files(dir.path()).read().error.as_deref(), Some(""));
        files(dir.path()).clear();
        assert_eq!(files(dir.path()).read(), Sentinels::default());
        assert!(dir.path().join("secret").exists());
    }
}
