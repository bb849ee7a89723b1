//! Errors of ports as failures of a task.

use app::ports::{folders::FolderError, workspaces::WorkspaceError};
use domain::failure::{Failure, FailureReason};

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

pub(crate) fn of_workspace(error: &WorkspaceError) -> Failure {
    Failure::new(error.reason(), chain(error))
}

pub(crate) fn of_folder(error: &FolderError) -> Failure {
    let reason = if error.is_disk_full() {
        FailureReason::DiskFull
    } else {
        FailureReason::WorkspaceFailed
    };
    Failure::new(reason, chain(error))
}
