//! Writes down what concerns a project, and no task of it.

use domain::id::ProjectId;

use super::Change;
use crate::{
    command::Output,
    error::Error,
    event::{DaemonStarted, KeyRotated, NewEvent, Stream, StreamKind},
};

/// Writes that heads are signed by another key into the stream of a project.
pub(crate) fn record_key_rotation(
    change: &mut Change<'_>,
    id: ProjectId,
    rotated: &KeyRotated,
) -> Result<Output, Error> {
    note(
        change,
        id,
        "audit.key_rotated",
        super::change::encode(rotated)?,
    )
}

/// Writes what a daemon found of a project when it started into the stream of that project.
pub(crate) fn record_daemon_start(
    change: &mut Change<'_>,
    id: ProjectId,
    found: &DaemonStarted,
) -> Result<Output, Error> {
    note(change, id, "daemon.started", super::change::encode(found)?)
}

fn note(
    change: &mut Change<'_>,
    id: ProjectId,
    kind: &'static str,
    payload: Vec<u8>,
) -> Result<Output, Error> {
    let project = change.tx().project(id)?;
    let project = project.ok_or_else(|| Error::not_found("Project", id))?;
    change.append(NewEvent {
        project: id,
        stream: Stream {
            kind: StreamKind::Project,
            id: id.number(),
        },
        kind,
        fence: None,
        payload,
    })?;
    Ok(Output::Project { project })
}
