//! What a session begins with that goes on from a checkpoint.

use std::path::Path;

use domain::{
    id::{CheckpointId, TaskId},
    task::Task,
    workspace::CommitId,
};

use crate::ports::{
    agents::Conversation,
    checkpoints::{Checkpoints, Found},
    folders::{FolderError, Folders, SessionPlace},
};

/// The conversation of a checkpoint, and the commit with everything that it kept.
#[derive(Debug, Default)]
pub struct Origin {
    /// What the workspace is to hold.
    pub restore: Option<CommitId>,
    /// The conversation to go on with.
    pub conversation: Option<Conversation>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// The folder with the earlier conversation, in the session's own.
const EARLIER: &str = "earlier";

/// What a session of a task begins with that goes on from a checkpoint. The task gets plan and
/// decisions, where it has none yet, and the session a copy of the conversation.
///
/// # Errors
/// Where one of them cannot be written.
pub fn origin(
    checkpoints: &dyn Checkpoints,
    folders: &dyn Folders,
    place: &SessionPlace,
    task: &Task,
) -> Result<Origin, FolderError> {
    let root = &place.root;
    let Some(continues) = &task.spec.continues else {
        return Ok(Origin::default());
    };
    let Some(id) = continues.checkpoint else {
        return Ok(Origin::default());
    };
    let mut origin = Origin {
        restore: continues.commit.clone(),
        ..Origin::default()
    };
    let Some(from) = owner(checkpoints, root, task, id)? else {
        origin
            .warnings
            .push(format!("{id} is gone: only its files are gone on with"));
        return Ok(origin);
    };
    match continues.rewound {
        Some(version) => checkpoints.bring_back(root, (from, id), (task.id, version))?,
        None => checkpoints.hand_down(root, (from, id), task.id)?,
    }
    let found = checkpoints.list(root, from, true)?;
    let found = found.into_iter().find(|found| found.id == id);
    match found {
        Some(Found {
            manifest: Some(manifest),
            findings,
            ..
        }) if findings.is_empty() => {
            let kept = manifest.workspace;
            origin.restore = Some(kept.with_ignored.unwrap_or(kept.commit));
            if let Some(kept) = manifest.conversation {
                let into = folders.private_folder(place)?.join(EARLIER);
                checkpoints.unpack_conversation(root, (from, id), &into)?;
                origin.conversation = Some(Conversation {
                    id: kept.agent_session,
                    session_dir: Some(into),
                });
            }
        }
        _ => origin.warnings.push(format!(
            "{id} is not whole any more: only its files are gone on with"
        )),
    }
    Ok(origin)
}

/// The task that a checkpoint is of: the task itself, the one that it was made from, or one before
/// those.
fn owner(
    checkpoints: &dyn Checkpoints,
    root: &Path,
    task: &Task,
    id: CheckpointId,
) -> Result<Option<TaskId>, FolderError> {
    let near = std::iter::once(task.id).chain(task.spec.forked_from);
    for known in near {
        if checkpoints.has(root, known, id)? {
            return Ok(Some(known));
        }
    }
    for other in checkpoints.tasks(root)? {
        if checkpoints.has(root, other, id)? {
            return Ok(Some(other));
        }
    }
    Ok(None)
}
