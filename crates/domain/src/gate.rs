//! Gates: checks that Crewboss itself runs before it believes that a task is done.

use serde::{Deserialize, Serialize};

use crate::process::Exit;

/// A check as it is configured. Exactly one of `command` and `run` is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateSpec {
    /// What it is called in results.
    pub name: String,
    /// Program and arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// A line for `sh -c`, exactly as the user wrote it; nothing is ever put into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Seconds that it may take.
    #[serde(default = "default_timeout_seconds")]
    pub timeout_seconds: u32,
    /// Whether the task is done only if it passes.
    #[serde(default = "default_required")]
    pub required: bool,
}

fn default_timeout_seconds() -> u32 {
    600
}

fn default_required() -> bool {
    true
}

/// What a check said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateStatus {
    /// It ran and returned 0.
    Passed,
    /// It ran and returned something else, or a signal ended it.
    Failed,
    /// It took too long and was ended.
    Timeout,
    /// It could not be run: that is never a pass.
    Unavailable,
}

/// A check that was run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateResult {
    /// Its name.
    pub name: String,
    /// Whether the task needs it.
    pub required: bool,
    /// What it said.
    pub status: GateStatus,
    /// How its process ended, where one was started.
    pub exit: Option<Exit>,
    /// How long it took.
    pub duration_ms: u64,
    /// Its last lines, at most 4 KiB.
    pub tail: String,
    /// The file that holds all of its output, relative to the session's folder.
    pub output: Option<String>,
}
