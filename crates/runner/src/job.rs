//! What there is to do: the session's task, and what it builds on.

use app::{
    error::Error,
    ports::{store::Store, workspaces::Dependency},
    query::{Query, TaskDetails, View},
};
use domain::{
    id::TaskId,
    session::{Session, SessionStatus},
    task::Task,
    workspace::CommitId,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) task: Task,
    /// The base that an earlier session of the task started from.
    pub(crate) base: Option<CommitId>,
    depends_on: Vec<TaskId>,
}

impl Job {
    pub(crate) fn read(store: &dyn Store, task: TaskId) -> Result<Self, Error> {
        let details = details(store, task)?;
        let base = details
            .sessions
            .iter()
            .filter_map(|session| session.workspace.as_ref()?.base.clone())
            .next_back();
        Ok(Self {
            base,
            depends_on: details.dependencies.iter().map(|task| task.id).collect(),
            task: details.view.task,
        })
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
