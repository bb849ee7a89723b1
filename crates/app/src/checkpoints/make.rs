//! A checkpoint from its first file to the name that lists show.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io::ErrorKind,
};

use domain::{
    id::{CheckpointId, SessionId, TaskId},
    session::Session,
    task::Task,
    workspace::{CommitId, WorkspaceRecord},
};

use super::{CheckpointError, Checkpointer, Made, Wish};
use crate::{
    command::{Command, Meta, Request},
    crash_points::CrashPoint,
    error::Error,
    ports::{
        checkpoints::{
            Draft, KeptConversation, KeptTree, MANIFEST_SCHEMA, MANIFEST_VERSION, Manifest,
        },
        folders::SessionPlace,
        workspaces::{CheckpointRequest, CheckpointTree},
    },
    query::TaskDetails,
};

/// How often another id is tried where one is taken.
const ID_ATTEMPTS: u32 = 5;

impl Checkpointer {
    /// Keeps what a task has reached.
    ///
    /// # Errors
    /// Where nobody has worked on it, or something cannot be kept: then nothing is left of it.
    pub fn create(&self, task: TaskId, wish: &Wish) -> Result<Made, CheckpointError> {
        let details = self.details(task)?;
        let task = &details.view.task;
        let worked = worked(&details)?;
        let mut warnings = self.settle_all(task.id);
        let (id, mut draft) = self.begin(task, worked.0)?;
        let made = self.fill(&mut *draft, id, task, worked, wish);
        let manifest = match made {
            Ok((manifest, warned)) => {
                warnings.extend(warned);
                manifest
            }
            Err(error) => {
                drop(draft);
                // What cannot be removed now is removed by the next.
                drop(self.checkpoints.discard(&self.root, task.id, id));
                return Err(error);
            }
        };
        CrashPoint::CheckpointDrafted.reached();
        let finished = self.finish(&manifest);
        drop(draft);
        match finished {
            Ok(()) => {}
            // It may have been noted: the next goes on with it.
            Err(error @ CheckpointError::Store(Error::Unavailable { .. })) => return Err(error),
            Err(error) => {
                drop(self.remove(task.id, id));
                return Err(error);
            }
        }
        Ok(Made { manifest, warnings })
    }

    fn begin(
        &self,
        task: &Task,
        session: &Session,
    ) -> Result<(CheckpointId, Box<dyn Draft>), CheckpointError> {
        let mut attempts = 1;
        loop {
            let noise = RandomState::new().build_hasher().finish();
            let id = CheckpointId::at(self.clock.now().wall, noise);
            match self.checkpoints.begin(&self.root, task.id, session.id, id) {
                Ok(draft) => return Ok((id, draft)),
                Err(error)
                    if error.source.kind() == ErrorKind::AlreadyExists
                        && attempts < ID_ATTEMPTS =>
                {
                    attempts += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The conversation first: one that knows less than the files say does again what is done, one
    /// that knows more believes in what is not there.
    fn fill(
        &self,
        draft: &mut dyn Draft,
        id: CheckpointId,
        task: &Task,
        worked: Worked<'_>,
        wish: &Wish,
    ) -> Result<(Manifest, Vec<String>), CheckpointError> {
        let session = worked.0;
        let mut warnings = Vec::new();
        let conversation = match self.conversation(draft, session)? {
            Ok(conversation) => conversation,
            Err(why) => {
                warnings.push(format!("the conversation was not kept: {why}"));
                None
            }
        };
        let created_at = self.clock.now().wall;
        let request = self.request(task, worked, id, wish.with_ignored, draft);
        let tree = self.workspaces.checkpoint(&request)?;
        warnings.extend(tree.warnings.iter().cloned());
        let files = draft.gather(&state(task)?)?;
        let manifest = Manifest {
            schema: MANIFEST_SCHEMA.to_owned(),
            schema_version: MANIFEST_VERSION,
            id,
            task: task.id,
            session: session.id,
            created_at,
            note: wish.note.clone(),
            cause: wish.cause,
            log_position: task.version,
            workspace: KeptTree {
                mode: request.workspace.mode,
                repository: tree.repository,
                reference: tree.reference,
                commit: tree.commit,
                with_ignored: tree.with_ignored,
                tree: tree.tree,
                bytes: tree.bytes,
                warnings: tree.warnings,
            },
            conversation,
            files,
        };
        draft.seal(&manifest)?;
        Ok((manifest, warnings))
    }

    fn conversation(
        &self,
        draft: &dyn Draft,
        session: &Session,
    ) -> Result<Result<Option<KeptConversation>, String>, CheckpointError> {
        let place = SessionPlace {
            root: self.root.clone(),
            task: session.task,
            session: session.id,
        };
        let private = self.folders.private_folder(&place)?;
        let known = session.outcome.as_ref();
        let known = known.and_then(|outcome| outcome.agent_session.as_deref());
        if session.status.is_terminal() && known.is_none() {
            return Ok(Ok(None));
        }
        let config = self.agents.resolve(&session.agent).config;
        let driver = self.agents.driver(config.driver);
        let folder = draft.conversation()?;
        Ok(driver.keep_conversation(&private, known, &folder))
    }

    /// What the newest checkpoint of the same session knows of its tree.
    fn known_tree(&self, task: TaskId, session: SessionId) -> Option<(CommitId, u64)> {
        let found = self.checkpoints.list(&self.root, task, false).ok()?;
        let newest = found.into_iter().next_back()?.manifest?;
        let kept = newest.workspace;
        (newest.session == session).then_some((kept.tree, kept.bytes))
    }

    fn request(
        &self,
        task: &Task,
        worked: Worked<'_>,
        id: CheckpointId,
        with_ignored: bool,
        draft: &dyn Draft,
    ) -> CheckpointRequest {
        let (session, workspace) = worked;
        let left = session.outcome.as_ref();
        CheckpointRequest {
            project: self.root.clone(),
            project_id: task.project,
            task: task.id,
            session: session.id,
            id,
            workspace: workspace.clone(),
            commit: left.and_then(|outcome| outcome.commit.clone()),
            with_ignored,
            index: draft.index(),
            known_index: draft.known_index(),
            known_tree: self.known_tree(task.id, session.id),
        }
    }

    /// The tree of a task's workspace as it is now, kept by nothing.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn tree_now(&self, task: TaskId) -> Result<CheckpointTree, CheckpointError> {
        let details = self.details(task)?;
        let worked = worked(&details)?;
        let (id, draft) = self.begin(&details.view.task, worked.0)?;
        let request = self.request(&details.view.task, worked, id, false, &*draft);
        let tree = self.workspaces.checkpoint(&request);
        drop(draft);
        self.checkpoints.discard(&self.root, task, id)?;
        Ok(tree?)
    }

    /// From a whole folder on.
    pub(super) fn finish(&self, manifest: &Manifest) -> Result<(), CheckpointError> {
        let workspace = &manifest.workspace;
        let tip = workspace.with_ignored.as_ref().unwrap_or(&workspace.commit);
        self.workspaces
            .keep_checkpoint(&workspace.repository, manifest.id, tip)?;
        CrashPoint::CheckpointKept.reached();
        let request = Request {
            meta: Meta {
                // Whoever goes on after a crash says it again.
                idempotency_key: Some(format!("checkpoint {}", manifest.id)),
                ..self.meta.clone()
            },
            done: vec![],
            command: Command::RecordCheckpoint {
                task: manifest.task,
                checkpoint: manifest.id,
                manifest: manifest.checksum(),
                content: serde_json::to_string(manifest).ok(),
            },
        };
        self.store.execute(request)?;
        CrashPoint::CheckpointRecorded.reached();
        self.checkpoints
            .publish(&self.root, manifest.task, manifest.id)?;
        CrashPoint::CheckpointShown.reached();
        Ok(())
    }
}

/// A session and its workspace.
type Worked<'a> = (&'a Session, &'a WorkspaceRecord);

/// The newest session that had a workspace.
fn worked(details: &TaskDetails) -> Result<Worked<'_>, CheckpointError> {
    let task = &details.view.task;
    let refused = |why: &str| {
        let status = task.status().as_str();
        Err(CheckpointError::Refused(format!(
            "Task {} is {status}: {why}",
            task.id
        )))
    };
    if task.deleted_at.is_some() {
        return refused("it was deleted");
    }
    let mut sessions = details.sessions.iter().rev();
    match sessions.find_map(|session| Some((session, session.workspace.as_ref()?))) {
        Some(worked) => Ok(worked),
        None => refused("it has no workspace that could be kept"),
    }
}

/// `state.json`: the task as the store has it, as in the task's own folder.
fn state(task: &Task) -> Result<Vec<u8>, CheckpointError> {
    let unwritable = |error: serde_json::Error| Error::corrupt(format!("unwritable task: {error}"));
    let mut value = serde_json::to_value(task).map_err(unwritable)?;
    if let Some(fields) = value.as_object_mut() {
        fields.insert("schema".to_owned(), "crewboss.task".into());
        fields.insert("schema_version".to_owned(), 1.into());
        fields.insert("status".to_owned(), task.status().as_str().into());
    }
    let mut json = serde_json::to_vec_pretty(&value).map_err(unwritable)?;
    json.push(b'\n');
    Ok(json)
}
