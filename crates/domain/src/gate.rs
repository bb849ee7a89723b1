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

/// Why a check cannot be what is configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGate {
    /// It has no name.
    #[error("a gate needs a name")]
    Unnamed,
    /// Both or neither of `command` and `run`.
    #[error("gate `{name}` needs exactly one of `command` and `run`")]
    CommandOrRun {
        /// The gate.
        name: String,
    },
    /// A command without a program, or an empty line.
    #[error("gate `{name}` has nothing to run")]
    Empty {
        /// The gate.
        name: String,
    },
    /// A time limit of 0.
    #[error("gate `{name}`: `timeout_seconds` is at least 1")]
    Timeout {
        /// The gate.
        name: String,
    },
}

impl GateSpec {
    /// Program and arguments: those of `command`, or `sh -c` with the line of `run` as it is.
    ///
    /// # Errors
    /// Where the check is not one that can be run; says which field is wrong.
    pub fn argv(&self) -> Result<Vec<String>, InvalidGate> {
        let name = || self.name.clone();
        if self.name.trim().is_empty() {
            return Err(InvalidGate::Unnamed);
        }
        if self.timeout_seconds == 0 {
            return Err(InvalidGate::Timeout { name: name() });
        }
        match (&self.command, &self.run) {
            (Some(command), None) if command.first().is_some_and(|program| !program.is_empty()) => {
                Ok(command.clone())
            }
            (None, Some(line)) if !line.trim().is_empty() => {
                Ok(["sh", "-c", line].map(str::to_owned).to_vec())
            }
            (Some(_), None) | (None, Some(_)) => Err(InvalidGate::Empty { name: name() }),
            (Some(_), Some(_)) | (None, None) => Err(InvalidGate::CommandOrRun { name: name() }),
        }
    }
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

impl GateResult {
    /// Whether the task may be done as far as this check goes: it passed, or is not required.
    #[must_use]
    pub fn lets_pass(&self) -> bool {
        !self.required || self.status == GateStatus::Passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Result<GateSpec, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn defaults_are_ten_minutes_and_required() {
        let spec = spec(r#"{"name": "test", "run": "make a && make b"}"#).unwrap();
        assert_eq!((spec.timeout_seconds, spec.required), (600, true));
        assert_eq!(spec.argv().unwrap(), ["sh", "-c", "make a && make b"]);
    }

    #[test]
    fn what_cannot_be_run_is_refused() {
        assert!(
            spec(r#"{"name": "test", "shell": "x"}"#).is_err(),
            "an unknown field"
        );
        for text in [
            r#"{"name": " ", "run": "x"}"#,
            r#"{"name": "a"}"#,
            r#"{"name": "a", "run": "x", "command": ["x"]}"#,
            r#"{"name": "a", "run": " "}"#,
            r#"{"name": "a", "command": []}"#,
            r#"{"name": "a", "command": [""]}"#,
            r#"{"name": "a", "run": "x", "timeout_seconds": 0}"#,
        ] {
            assert!(spec(text).unwrap().argv().is_err(), "{text}");
        }
    }

    #[test]
    fn only_a_pass_passes_where_it_is_required() {
        let result = |required, status| GateResult {
            name: "a".to_owned(),
            required,
            status,
            exit: None,
            duration_ms: 0,
            tail: String::new(),
            output: None,
        };
        for status in [
            GateStatus::Failed,
            GateStatus::Timeout,
            GateStatus::Unavailable,
        ] {
            assert!(!result(true, status).lets_pass());
            assert!(result(false, status).lets_pass());
        }
        assert!(result(true, GateStatus::Passed).lets_pass());
    }
}
