//! A refused command: what was asked of what, in which state, and why not.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The answer to a command that the state of its target does not allow. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{target} is {state}: cannot {command}, {why}")]
pub struct Rejected {
    /// The id of what was asked.
    pub target: String,
    /// The state it is in.
    pub state: String,
    /// The command's name.
    pub command: String,
    /// Why that does not go together.
    pub why: String,
}

impl Rejected {
    /// A refusal of `command` by `target`.
    pub fn new(target: impl fmt::Display, state: &str, command: &str, why: &str) -> Self {
        Self {
            target: target.to_string(),
            state: state.to_owned(),
            command: command.to_owned(),
            why: why.to_owned(),
        }
    }
}
