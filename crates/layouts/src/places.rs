//! Names of files, from ids alone.

use domain::id::TaskId;

use crate::layout::Layout;

pub(crate) const TASKS: &str = "tasks";
pub(crate) const PLANS: &str = "plans";
pub(crate) const LOGS: &str = "logs";
pub(crate) const WORKSPACE: &str = "workspace";
pub(crate) const ARCHIVE: &str = "archive";
pub(crate) const INDEX: &str = "index.json";
pub(crate) const CONFIG: &str = "config.json";
/// Ours, inside the base.
pub(crate) const HOME: &str = ".crewboss";
/// Copies of the files that we wrote, with the same time of modification.
pub(crate) const SHOWN: &str = "shown";
/// A file for each retry that is not due.
pub(crate) const WAITING: &str = "waiting";

pub(crate) fn task_file(id: TaskId) -> String {
    format!("{id}.json")
}

/// Beside a copy: what is about to be written, so that a write that was cut off is known as ours.
pub(crate) fn next_copy(id: TaskId) -> String {
    format!("{id}.json.next")
}

pub(crate) fn plan_file(id: TaskId) -> String {
    format!("{id}_plan.md")
}

pub(crate) fn log_file(id: TaskId) -> String {
    format!("{id}.log")
}

/// The task that a file of `tasks/` describes.
pub(crate) fn task_of(name: &str) -> Option<TaskId> {
    name.strip_suffix(".json")?.parse().ok()
}

/// Whether a file claims to describe a task; the index and files in the making do not.
pub(crate) fn is_task_like(name: &str) -> bool {
    name.strip_suffix(".json")
        .is_some_and(|stem| !stem.is_empty())
        && name != INDEX
}

/// `planFile`, as it stands in a task file.
pub(crate) fn shown_plan(layout: Layout, id: TaskId) -> String {
    format!("{}/{PLANS}/{}", layout.base(), plan_file(id))
}

/// `logFile`, as it stands in a task file.
pub(crate) fn shown_log(layout: Layout, id: TaskId) -> String {
    format!("{}/{LOGS}/{}", layout.base(), log_file(id))
}

/// A file beside a task's, by which its agent or its launcher says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sentinel {
    /// The agent is done.
    Done,
    /// The agent failed.
    Error,
    /// It was cancelled.
    Cancelled,
    /// Its time was up.
    Timeout,
    /// The code that its process returned.
    ExitCode,
    /// Its process.
    Pid,
}

impl Sentinel {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Done,
        Self::Error,
        Self::Cancelled,
        Self::Timeout,
        Self::ExitCode,
        Self::Pid,
    ];

    /// The ending of its name.
    #[must_use]
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
            Self::Timeout => "timeout",
            Self::ExitCode => "exitcode",
            Self::Pid => "pid",
        }
    }

    pub(crate) fn file(self, id: TaskId) -> String {
        format!("{id}.{}", self.ending())
    }

    /// The file, relative to the project, as agents are told.
    #[must_use]
    pub fn shown(self, layout: Layout, id: TaskId) -> String {
        format!("{}/{TASKS}/{}", layout.base(), self.file(id))
    }
}
