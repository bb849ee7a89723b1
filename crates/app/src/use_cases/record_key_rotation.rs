//! Writes down that heads are signed by another key.

use domain::id::ProjectId;

use super::Change;
use crate::{
    command::Output,
    error::Error,
    event::{KeyRotated, NewEvent, Stream, StreamKind},
};

/// Writes it into the stream of a project.
pub(crate) fn record_key_rotation(
    change: &mut Change<'_>,
    id: ProjectId,
    rotated: &KeyRotated,
) -> Result<Output, Error> {
    let project = change.tx().project(id)?;
    let project = project.ok_or_else(|| Error::not_found("Project", id))?;
    change.append(NewEvent {
        project: id,
        stream: Stream {
            kind: StreamKind::Project,
            id: id.number(),
        },
        kind: "audit.key_rotated",
        fence: None,
        payload: super::change::encode(rotated)?,
    })?;
    Ok(Output::Project { project })
}
