//! What a task's folder tells of its course: `logs.jsonl`, and `decisions.md`.

use std::{fmt, ops::ControlFlow, path::Path};

use domain::{id::TaskId, time::Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use super::folders::FolderError;
use crate::event::Hash;

/// How grave an entry is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// For whoever looks for a fault.
    Debug,
    /// What happens in any case.
    #[default]
    Info,
    /// What a person should know.
    #[serde(alias = "warning")]
    Warn,
    /// What went wrong.
    Error,
}

impl Level {
    /// The written word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// What a word means; `warning` is another word for `warn`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "debug" => Some(Self::Debug),
            "info" => Some(Self::Info),
            "warn" | "warning" => Some(Self::Warn),
            "error" => Some(Self::Error),
            _ => None,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is to be written.
#[derive(Debug, Clone)]
pub struct NewEntry {
    /// When it happened.
    pub at: Timestamp,
    /// How grave it is.
    pub level: Level,
    /// A sentence.
    pub message: String,
    /// More of it, as JSON.
    pub data: Option<Box<RawValue>>,
    /// The place in the store's log of the event that it tells of; `None` for what is no event.
    pub position: Option<u64>,
}

/// An entry as it was read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogEntry {
    /// When it happened.
    pub timestamp: Timestamp,
    /// Its place in the log, from 1, over all files.
    pub seq: u64,
    /// The place in the store's log of the event that it tells of, or of the last one before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// How grave it is.
    pub level: Level,
    /// A sentence.
    pub message: String,
    /// More of it, to the byte as it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// The head of the log's chain.
    #[serde(with = "crate::hex::digits")]
    pub hash: Hash,
}

/// Whether an append has to survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survives {
    /// It is synced before the call returns.
    PowerCut,
    /// It can be made again.
    Crash,
}

/// When a log goes on in a new file, and how many old ones stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalLimits {
    /// Bytes of a file.
    pub file_bytes: u64,
    /// Hours between its first entry and its last.
    pub file_hours: u64,
    /// Its entries.
    pub file_entries: u64,
    /// Old files that are kept; more where they hold events of the task.
    pub files_kept: u32,
}

impl Default for JournalLimits {
    fn default() -> Self {
        Self {
            file_bytes: 50_000_000,
            file_hours: 24,
            file_entries: 60_000,
            files_kept: 5,
        }
    }
}

/// Which entries are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogFilter {
    /// At least as grave.
    pub level: Level,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Not after.
    pub until: Option<Timestamp>,
    /// From this number on.
    pub first: Option<u64>,
    /// Up to this number.
    pub last: Option<u64>,
    /// Only the last so many of those.
    pub tail: Option<usize>,
}

impl LogFilter {
    /// All of them.
    #[must_use]
    pub const fn all() -> Self {
        Self {
            level: Level::Debug,
            since: None,
            until: None,
            first: None,
            last: None,
            tail: None,
        }
    }

    /// Whether an entry is wanted, the number of wanted ones aside.
    #[must_use]
    pub fn takes(&self, at: Timestamp, level: Level, seq: u64) -> bool {
        level >= self.level
            && self.since.is_none_or(|since| at >= since)
            && self.until.is_none_or(|until| at <= until)
            && self.first.is_none_or(|first| seq >= first)
            && self.last.is_none_or(|last| seq <= last)
    }
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The file's name.
    pub file: String,
    /// The line in it, from 1; 0 where the whole file is meant.
    pub line: u64,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.what),
            line => write!(f, "{}:{line}: {}", self.file, self.what),
        }
    }
}

/// What a reading comes upon, in order.
#[derive(Debug)]
pub enum LogItem {
    /// An entry that was wanted.
    Entry(LogEntry),
    /// A line, or a file, that is none of ours. The rest is read all the same.
    Finding(Finding),
}

/// Receives what is read; stops where it breaks.
pub type LogReceiver<'a> = dyn FnMut(LogItem) -> ControlFlow<()> + 'a;

/// How a chain breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Breach {
    /// A line was changed where it stands.
    Edited,
    /// A line stands there that was never written, or a second time.
    Inserted,
    /// The lines are all there, in another order.
    Reordered,
    /// Lines are missing.
    Removed,
    /// The last line is not whole.
    Torn,
    /// A file cannot be read.
    Unreadable,
}

impl Breach {
    /// The written word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Edited => "edited",
            Self::Inserted => "inserted",
            Self::Reordered => "reordered",
            Self::Removed => "removed",
            Self::Torn => "torn",
            Self::Unreadable => "unreadable",
        }
    }
}

/// What was found of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChainVerdict {
    /// The entries that were read.
    pub entries: u64,
    /// The number of the first.
    pub first: u64,
    /// The number of the last.
    pub last: u64,
    /// The first line that breaks it, and how. What follows may follow from it.
    pub breach: Option<(Breach, Finding)>,
}

/// What making a log again did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// How many entries it has.
    pub entries: u64,
    /// How many of them the store does not have.
    pub messages: u64,
    /// The names under which the old files are kept.
    pub aside: Vec<String>,
}

/// What an append of events did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projected {
    /// All of them are in the log.
    Done,
    /// The log ends before the position from which they were asked for: nothing was written.
    Behind,
}

/// A decision that was made in the course of a task.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Decision {
    /// What was decided.
    pub decision: String,
    /// Who did.
    #[serde(default)]
    pub agent: String,
    /// When; `None` where the file does not say.
    pub at: Option<Timestamp>,
    /// What it was about.
    #[serde(default)]
    pub context: String,
    /// What else was thought of.
    #[serde(default)]
    pub alternatives: Vec<String>,
    /// Why it was this.
    #[serde(default)]
    pub reasoning: String,
    /// Anything else.
    #[serde(default)]
    pub metadata: Map<String, Value>,
}

/// The log and the decisions of tasks.
///
/// An adapter must follow no symbolic link below the project's directory, and hold a lock on the
/// task's folder while it writes, so that any number of processes may.
pub trait Journal: Send + Sync + fmt::Debug {
    /// The position of the last event in the log, 0 where there is none.
    fn projected(&self, root: &Path, task: TaskId) -> Result<u64, FolderError>;

    /// Appends those of the task's events behind `after`, oldest first, that the log does not hold
    /// yet. Nothing where the log ends before `after`.
    fn project(
        &self,
        root: &Path,
        task: TaskId,
        after: u64,
        events: &[NewEntry],
    ) -> Result<Projected, FolderError>;

    /// Appends entries in one write and one sync; answers the number of the last.
    fn append(
        &self,
        root: &Path,
        task: TaskId,
        entries: &[NewEntry],
        survives: Survives,
    ) -> Result<u64, FolderError>;

    /// Reads the entries that are there now, oldest first, with memory for one line. Lines that
    /// are no entries are findings.
    fn read(
        &self,
        root: &Path,
        task: TaskId,
        filter: &LogFilter,
        receive: &mut LogReceiver<'_>,
    ) -> Result<(), FolderError>;

    /// Reads the entries that are as they were written, oldest first, with memory for one line.
    /// Everything else is a finding.
    fn read_whole(
        &self,
        root: &Path,
        task: TaskId,
        receive: &mut LogReceiver<'_>,
    ) -> Result<(), FolderError>;

    /// Makes the log again from the task's events, oldest first, and from those entries of the old
    /// one that are as they were written and tell of no event. The old files are kept aside.
    fn rewrite(
        &self,
        root: &Path,
        task: TaskId,
        events: &[NewEntry],
    ) -> Result<Rewritten, FolderError>;

    /// Holds every line to the chain.
    fn verify(&self, root: &Path, task: TaskId) -> Result<ChainVerdict, FolderError>;

    /// Adds a decision, durably.
    fn decide(&self, root: &Path, task: TaskId, decision: &Decision) -> Result<(), FolderError>;

    /// Every decision, and what in the file is none.
    fn decisions(
        &self,
        root: &Path,
        task: TaskId,
    ) -> Result<(Vec<Decision>, Vec<Finding>), FolderError>;
}
