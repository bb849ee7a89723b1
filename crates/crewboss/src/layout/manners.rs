//! How failures are told where a layout is worked on: as scripts around it expect them.

use std::ffi::OsString;

use clap::error::ErrorKind;

use super::VARIABLE;
use crate::{environment::Environment, fail::Exit};

/// The manners of one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manners {
    /// Our own.
    Own,
    /// Those of a layout: `Error: …`, and 1 for whatever is refused.
    Layout,
}

/// Those that a command line or the environment asks for; the line may be wrong.
pub(crate) fn manners(arguments: &[OsString]) -> Manners {
    let mut flags = arguments.iter().take_while(|argument| *argument != "--");
    let by_flag = flags.any(|argument| {
        let text = argument.to_string_lossy();
        text == "--layout" || text.starts_with("--layout=")
    });
    let by_variable = || Environment::read().is_ok_and(|env| env.text(VARIABLE).is_some());
    if by_flag || by_variable() {
        Manners::Layout
    } else {
        Manners::Own
    }
}

impl Manners {
    /// The word that a failure begins with.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Own => "error",
            Self::Layout => "Error",
        }
    }

    /// The exit code of a request that was read and refused.
    pub(crate) const fn refused(self, exit: Exit) -> Exit {
        match (self, exit) {
            (Self::Layout, Exit::Usage | Exit::NotFound | Exit::Conflict) => Exit::Failed,
            (_, exit) => exit,
        }
    }

    /// The exit code of a command line that could not be read: a value that is not allowed is
    /// refused like any other.
    pub(crate) fn misread(self, error: &clap::Error, exit: Exit) -> Exit {
        match error.kind() {
            ErrorKind::ValueValidation => self.refused(exit),
            _ => exit,
        }
    }
}
