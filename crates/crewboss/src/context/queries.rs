//! Asking the store.

use app::overview::Overview;
use app::query::{
    Counts, Deleted, NodeView, Query, Standing, TaskDetails, TaskFilter, TaskView, View,
};
use domain::{
    id::{NodeId, SessionId, TaskId, TaskRef},
    node::Leader,
    project::Project,
    session::Session,
    task::{Task, TaskStatus},
};

use super::{Context, unexpected};
use crate::fail::{Exit, Fail};
use crate::listing;

/// Whole tasks carry their prompts, which may be long.
const TASKS_AT_ONCE: usize = 100;
/// So that one answer takes milliseconds, also through the daemon.
const STANDINGS_AT_ONCE: usize = 5_000;

/// Which tasks to look for, from the newest on.
#[derive(Debug)]
pub(crate) struct Newest<'a> {
    /// Of these statuses only; all where empty.
    pub(crate) statuses: &'a [TaskStatus],
    /// Older than this one only.
    pub(crate) before: Option<TaskId>,
    /// At most how many.
    pub(crate) limit: usize,
    /// What of deleted ones.
    pub(crate) deleted: Deleted,
}

impl Context {
    /// What people call a node; its id where it is not known.
    pub(crate) fn node_name(&self, id: NodeId) -> String {
        let known = self.nodes().map(|(nodes, _)| nodes).unwrap_or_default();
        let named = known.into_iter().find(|view| view.node.id == id);
        named.map_or_else(|| id.to_string(), |view| view.node.name)
    }

    /// Every node, and who leads.
    pub(crate) fn nodes(&self) -> Result<(Vec<NodeView>, Option<Leader>), Fail> {
        if !self.has_store()? {
            return Ok((vec![], None));
        }
        match self.store()?.read(&Query::Nodes)? {
            View::Nodes { nodes, leader } => Ok((nodes, leader)),
            _ => Err(unexpected("nodes")),
        }
    }

    /// The project, where it is registered. Registers nothing and makes no store.
    pub(crate) fn known_project(&self) -> Result<Option<Project>, Fail> {
        if let Some(project) = self.project.get() {
            return Ok(Some(project.clone()));
        }
        if !self.has_store()? {
            return Ok(None);
        }
        let root = self.places.root()?.to_owned();
        match self.store()?.read(&Query::ProjectAt { root, node: None })? {
            View::Project { project } => {
                if let Some(project) = &project {
                    drop(self.project.set(project.clone()));
                }
                Ok(project)
            }
            _ => Err(unexpected("project")),
        }
    }

    /// The task that a person means; never a deleted one.
    pub(crate) fn resolve(&self, name: &str) -> Result<TaskId, Fail> {
        self.resolve_among(name, false).map_err(|fail| {
            let is_deleted =
                fail.exit == Exit::NotFound && self.resolve_among(name, true).is_ok();
            if !is_deleted {
                return fail;
            }
            fail.hint(format!(
                "it was deleted: `crewboss show {name} --include-deleted` shows it, `crewboss task undelete {name}` brings it back"
            ))
        })
    }

    /// The same, a deleted one too where that is wanted.
    pub(crate) fn find(&self, name: &str, include_deleted: bool) -> Result<TaskId, Fail> {
        if include_deleted {
            self.resolve_among(name, true)
        } else {
            self.resolve(name)
        }
    }

    /// The deleted task that a person means: where there is none of this name, the one that is not.
    pub(crate) fn resolve_deleted(&self, name: &str) -> Result<TaskId, Fail> {
        let is_key = name
            .parse::<TaskRef>()
            .is_ok_and(|name| matches!(name, TaskRef::Key(_)));
        if is_key {
            let has_key = |task: &Task| {
                task.spec
                    .key
                    .as_ref()
                    .is_some_and(|key| key.as_str() == name)
            };
            let deleted = self.tasks(TaskFilter {
                deleted: Deleted::Only,
                ..TaskFilter::default()
            })?;
            let mut named = deleted.iter().filter(|task| has_key(task));
            if let (Some(one), None) = (named.next(), named.next()) {
                return Ok(one.id);
            }
        }
        self.resolve_among(name, true)
    }

    /// The same; a deleted one only where that was asked for.
    pub(crate) fn resolve_among(&self, name: &str, deleted: bool) -> Result<TaskId, Fail> {
        name.parse::<TaskRef>()
            .map_err(|error| Fail::usage(error.to_string()))?;
        let Some(project) = self.known_project()? else {
            return Err(app::error::Error::not_found("Task", name).into());
        };
        let query = Query::Resolve {
            project: project.id,
            name: name.to_owned(),
            deleted,
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

    /// Several tasks by id, each whole.
    pub(crate) fn tasks_of(&self, ids: &[TaskId]) -> Result<Vec<Task>, Fail> {
        let mut all = Vec::with_capacity(ids.len());
        for ids in ids.chunks(TASKS_AT_ONCE) {
            match self.store()?.read(&Query::TasksOf { ids: ids.to_vec() })? {
                View::Tasks { tasks } => all.extend(tasks),
                _ => return Err(unexpected("tasks")),
            }
        }
        Ok(all)
    }

    /// Where tasks stand; with `retries`, where the newest automatic retry of each does.
    pub(crate) fn standings(&self, ids: &[TaskId], retries: bool) -> Result<Vec<Standing>, Fail> {
        let mut all = Vec::with_capacity(ids.len());
        for ids in ids.chunks(STANDINGS_AT_ONCE) {
            let ids = ids.to_vec();
            match self.store()?.read(&Query::Standings { ids, retries })? {
                View::Standings { standings } => all.extend(standings),
                _ => return Err(unexpected("standings")),
            }
        }
        Ok(all)
    }

    pub(crate) fn session(&self, id: SessionId) -> Result<Session, Fail> {
        match self.store()?.read(&Query::Session { id })? {
            View::Session { session } => Ok(*session),
            _ => Err(unexpected("session")),
        }
    }

    /// What there is, each task on a line; `None` where the project is not registered.
    pub(crate) fn overview(&self, limit: usize) -> Result<Option<Overview>, Fail> {
        if !self.has_store()? {
            return Ok(None);
        }
        let root = self.places.root()?.to_owned();
        match self.store()?.read(&Query::Overview {
            root,
            limit,
            node: None,
        })? {
            View::Overview { overview } => Ok(overview.map(|overview| *overview)),
            _ => Err(unexpected("overview")),
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

    /// How many tasks of each status a project has.
    pub(crate) fn counts(&self, project: &Project) -> Result<Counts, Fail> {
        match self.store()?.read(&Query::Counts {
            project: project.id,
        })? {
            View::Counts { counts } => Ok(counts),
            _ => Err(unexpected("counts")),
        }
    }

    /// The newest tasks that hold what is asked, the newest first.
    pub(crate) fn newest(
        &self,
        project: &Project,
        wanted: &Newest<'_>,
        holds: impl Fn(&Task) -> bool,
    ) -> Result<Vec<TaskId>, Fail> {
        let mut filter = TaskFilter {
            project: Some(project.id),
            statuses: wanted.statuses.to_vec(),
            newest_first: true,
            deleted: wanted.deleted,
            after: wanted.before,
            ..TaskFilter::default()
        };
        let mut found = Vec::new();
        loop {
            let query = Query::Tasks {
                filter: filter.clone(),
                limit: TASKS_AT_ONCE,
            };
            let View::Tasks { tasks } = self.store()?.read(&query)? else {
                return Err(unexpected("tasks"));
            };
            let is_last = tasks.len() < TASKS_AT_ONCE;
            filter.after = tasks.last().map(|task| task.id);
            found.extend(tasks.iter().filter(|task| holds(task)).map(|task| task.id));
            found.truncate(wanted.limit);
            if is_last || found.len() == wanted.limit {
                return Ok(found);
            }
        }
    }

    /// Every task of the filter, in its order, of the project alone.
    pub(crate) fn tasks(&self, filter: TaskFilter) -> Result<Vec<Task>, Fail> {
        let Some(project) = self.known_project()? else {
            return Ok(vec![]);
        };
        let filter = TaskFilter {
            project: Some(project.id),
            ..filter
        };
        Ok(listing::tasks(&*self.store()?, filter)?)
    }

    /// Every task that is listed, oldest first.
    pub(crate) fn listed_tasks(&self) -> Result<Vec<Task>, Fail> {
        self.tasks(TaskFilter::default())
    }

    /// Every task that is archived, oldest first.
    pub(crate) fn archived_tasks(&self) -> Result<Vec<Task>, Fail> {
        self.tasks(TaskFilter {
            archived: true,
            ..TaskFilter::default()
        })
    }
}
