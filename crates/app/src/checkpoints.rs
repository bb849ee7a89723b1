//! Checkpoints: made so that a crash at any moment leaves either a whole one or nothing, deleted
//! the same way, and kept for as long as the configuration says.
//!
//! One is made in this order: a hidden folder with everything in it, its manifest last; the
//! reference that keeps the objects; the event in the task's stream; the folder's own name. Whoever
//! makes or deletes one next goes on with what is whole and removes what is not.

mod retention;

use std::{
    collections::BTreeSet,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use domain::{
    id::{CheckpointId, ProjectId, TaskId},
    session::Session,
    task::{Task, TaskStatus},
    workspace::{CommitId, WorkspaceRecord},
};

use crate::{
    command::{Command, Meta, Request},
    crash_points::CrashPoint,
    error::Error,
    ports::{
        agents::{Agents, Conversation},
        checkpoints::{
            Cause, Checkpoints, Draft, Found, KeptConversation, KeptTree, MANIFEST_SCHEMA,
            MANIFEST_VERSION, Manifest, Unfinished,
        },
        clock::Clock,
        folders::{FolderError, Folders, SessionPlace},
        store::Store,
        workspaces::{CheckpointRequest, CheckpointTree, WorkspaceError, Workspaces},
    },
    query::{Query, TaskDetails, TaskFilter, View},
};

pub use retention::Retention;

/// How often another id is tried where one is taken.
const ID_ATTEMPTS: u32 = 5;

/// Tasks that are read at once.
const PAGE: usize = 1_000;

/// Why a checkpoint could not be made, read or deleted.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// What is asked does not go.
    #[error("{0}")]
    Refused(String),
    /// There is no such checkpoint.
    #[error("checkpoint {0} not found")]
    NotFound(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] Error),
    /// The task's folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Git.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
}

/// What is to be kept, and why.
#[derive(Debug, Clone)]
pub struct Wish {
    /// What somebody has to say about it.
    pub note: Option<String>,
    /// Why it is made.
    pub cause: Cause,
    /// Whether ignored files are kept too.
    pub with_ignored: bool,
}

/// A checkpoint that was made.
#[derive(Debug, Clone)]
pub struct Made {
    /// It.
    pub manifest: Manifest,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// Makes and deletes the checkpoints of one project.
#[derive(Debug)]
pub struct Checkpointer {
    /// Where events go.
    pub store: Arc<dyn Store>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The folders of sessions.
    pub folders: Arc<dyn Folders>,
    /// The folders of checkpoints.
    pub checkpoints: Arc<dyn Checkpoints>,
    /// The trees.
    pub workspaces: Arc<dyn Workspaces>,
    /// The conversations.
    pub agents: Arc<dyn Agents>,
    /// The project's directory.
    pub root: PathBuf,
    /// Who asks.
    pub meta: Meta,
}

impl Checkpointer {
    /// Keeps what a task has reached.
    ///
    /// # Errors
    /// Where nobody has worked on it, or something cannot be kept: then nothing is left of it.
    pub fn create(&self, task: TaskId, wish: &Wish) -> Result<Made, CheckpointError> {
        let details = self.details(task)?;
        let task = &details.view.task;
        let worked = worked(&details)?;
        let mut warnings = self.tidy(task.project, task.id);
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
    fn finish(&self, manifest: &Manifest) -> Result<(), CheckpointError> {
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

    /// Goes on with what others left whole, and removes what they left half done; answers what a
    /// person should know.
    pub fn tidy(&self, project: ProjectId, task: TaskId) -> Vec<String> {
        let mut said = self.settle_all(task);
        if let Err(error) = self.drop_unowned(project) {
            said.push(error.to_string());
        }
        said
    }

    fn settle_all(&self, task: TaskId) -> Vec<String> {
        match self.checkpoints.unfinished(&self.root, task) {
            Ok(left) => left.into_iter().map(|one| self.settle(task, one)).collect(),
            Err(error) => vec![error.to_string()],
        }
    }

    fn settle(&self, task: TaskId, left: Unfinished) -> String {
        let (id, what) = match left {
            Unfinished::Whole(manifest) => match self.finish(&manifest) {
                Ok(()) => return format!("{} was finished", manifest.id),
                Err(CheckpointError::Store(error @ Error::Unavailable { .. })) => {
                    return format!("{} is not finished: {error}", manifest.id);
                }
                Err(error) => (manifest.id, format!("could not be finished ({error})")),
            },
            Unfinished::Half(id) => (id, "was half made".to_owned()),
            Unfinished::Deleted(id) => (id, "was half deleted".to_owned()),
        };
        match self.remove(task, id) {
            Ok(()) => format!("{id} {what}: what was left of it was removed"),
            Err(error) => format!("{id} {what}, and it is not removed: {error}"),
        }
    }

    /// References of this project's checkpoints that have no folder.
    fn drop_unowned(&self, project: ProjectId) -> Result<(), CheckpointError> {
        for kept in self.workspaces.checkpoints(&self.root)? {
            let is_unowned =
                kept.project == project && !self.checkpoints.has(&self.root, kept.task, kept.id)?;
            if is_unowned {
                self.workspaces.drop_checkpoint(&self.root, kept.id)?;
            }
        }
        Ok(())
    }

    fn remove(&self, task: TaskId, id: CheckpointId) -> Result<(), CheckpointError> {
        self.workspaces.drop_checkpoint(&self.root, id)?;
        CrashPoint::CheckpointDropped.reached();
        Ok(self.checkpoints.discard(&self.root, task, id)?)
    }

    /// Deletes a checkpoint for good.
    ///
    /// # Errors
    /// While a task that has not ended goes on from it.
    pub fn delete(
        &self,
        task: TaskId,
        id: CheckpointId,
        in_use: &[Task],
    ) -> Result<(), CheckpointError> {
        if let Some(user) = user_of(id, in_use) {
            return Err(CheckpointError::Refused(format!(
                "{user} goes on from {id} and has not ended"
            )));
        }
        self.checkpoints.hide(&self.root, task, id)?;
        CrashPoint::CheckpointHidden.reached();
        self.remove(task, id)
    }

    /// Clears up what all tasks left behind, then does as [`Self::expire`].
    ///
    /// # Errors
    /// Where something that was to be deleted is still there.
    pub fn prune(
        &self,
        project: ProjectId,
        rules: &Retention,
    ) -> Result<Vec<Manifest>, CheckpointError> {
        for task in self.checkpoints.tasks(&self.root)? {
            self.settle_all(task);
        }
        self.drop_unowned(project)?;
        self.expire(project, rules, false)
    }

    /// Deletes what the rules do not keep, or only says what that is. One that has a finding is left
    /// to a person, one that is gone on from to its user.
    ///
    /// # Errors
    /// Where something that was to be deleted is still there.
    pub fn expire(
        &self,
        project: ProjectId,
        rules: &Retention,
        dry_run: bool,
    ) -> Result<Vec<Manifest>, CheckpointError> {
        let mut all = Vec::new();
        for task in self.checkpoints.tasks(&self.root)? {
            let found = self.checkpoints.list(&self.root, task, false)?;
            all.push(found.into_iter().filter_map(|one| one.manifest).collect());
        }
        let mut expired = rules.expired(&all);
        if expired.is_empty() {
            return Ok(expired);
        }
        let in_use = self.unended(project)?;
        expired.retain(|manifest| user_of(manifest.id, &in_use).is_none());
        if dry_run {
            return Ok(expired);
        }
        for manifest in &expired {
            self.delete(manifest.task, manifest.id, &in_use)?;
        }
        Ok(expired)
    }

    /// Deletes every checkpoint of a task, whatever its state.
    ///
    /// # Errors
    /// Where something is still there.
    pub fn delete_all(&self, task: TaskId) -> Result<(), CheckpointError> {
        for found in self.checkpoints.list(&self.root, task, false)? {
            self.delete(task, found.id, &[])?;
        }
        for left in self.checkpoints.unfinished(&self.root, task)? {
            self.remove(task, left.id())?;
        }
        Ok(())
    }

    /// The checkpoints of a task, oldest first, with every file checked, and that their commits are
    /// there.
    ///
    /// # Errors
    /// Where they cannot be read at all.
    pub fn list(&self, task: TaskId) -> Result<Vec<Found>, CheckpointError> {
        let mut found = self.checkpoints.list(&self.root, task, true)?;
        if found.is_empty() {
            return Ok(found);
        }
        let kept = self.workspaces.checkpoints(&self.root)?;
        let kept: BTreeSet<CheckpointId> = kept.into_iter().map(|kept| kept.id).collect();
        for one in &mut found {
            if !kept.contains(&one.id) {
                one.findings
                    .push("the reference that keeps its files is gone".to_owned());
            }
        }
        Ok(found)
    }

    /// The newest of a task.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn newest(&self, task: TaskId) -> Result<Option<CheckpointId>, CheckpointError> {
        let found = self.checkpoints.list(&self.root, task, false)?;
        Ok(found.last().map(|found| found.id))
    }

    /// Those of a task that were begun or deleted, and left so.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn left_behind(&self, task: TaskId) -> Result<Vec<CheckpointId>, CheckpointError> {
        let left = self.checkpoints.unfinished(&self.root, task)?;
        Ok(left.iter().map(Unfinished::id).collect())
    }

    /// The task that has a checkpoint, whole or not.
    ///
    /// # Errors
    /// Where there is none.
    pub fn task_of(&self, id: CheckpointId) -> Result<TaskId, CheckpointError> {
        for task in self.checkpoints.tasks(&self.root)? {
            if self.checkpoints.has(&self.root, task, id)? {
                return Ok(task);
            }
        }
        Err(CheckpointError::NotFound(id.to_string()))
    }

    /// The tasks of a project that have not ended.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub fn unended(&self, project: ProjectId) -> Result<Vec<Task>, CheckpointError> {
        let mut filter = TaskFilter {
            project: Some(project),
            statuses: vec![TaskStatus::Pending, TaskStatus::Running],
            ..TaskFilter::default()
        };
        let mut all = Vec::new();
        loop {
            let query = Query::Tasks {
                filter: filter.clone(),
                limit: PAGE,
            };
            let View::Tasks { tasks } = self.store.read(&query)? else {
                return Err(unexpected());
            };
            let is_last = tasks.len() < PAGE;
            filter.after = tasks.last().map(|task| task.id);
            all.extend(tasks);
            if is_last {
                return Ok(all);
            }
        }
    }

    /// A checkpoint by its id, with every file and object of it checked.
    ///
    /// # Errors
    /// Where there is none.
    pub fn find(&self, id: CheckpointId) -> Result<Found, CheckpointError> {
        for task in self.checkpoints.tasks(&self.root)? {
            if !self.checkpoints.has(&self.root, task, id)? {
                continue;
            }
            let found = self.checkpoints.list(&self.root, task, true)?;
            if let Some(mut found) = found.into_iter().find(|found| found.id == id) {
                self.check_objects(&mut found)?;
                return Ok(found);
            }
        }
        Err(CheckpointError::NotFound(id.to_string()))
    }

    fn check_objects(&self, found: &mut Found) -> Result<(), CheckpointError> {
        let Some(manifest) = &found.manifest else {
            return Ok(());
        };
        let kept = &manifest.workspace;
        let tip = kept.with_ignored.as_ref().unwrap_or(&kept.commit);
        let wrong = self
            .workspaces
            .verify_checkpoint(&kept.repository, tip, &kept.tree)?;
        found.findings.extend(wrong);
        Ok(())
    }

    fn details(&self, id: TaskId) -> Result<TaskDetails, CheckpointError> {
        match self.store.read(&Query::Task { id })? {
            View::Task { details } => Ok(*details),
            _ => Err(unexpected()),
        }
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

fn user_of(id: CheckpointId, tasks: &[Task]) -> Option<TaskId> {
    let uses = |task: &&Task| {
        let from = task.spec.continues.as_ref();
        from.and_then(|from| from.checkpoint) == Some(id)
    };
    tasks.iter().find(uses).map(|task| task.id)
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

fn unexpected() -> CheckpointError {
    Error::corrupt("another answer than was asked for").into()
}

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

/// What a session of a task begins with that goes on from a checkpoint. The task gets plan and
/// decisions, where it has none yet.
///
/// # Errors
/// Where plan and decisions cannot be written.
pub fn origin(
    checkpoints: &dyn Checkpoints,
    root: &Path,
    task: &Task,
) -> Result<Origin, FolderError> {
    let Some(from) = task.spec.forked_from else {
        return Ok(Origin::default());
    };
    let Some(continues) = &task.spec.continues else {
        return Ok(Origin::default());
    };
    let Some(id) = continues.checkpoint else {
        return Ok(Origin::default());
    };
    checkpoints.hand_down(root, (from, id), task.id)?;
    let found = checkpoints.list(root, from, true)?;
    let found = found.into_iter().find(|found| found.id == id);
    let mut origin = Origin {
        restore: continues.commit.clone(),
        ..Origin::default()
    };
    match found {
        Some(Found {
            manifest: Some(manifest),
            findings,
            ..
        }) if findings.is_empty() => {
            let kept = manifest.workspace;
            origin.restore = Some(kept.with_ignored.unwrap_or(kept.commit));
            origin.conversation = manifest.conversation.map(|kept| Conversation {
                id: kept.agent_session,
                session_dir: Some(checkpoints.conversation(root, from, id)),
            });
        }
        _ => origin.warnings.push(format!(
            "{id} is not whole any more: only its files are gone on with"
        )),
    }
    Ok(origin)
}
