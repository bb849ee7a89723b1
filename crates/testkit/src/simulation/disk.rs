//! Folders that are maps.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use app::ports::folders::{FolderError, Folders, LogLimits, LogSink, SessionPlace, TranscriptSink};
use domain::{
    id::{SessionId, TaskId},
    redact::Redactor,
    session::Outcome,
    task::Task,
};

use super::fate::Fate;

/// Outcome files, and images of tasks.
#[derive(Debug)]
pub(super) struct Disk {
    fate: Arc<Fate>,
    outcomes: Mutex<BTreeMap<SessionId, Outcome>>,
    images: Mutex<BTreeMap<TaskId, u64>>,
}

impl Disk {
    pub(super) fn new(fate: Arc<Fate>) -> Self {
        Self {
            fate,
            outcomes: Mutex::default(),
            images: Mutex::default(),
        }
    }
}

impl Disk {
    /// Whether it is written down how a session ended.
    pub(super) fn has_outcome(&self, session: SessionId) -> bool {
        lock(&self.outcomes).contains_key(&session)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(source: io::Error) -> FolderError {
    FolderError {
        act: "use",
        path: PathBuf::new(),
        source,
    }
}

fn not_simulated<T>() -> Result<T, FolderError> {
    Err(failed(io::ErrorKind::Unsupported.into()))
}

impl Folders for Disk {
    fn task_folder(&self, _root: &Path, _task: TaskId) -> Result<PathBuf, FolderError> {
        not_simulated()
    }

    fn session_folder(&self, _place: &SessionPlace) -> Result<PathBuf, FolderError> {
        not_simulated()
    }

    fn private_folder(&self, _place: &SessionPlace) -> Result<PathBuf, FolderError> {
        not_simulated()
    }

    fn gates_folder(&self, _place: &SessionPlace) -> Result<PathBuf, FolderError> {
        not_simulated()
    }

    fn plan_file(&self, _root: &Path, _task: &Task) -> Result<PathBuf, FolderError> {
        not_simulated()
    }

    fn open_log(
        &self,
        _place: &SessionPlace,
        _limits: &LogLimits,
    ) -> Result<Box<dyn LogSink>, FolderError> {
        not_simulated()
    }

    fn open_transcript(
        &self,
        _place: &SessionPlace,
        _limits: &LogLimits,
        _redactor: Redactor,
    ) -> Result<Box<dyn TranscriptSink>, FolderError> {
        not_simulated()
    }

    fn write_outcome(&self, place: &SessionPlace, outcome: &Outcome) -> Result<(), FolderError> {
        self.fate.act(failed, || {
            lock(&self.outcomes).insert(place.session, outcome.clone());
            Ok(())
        })
    }

    fn read_outcome(&self, place: &SessionPlace) -> Result<Option<Outcome>, FolderError> {
        Ok(lock(&self.outcomes).get(&place.session).cloned())
    }

    fn show_task(&self, _root: &Path, task: &Task) -> Result<(), FolderError> {
        self.fate.act(failed, || {
            let mut images = lock(&self.images);
            let shown = images.entry(task.id).or_default();
            *shown = task.version.max(*shown);
            Ok(())
        })
    }

    fn shown_version(&self, _root: &Path, task: TaskId) -> Option<u64> {
        lock(&self.images).get(&task).copied()
    }

    fn remove_task(&self, _root: &Path, task: TaskId) -> Result<(), FolderError> {
        self.fate.act(failed, || {
            lock(&self.images).remove(&task);
            Ok(())
        })
    }
}
