//! `--expected-version`: change only what is still as the caller has seen it.

use app::command::Command;
use domain::{id::TaskId, task::Task};

use crate::fail::Fail;

/// The version that a task has to have.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct ExpectedVersion {
    /// Change nothing unless the task has this version, as `show ID --json` names it
    #[arg(long, visible_alias = "if-version", value_name = "N")]
    expected_version: Option<u64>,
}

impl ExpectedVersion {
    /// The same for a verb that takes several tasks: a version is that of one.
    pub(crate) fn of_one(self, tasks: &[String]) -> Result<Self, Fail> {
        if self.expected_version.is_some() && tasks.len() != 1 {
            return Err(Fail::usage(
                "--expected-version is the version of one task: give one ID",
            ));
        }
        Ok(self)
    }

    /// The version, where one was given.
    pub(crate) fn version(self) -> Option<u64> {
        self.expected_version
    }

    /// The version after so many changes of our own.
    pub(crate) fn after(self, changes: u64) -> Self {
        Self {
            expected_version: self
                .expected_version
                .map(|seen| seen.saturating_add(changes)),
        }
    }

    /// The command, for a task that has the version.
    pub(crate) fn guard(self, task: TaskId, command: Command) -> Command {
        command.if_task(task, self.expected_version)
    }

    /// Whether a task is not as it was seen: the store refuses the command and says why, and what
    /// would be said of its state first is beside the point.
    pub(crate) fn is_stale(self, task: &Task) -> bool {
        is_stale(self.expected_version, task)
    }
}

/// As [`ExpectedVersion::is_stale`].
pub(crate) fn is_stale(expected: Option<u64>, task: &Task) -> bool {
    expected.is_some_and(|version| version != task.version)
}
