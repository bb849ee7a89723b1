//! Asking the store.

use app::query::{Counts, Query, TaskDetails, TaskView, View};
use domain::{
    id::{SessionId, TaskId, TaskRef},
    project::Project,
    session::Session,
    task::{Task, TaskStatus},
};

use super::{Context, unexpected};
use crate::fail::Fail;
use crate::retention;

impl Context {
    /// The project, where it is registered. Registers nothing and makes no store.
    pub(crate) fn known_project(&self) -> Result<Option<Project>, Fail> {
        if let Some(project) = self.project.get() {
            return Ok(Some(project.clone()));
        }
        if !self.has_store()? {
            return Ok(None);
        }
        let root = self.places.root()?.to_owned();
        match self.store()?.read(&Query::ProjectAt { root })? {
            View::Project { project } => {
                if let Some(project) = &project {
                    drop(self.project.set(project.clone()));
                }
                Ok(project)
            }
            _ => Err(unexpected("project")),
        }
    }

    /// The task that a person means.
    pub(crate) fn resolve(&self, name: &str) -> Result<TaskId, Fail> {
        name.parse::<TaskRef>()
            .map_err(|error| Fail::usage(error.to_string()))?;
        let Some(project) = self.known_project()? else {
            return Err(app::error::Error::not_found("Task", name).into());
        };
        let query = Query::Resolve {
            project: project.id,
            name: name.to_owned(),
        };
        match self.store()?.read(&query)? {
            View::Resolved { id } => Ok(id),
            _ => Err(unexpected("resolve")),
        }
    }

    /// Several of them, each once.
    pub(crate) fn resolve_all(&self, names: &[String]) -> Result<Vec<TaskId>, Fail> {
        let mut ids = Vec::with_capacity(names.len());
        for name in names {
            let id = self.resolve(name)?;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    pub(crate) fn details(&self, id: TaskId) -> Result<TaskDetails, Fail> {
        match self.store()?.read(&Query::Task { id })? {
            View::Task { details } => Ok(*details),
            _ => Err(unexpected("task")),
        }
    }

    pub(crate) fn session(&self, id: SessionId) -> Result<Session, Fail> {
        match self.store()?.read(&Query::Session { id })? {
            View::Session { session } => Ok(*session),
            _ => Err(unexpected("session")),
        }
    }

    pub(crate) fn status(
        &self,
        project: &Project,
        limit: usize,
    ) -> Result<(Vec<TaskView>, Counts), Fail> {
        match self.store()?.read(&Query::Status {
            project: project.id,
            limit,
        })? {
            View::Status { tasks, counts } => Ok((tasks, counts)),
            _ => Err(unexpected("status")),
        }
    }

    /// Every task of these statuses, oldest first; all where none is named.
    pub(crate) fn all_tasks(
        &self,
        statuses: &[TaskStatus],
        archived: bool,
    ) -> Result<Vec<Task>, Fail> {
        let Some(project) = self.known_project()? else {
            return Ok(vec![]);
        };
        let store = self.store()?;
        Ok(retention::all_tasks(
            &*store, project.id, statuses, archived,
        )?)
    }
}
