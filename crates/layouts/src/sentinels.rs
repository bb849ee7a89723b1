//! What the sentinel files of a task say.

use domain::{
    agent::CompletionRule,
    completion::{Evidence, Sentinels, Verdict},
    id::TaskId,
    process::Exit,
    session::{Outcome, SessionResult},
    time::Timestamp,
};
use jiff::tz::TimeZone;

use crate::{dir::Dir, places::Sentinel, time};

/// A sentinel file is a few lines; what is longer is cut by being refused.
const SENTINEL_BYTES_MAX: u64 = 1024 * 1024;

/// The sentinel files of a task as they were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Those that the agent leaves.
    pub sentinels: Sentinels,
    /// What its launcher wrote down as its exit code.
    pub exit_code: Option<i32>,
    /// The time that a `.timeout` file names.
    pub timed_out_at: Option<Timestamp>,
}

impl Found {
    pub(crate) fn read(tasks: &Dir, id: TaskId) -> Self {
        // A file that cannot be read is one that says nothing.
        let text = |sentinel: Sentinel| -> Option<String> {
            let bytes = tasks
                .read(&sentinel.file(id), SENTINEL_BYTES_MAX)
                .ok()
                .flatten()?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        let timeout = text(Sentinel::Timeout);
        Self {
            timed_out_at: timeout.as_deref().and_then(timestamp),
            sentinels: Sentinels {
                done: tasks.has(&Sentinel::Done.file(id)),
                error: text(Sentinel::Error),
                cancelled: tasks.has(&Sentinel::Cancelled.file(id)),
                timeout,
            },
            exit_code: text(Sentinel::ExitCode).and_then(|code| code.trim().parse().ok()),
        }
    }

    /// Whether a file says that the task has ended, whatever its process does.
    #[must_use]
    pub fn ends_it(&self) -> bool {
        let said = &self.sentinels;
        said.done || said.error.is_some() || said.cancelled || said.timeout.is_some()
    }

    /// How a session ended whose process is gone, or whose agent said so.
    #[must_use]
    pub fn outcome(&self, now: Timestamp) -> Outcome {
        let exit = self.exit_code.map(Exit::Code);
        let evidence = Evidence {
            rule: CompletionRule::Sentinel,
            sentinels: self.sentinels.clone(),
            exit,
            stopped: None,
            protocol: None,
            had_tool_call: false,
            has_diff: None,
            require_diff: false,
        };
        let result = match evidence.judge() {
            Verdict::Completed => SessionResult::Completed,
            Verdict::Failed(failure) => SessionResult::Failed { failure },
            Verdict::Cancelled => SessionResult::Cancelled,
            Verdict::TimedOut { failure, .. } => SessionResult::TimedOut { failure },
            Verdict::Stopped => SessionResult::Stopped,
        };
        Outcome {
            exit,
            ..Outcome::bare(result, now)
        }
    }
}

fn timestamp(content: &str) -> Option<Timestamp> {
    let value: serde_json::Value = serde_json::from_str(content.trim()).ok()?;
    time::parse(value.get("timestamp")?.as_str()?, &TimeZone::system())
}

/// Removes what an ended task leaves behind; the mark of a cancelled one stays.
pub(crate) fn clear(tasks: &Dir, id: TaskId, keeps_cancelled: bool) {
    for sentinel in Sentinel::ALL {
        if sentinel == Sentinel::Cancelled && keeps_cancelled {
            continue;
        }
        // What cannot be removed is never read again either.
        drop(tasks.remove(&sentinel.file(id)));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_table_of_the_layout_holds() {
        let dir = tempfile::tempdir().unwrap();
        let tasks = Dir::root(dir.path()).unwrap();
        let id: TaskId = "task_9".parse().unwrap();
        let at = Timestamp::from_millis(1);
        let message = |files: &[(&str, &str)]| {
            for (ending, content) in files {
                fs::write(dir.path().join(format!("task_9.{ending}")), content).unwrap();
            }
            let found = Found::read(&tasks, id);
            clear(&tasks, id, false);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
            match found.outcome(at).result {
                SessionResult::Completed => "complete".to_owned(),
                SessionResult::Cancelled => "cancelled".to_owned(),
                SessionResult::Failed { failure } | SessionResult::TimedOut { failure } => {
                    failure.message
                }
                SessionResult::Stopped => "stopped".to_owned(),
            }
        };
        assert_eq!(
            message(&[("done", ""), ("error", "x"), ("exitcode", "1")]),
            "complete"
        );
        assert_eq!(message(&[("error", "boom\n"), ("cancelled", "")]), "boom");
        assert_eq!(message(&[("error", "")]), "Unknown error");
        assert_eq!(
            message(&[("error", "{\"error\": \"E\", \"details\": \"d\"}")]),
            "E"
        );
        assert_eq!(
            message(&[("cancelled", ""), ("timeout", "{}")]),
            "cancelled"
        );
        assert_eq!(
            message(&[("timeout", "{\"timeout\": 9}")]),
            "Task timed out after 9 seconds"
        );
        assert_eq!(
            message(&[("exitcode", "124\n")]),
            "Task timed out (exit code 124)"
        );
        assert_eq!(message(&[("exitcode", "7")]), "Process exited with code 7");
        assert_eq!(
            message(&[("exitcode", "0")]),
            "Process terminated unexpectedly"
        );
        assert_eq!(message(&[]), "Process terminated unexpectedly");
    }
}
