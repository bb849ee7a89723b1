//! What there is to do: the session's task, and what it builds on.

use std::path::Path;

use app::{
    checkpoints::origin,
    error::Error,
    ports::{
        agents::Conversation,
        checkpoints::Checkpoints,
        folders::{Folders, SessionPlace},
        store::Store,
        workspaces::Dependency,
    },
    query::{Query, TaskDetails, View},
};
use domain::{
    id::{NodeId, SessionId, TaskId},
    session::{Session, SessionStatus},
    task::{Continuation, Task},
    workspace::CommitId,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) task: Task,
    /// The base that an earlier session of the task started from.
    pub(crate) base: Option<CommitId>,
    /// The commit that it goes on from.
    pub(crate) continue_from: Option<CommitId>,
    /// The conversation that it goes on with.
    pub(crate) conversation: Option<Conversation>,
    /// The checkpoint's commit that its workspace is to be like.
    pub(crate) restore: Option<CommitId>,
    /// What a person should know of its beginning.
    pub(crate) warnings: Vec<String>,
    depends_on: Vec<TaskId>,
}

impl Job {
    pub(crate) fn read(
        store: &dyn Store,
        folders: &dyn Folders,
        checkpoints: &dyn Checkpoints,
        place: &SessionPlace,
    ) -> Result<Self, Error> {
        let details = details(store, place.task)?;
        let base = details
            .sessions
            .iter()
            .filter_map(|session| session.workspace.as_ref()?.base.clone())
            .next_back();
        let continues = details.view.task.spec.continues.as_ref();
        if let Some(continues) = continues
            && let Some(node) = elsewhere(store, &details.sessions, place, continues)?
        {
            let what = format!("what it was to go on from is on {node}");
            return Ok(Self::begun_elsewhere(details, base, &what));
        }
        let from = origin(checkpoints, folders, place, &details.view.task)
            .map_err(|error| Error::unavailable(crate::failures::chain(&error)))?;
        let conversation = match continues {
            Some(continues) if continues.checkpoint.is_some() => from.conversation,
            Some(continues) => conversation(store, folders, &place.root, continues.session)?,
            None => None,
        };
        Ok(Self {
            base,
            continue_from: continues.and_then(|continues| continues.commit.clone()),
            conversation,
            restore: from.restore,
            warnings: from.warnings,
            depends_on: details.dependencies.iter().map(|task| task.id).collect(),
            task: details.view.task,
        })
    }

    /// Folders of another node are not here: what it has salvaged is, where that was shared, but
    /// neither its conversation nor its checkpoints.
    fn begun_elsewhere(details: TaskDetails, base: Option<CommitId>, what: &str) -> Self {
        let continues = details.view.task.spec.continues.as_ref();
        let salvaged = continues.filter(|continues| continues.checkpoint.is_none());
        let commit = salvaged.and_then(|continues| continues.commit.clone());
        let warning = match &commit {
            Some(_) => format!("{what}: with its files, and without its conversation"),
            None => format!("{what}: begun anew"),
        };
        Self {
            base,
            continue_from: commit,
            conversation: None,
            restore: None,
            warnings: vec![warning],
            depends_on: details.dependencies.iter().map(|task| task.id).collect(),
            task: details.view.task,
        }
    }

    /// The finished work that it builds on.
    pub(crate) fn dependencies(&self, store: &dyn Store) -> Result<Vec<Dependency>, Error> {
        let mut found = Vec::new();
        for task in &self.depends_on {
            let sessions = details(store, *task)?.sessions;
            let commit = sessions.iter().rev().find_map(finished_commit);
            found.extend(commit.map(|commit| Dependency {
                task: *task,
                commit,
            }));
        }
        Ok(found)
    }
}

/// The node of the session that a task goes on from, where that is another than the present one's.
fn elsewhere(
    store: &dyn Store,
    sessions: &[Session],
    place: &SessionPlace,
    continues: &Continuation,
) -> Result<Option<NodeId>, Error> {
    let here = sessions
        .iter()
        .find(|session| session.id == place.session)
        .and_then(|session| session.node);
    let id = continues.session;
    let View::Session { session } = store.read(&Query::Session { id })? else {
        return Err(Error::corrupt("another answer than was asked for"));
    };
    Ok(session.node.filter(|_| session.is_elsewhere(here)))
}

/// The agent's own conversation of an earlier session, where it had one.
fn conversation(
    store: &dyn Store,
    folders: &dyn Folders,
    root: &Path,
    session: SessionId,
) -> Result<Option<Conversation>, Error> {
    let View::Session { session } = store.read(&Query::Session { id: session })? else {
        return Err(Error::corrupt("another answer than was asked for"));
    };
    let place = SessionPlace {
        root: root.to_owned(),
        task: session.task,
        session: session.id,
    };
    let id = session.outcome.and_then(|outcome| outcome.agent_session);
    Ok(id.map(|id| Conversation {
        id,
        session_dir: folders.private_folder(&place).ok(),
    }))
}

/// The task as it is now.
pub(crate) fn task_now(store: &dyn Store, id: TaskId) -> Result<Task, Error> {
    match store.read(&Query::TasksOf { ids: vec![id] })? {
        View::Tasks { mut tasks } if tasks.len() == 1 => Ok(tasks.remove(0)),
        other => Err(Error::corrupt(format!("unexpected answer {other:?}"))),
    }
}

fn finished_commit(session: &Session) -> Option<CommitId> {
    if session.status != SessionStatus::Completed {
        return None;
    }
    session.outcome.as_ref()?.commit.clone()
}

fn details(store: &dyn Store, id: TaskId) -> Result<TaskDetails, Error> {
    match store.read(&Query::Task { id })? {
        View::Task { details } => Ok(*details),
        other => Err(Error::corrupt(format!("unexpected answer {other:?}"))),
    }
}
