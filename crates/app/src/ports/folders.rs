//! What a project's `.crewboss/` holds: the readable image of a task, and a session's files.

use std::{
    io,
    path::{Path, PathBuf},
};

use domain::{
    id::{SessionId, TaskId},
    redact::Redactor,
    session::Outcome,
    task::Task,
    time::Timestamp,
};

use super::agents::TranscriptEntry;

/// Which session's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPlace {
    /// The project's directory.
    pub root: PathBuf,
    /// The task.
    pub task: TaskId,
    /// The session.
    pub session: SessionId,
}

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} {}", path.display())]
pub struct FolderError {
    /// What was being done.
    pub act: &'static str,
    /// To which file.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl FolderError {
    /// Whether the disk, or the user's share of it, is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }
}

/// How much of what an agent prints is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// A log that reaches this size is renamed and a new one begun.
    pub file_bytes: u64,
    /// So many renamed logs are kept; the oldest goes first.
    pub files_kept: u32,
    /// Once so much was written in all, a last line says so and nothing follows.
    pub total_bytes: u64,
    /// The same for a transcript, which is not rotated.
    pub transcript_bytes: u64,
}

impl LogLimits {
    const MEGABYTE: u64 = 1_000_000;
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            file_bytes: 50 * Self::MEGABYTE,
            files_kept: 5,
            total_bytes: 500 * Self::MEGABYTE,
            transcript_bytes: 500 * Self::MEGABYTE,
        }
    }
}

/// A session's log. What cannot be written is dropped and remembered, so that a full disk never
/// stops an agent.
pub trait LogSink: Send + std::fmt::Debug {
    /// Where it is.
    fn path(&self) -> &Path;

    /// Appends whole lines, each with its newline, already without secrets.
    fn append(&mut self, lines: &[u8]);

    /// Why something was dropped, where that happened: the first reason.
    fn fault(&self) -> Option<&str>;
}

/// A session's transcript. What cannot be written is dropped and remembered.
pub trait TranscriptSink: Send + std::fmt::Debug {
    /// Appends an entry under the next number, with secrets masked in every string.
    fn append(&mut self, entry: TranscriptEntry, at: Timestamp);

    /// Why something was dropped, where that happened: the first reason.
    fn fault(&self) -> Option<&str>;
}

/// The folders of tasks and sessions.
///
/// An adapter must build every path from ids alone, follow no symbolic link below the project's
/// directory, replace files atomically (temporary file of a name of its own, fsync, rename, fsync
/// of the folder), and create folders 0700 and files 0600.
pub trait Folders: Send + Sync + std::fmt::Debug {
    /// The folder of a task; made where it is missing.
    fn task_folder(&self, root: &Path, task: TaskId) -> Result<PathBuf, FolderError>;

    /// The folder of a session; made where it is missing.
    fn session_folder(&self, place: &SessionPlace) -> Result<PathBuf, FolderError>;

    /// The folder in a session's folder that belongs to its agent; made where it is missing.
    fn private_folder(&self, place: &SessionPlace) -> Result<PathBuf, FolderError>;

    /// The folder in a session's folder for the output of its gates; made where it is missing.
    fn gates_folder(&self, place: &SessionPlace) -> Result<PathBuf, FolderError>;

    /// The task's plan; written from its prompt where there is none.
    fn plan_file(&self, root: &Path, task: &Task) -> Result<PathBuf, FolderError>;

    /// The session's log, to be appended to.
    fn open_log(
        &self,
        place: &SessionPlace,
        limits: &LogLimits,
    ) -> Result<Box<dyn LogSink>, FolderError>;

    /// The session's transcript, to be appended to: numbers go on behind the last whole line, and
    /// a torn one is cut off. Strings are masked by `redactor`.
    fn open_transcript(
        &self,
        place: &SessionPlace,
        limits: &LogLimits,
        redactor: Redactor,
    ) -> Result<Box<dyn TranscriptSink>, FolderError>;

    /// Writes how a session ended, durably.
    fn write_outcome(&self, place: &SessionPlace, outcome: &Outcome) -> Result<(), FolderError>;

    /// How a session ended, where its runner came to write it. A file that is not whole is an
    /// error, never an outcome.
    fn read_outcome(&self, place: &SessionPlace) -> Result<Option<Outcome>, FolderError>;

    /// Makes the image of a task show this version, unless it shows a later one. Not fsynced: the
    /// store is the truth and the image is made again where it is behind.
    fn show_task(&self, root: &Path, task: &Task) -> Result<(), FolderError>;

    /// The version that the image of a task shows.
    fn shown_version(&self, root: &Path, task: TaskId) -> Option<u64>;

    /// Removes everything of a deleted task. Missing is fine.
    fn remove_task(&self, root: &Path, task: TaskId) -> Result<(), FolderError>;
}
