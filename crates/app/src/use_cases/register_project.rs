//! Makes a directory a project.

use domain::{id::ProjectId, project::Project};

use super::Change;
use crate::{
    command::Output,
    error::Error,
    event::{NewEvent, Stream, StreamKind},
    ports::store::IdKind,
};

/// Registers a directory, or finds the project that it is already.
pub(crate) fn register_project(
    change: &mut Change<'_>,
    root: &str,
    name: &str,
) -> Result<Output, Error> {
    if let Some(project) = change.tx().project_at(root)? {
        return Ok(Output::Project { project });
    }
    let number = change.tx().next_number(IdKind::Project)?;
    let id = ProjectId::from_number(number).ok_or_else(|| Error::corrupt("ids are used up"))?;
    let project = Project {
        id,
        root: root.to_owned(),
        name: name.to_owned(),
        created_at: change.now().wall,
        remote: None,
    };
    change.tx().insert_project(&project)?;
    change.append(NewEvent {
        project: id,
        stream: Stream {
            kind: StreamKind::Project,
            id: id.number(),
        },
        kind: "project.registered",
        fence: None,
        payload: super::change::encode(&project)?,
    })?;
    Ok(Output::Project { project })
}
