//! Everything that can be asked without changing anything.

use std::collections::BTreeMap;

use domain::{
    id::{Key, NodeId, ProjectId, SessionId, TaskId, TaskRef},
    node::{Leader, Node},
    project::Project,
    quota::{Quota, QuotaUse, Rooms},
    session::Session,
    task::{Task, TaskKind, TaskStatus},
};
use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    event::{Stream, StreamKind},
    history::{self, EventRecord},
    locks::{self, LockNotice, LockQuery},
    overview::{Overview, TaskLine},
    papers::{self, Papers},
    ports::store::{Effect, Reader},
    use_cases as verbs,
};

/// Deleted tasks that are read at once.
const DELETED_AT_ONCE: usize = 1_000;

/// How many tasks of each status there are.
pub type Counts = BTreeMap<TaskStatus, u64>;

/// What of deleted tasks. Purged ones are in no list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deleted {
    /// None of them.
    #[default]
    Without,
    /// They too, archived or not.
    With,
    /// Nothing else.
    Only,
}

/// Which tasks, and in which order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TaskFilter {
    /// Of this project only.
    pub project: Option<ProjectId>,
    /// Of these statuses only; all where empty.
    pub statuses: Vec<TaskStatus>,
    /// Archived ones only (`true`), or only those that are not (`false`).
    pub archived: bool,
    /// What of deleted ones.
    #[serde(default)]
    pub deleted: Deleted,
    /// Newest first rather than oldest first.
    pub newest_first: bool,
    /// Those behind this id only, in the order asked for.
    pub after: Option<TaskId>,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "query", rename_all = "snake_case")]
pub enum Query {
    /// The project of a directory.
    ProjectAt {
        /// The directory.
        root: String,
        /// On which node; this machine where `None`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<NodeId>,
    },
    /// Every project.
    Projects,
    /// The projects of which a node has a checkout, with their directories there.
    CheckedOut {
        /// The node.
        node: NodeId,
    },
    /// Every node that ever registered.
    Nodes,
    /// What a person means by a text.
    Resolve {
        /// Where to look.
        project: ProjectId,
        /// What was typed: a whole id, the end of one, or a key.
        name: String,
        /// Whether it may be a deleted one where no other is meant.
        #[serde(default)]
        deleted: bool,
    },
    /// A page of tasks.
    Tasks {
        /// Which.
        filter: TaskFilter,
        /// At most how many.
        limit: usize,
    },
    /// A task, its chain, its sessions, and the chains that it waits for.
    Task {
        /// Which.
        id: TaskId,
    },
    /// Several tasks by id, each whole.
    TasksOf {
        /// Which.
        ids: Vec<TaskId>,
    },
    /// Where several tasks stand, without all that they carry.
    Standings {
        /// Which.
        ids: Vec<TaskId>,
        /// Whether a task that is tried again by itself stands where its newest retry does.
        retries: bool,
    },
    /// What `status` shows: everything that has not ended, and the newest.
    Status {
        /// Of which project.
        project: ProjectId,
        /// At most how many tasks.
        limit: usize,
    },
    /// What `status` shows, each task on a line.
    Overview {
        /// The directory of the project.
        root: String,
        /// At most how many tasks of each kind: running, waiting, newest.
        limit: usize,
        /// On which node the directory is; on this machine where `None`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<NodeId>,
    },
    /// How many tasks of each status a project has.
    Counts {
        /// Which project.
        project: ProjectId,
    },
    /// One session.
    Session {
        /// Which.
        id: SessionId,
    },
    /// Sessions that have not ended.
    LiveSessions {
        /// Of one project, or of all.
        project: Option<ProjectId>,
    },
    /// What happened to a task and to its sessions, in the order of the log.
    TaskEvents {
        /// Which task.
        task: TaskId,
        /// Behind this position only.
        after: u64,
        /// At most how many.
        limit: usize,
    },
    /// What happened to a project itself, in the order of the log.
    ProjectEvents {
        /// Which project.
        project: ProjectId,
        /// Behind this position only.
        after: u64,
        /// At most how many.
        limit: usize,
    },
    /// What the papers of tasks said when they were last kept.
    Papers {
        /// Which tasks.
        tasks: Vec<TaskId>,
    },
    /// Effects that are still owed, in the order of their tasks.
    Effects {
        /// Only those of tasks behind this one.
        #[serde(default)]
        after: Option<TaskId>,
        /// At most how many.
        limit: usize,
    },
    /// Whether the log goes on behind a position.
    LogBehind {
        /// The position.
        position: u64,
    },
    /// Every quota, with how far it is used.
    Quotas,
    /// Locks of a project.
    Locks {
        /// Which project.
        project: ProjectId,
        /// What about them.
        about: Box<LockQuery>,
    },
    /// What may start, and when to look again.
    Agenda {
        /// Of one project, or of all.
        project: Option<ProjectId>,
        /// The time to judge by.
        now: domain::time::Now,
    },
}

/// Where a task stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The task, or the retry that stands for it.
    pub task: TaskId,
    /// The name that the user gave it, or the task that was asked for.
    pub key: Option<Key>,
    /// Who does the work.
    pub kind: TaskKind,
    /// Where it stands.
    pub status: TaskStatus,
    /// What it tries again.
    pub retry_of: Option<TaskId>,
}

/// A task with what is around it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskView {
    /// The task.
    pub task: Task,
    /// Its newest session.
    pub session: Option<Session>,
    /// The chains that it waits for: the newest task of each, with its status. Empty once ready.
    pub blocked_by: Vec<(TaskId, TaskStatus)>,
    /// The quotas that are used up and that it would start within. Empty where it waits for a chain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quotas: Vec<QuotaUse>,
}

/// A node with what is on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// The node.
    pub node: Node,
    /// Its managed sessions that have not ended.
    pub sessions: u32,
    /// Its projects, with their directories there.
    pub projects: Vec<Project>,
}

/// A task with everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskDetails {
    /// The task and what it waits for.
    pub view: TaskView,
    /// Its chain, oldest first.
    pub chain: Vec<Task>,
    /// Its sessions, oldest first.
    pub sessions: Vec<Session>,
    /// Its dependencies: the newest task of each chain, in the order given.
    pub dependencies: Vec<Task>,
    /// The tasks that wait for its chain.
    pub dependants: Vec<TaskId>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "view", rename_all = "snake_case")]
pub enum View {
    /// To [`Query::ProjectAt`].
    Project {
        /// The project, where the directory is one.
        project: Option<Project>,
    },
    /// To [`Query::Nodes`].
    Nodes {
        /// Oldest first, each with the managed sessions that it carries and the projects of which it
        /// has a checkout.
        nodes: Vec<NodeView>,
        /// Who leads, or led last.
        leader: Option<Leader>,
    },
    /// To [`Query::Projects`] and [`Query::CheckedOut`].
    Projects {
        /// Oldest first.
        projects: Vec<Project>,
    },
    /// To [`Query::Resolve`].
    Resolved {
        /// The task that was meant.
        id: TaskId,
    },
    /// To [`Query::Tasks`] and [`Query::TasksOf`].
    Tasks {
        /// The page, or those that were asked for.
        tasks: Vec<Task>,
    },
    /// To [`Query::Standings`].
    Standings {
        /// In the order asked for.
        standings: Vec<Standing>,
    },
    /// To [`Query::Task`].
    Task {
        /// All of it.
        details: Box<TaskDetails>,
    },
    /// To [`Query::Status`].
    Status {
        /// Oldest first.
        tasks: Vec<TaskView>,
        /// Of the whole project.
        counts: Counts,
    },
    /// To [`Query::Overview`].
    Overview {
        /// What there is, where the directory is a project.
        overview: Option<Box<Overview>>,
    },
    /// To [`Query::Counts`].
    Counts {
        /// Of the whole project.
        counts: Counts,
    },
    /// To [`Query::Session`].
    Session {
        /// The session.
        session: Box<Session>,
    },
    /// To [`Query::LiveSessions`].
    Sessions {
        /// Oldest first.
        sessions: Vec<Session>,
    },
    /// To [`Query::TaskEvents`] and [`Query::ProjectEvents`].
    TaskEvents {
        /// Oldest first.
        events: Vec<EventRecord>,
    },
    /// To [`Query::Papers`].
    Papers {
        /// In the order asked for.
        papers: Vec<Papers>,
    },
    /// To [`Query::Effects`].
    Effects {
        /// Oldest first.
        effects: Vec<Effect>,
    },
    /// To [`Query::LogBehind`].
    LogBehind {
        /// Whether there is at least one entry.
        goes_on: bool,
    },
    /// To [`Query::Quotas`].
    Quotas {
        /// Each, with how much there is of what it counts.
        quotas: Vec<(Quota, u64)>,
        /// The month of those that count by month.
        month: u32,
    },
    /// To [`Query::Locks`].
    Locks {
        /// The answer.
        notice: LockNotice,
    },
    /// To [`Query::Agenda`].
    Agenda {
        /// How many may start now: none, or at least one.
        ready: usize,
        /// Milliseconds until the next becomes due.
        next_due_millis: Option<u64>,
    },
}

/// Answers a query; the same function for every store.
pub fn answer(reader: &dyn Reader, query: &Query) -> Result<View, Error> {
    match query {
        Query::ProjectAt { root, node } => Ok(View::Project {
            project: project_at(reader, root, *node)?,
        }),
        Query::CheckedOut { node } => Ok(View::Projects {
            projects: checked_out(reader, *node)?,
        }),
        Query::Nodes => nodes(reader),
        Query::Projects => Ok(View::Projects {
            projects: reader.projects()?,
        }),
        Query::Resolve {
            project,
            name,
            deleted,
        } => Ok(View::Resolved {
            id: match resolve(reader, *project, name) {
                Err(Error::NotFound { .. }) if *deleted => resolve_deleted(reader, *project, name)?,
                other => other?,
            },
        }),
        Query::Tasks { filter, limit } => Ok(View::Tasks {
            tasks: reader.tasks(filter, *limit)?,
        }),
        Query::Task { id } => Ok(View::Task {
            details: Box::new(details(reader, *id)?),
        }),
        Query::TasksOf { ids } => Ok(View::Tasks {
            tasks: ids
                .iter()
                .map(|id| known(reader, *id))
                .collect::<Result<_, _>>()?,
        }),
        Query::Standings { ids, retries } => Ok(View::Standings {
            standings: ids
                .iter()
                .map(|id| standing(reader, *id, *retries))
                .collect::<Result<_, _>>()?,
        }),
        Query::Overview { root, limit, node } => Ok(View::Overview {
            overview: match project_at(reader, root, *node)? {
                Some(project) => Some(Box::new(overview(reader, project, *limit)?)),
                None => None,
            },
        }),
        Query::Counts { project } => Ok(View::Counts {
            counts: reader.counts(*project)?,
        }),
        Query::Status { project, limit } => status(reader, *project, *limit),
        Query::Session { id } => {
            let session = reader
                .session(*id)?
                .ok_or_else(|| Error::not_found("Session", id))?;
            Ok(View::Session {
                session: Box::new(session),
            })
        }
        Query::LiveSessions { project } => Ok(View::Sessions {
            sessions: reader.live_sessions(*project)?,
        }),
        Query::TaskEvents { task, after, limit } => Ok(View::TaskEvents {
            events: history::events_of(reader, *task, *after, *limit)?,
        }),
        Query::ProjectEvents {
            project,
            after,
            limit,
        } => {
            let stream = Stream {
                kind: StreamKind::Project,
                id: project.number(),
            };
            Ok(View::TaskEvents {
                events: history::events_of_stream(reader, stream, *after, *limit)?,
            })
        }
        Query::Papers { tasks } => Ok(View::Papers {
            papers: tasks
                .iter()
                .map(|task| papers::kept(reader, *task))
                .collect::<Result<_, _>>()?,
        }),
        Query::Effects { after, limit } => Ok(View::Effects {
            effects: reader.effects(*after, *limit)?,
        }),
        Query::LogBehind { position } => Ok(View::LogBehind {
            goes_on: !reader.events(None, *position, 1)?.is_empty(),
        }),
        Query::Quotas => {
            let quotas = reader.quotas()?.into_iter().map(|quota| {
                let used = verbs::used(reader, &quota.key)?;
                Ok((quota, used))
            });
            Ok(View::Quotas {
                quotas: quotas.collect::<Result<_, Error>>()?,
                month: domain::quota::month_of(reader.looked_at()),
            })
        }
        Query::Locks { project, about } => Ok(View::Locks {
            notice: locks::answer(reader, *project, about)?,
        }),
        Query::Agenda { project, now } => Ok(View::Agenda {
            ready: reader.ready(*project, 1, now)?.len(),
            next_due_millis: reader.next_due_millis(*project, now)?,
        }),
    }
}

/// The task, not deleted, that a person means: by whole id, by the end of one, or by key.
pub fn resolve(reader: &dyn Reader, project: ProjectId, name: &str) -> Result<TaskId, Error> {
    let missing = || Error::not_found("Task", name);
    let reference = name
        .parse::<TaskRef>()
        .map_err(|error| Error::invalid("task id", error.to_string()))?;
    match reference {
        TaskRef::Id(id) => {
            let is_meant = |task: &Task| task.project == project && task.deleted_at.is_none();
            if let Some(task) = reader.task(id)?.filter(is_meant) {
                return Ok(task.id);
            }
            let alias = reader.task_of_key(project, &imported_key(id))?;
            alias.map(|task| task.id).ok_or_else(missing)
        }
        TaskRef::Key(key) => {
            let named = reader.task_of_key(project, &key)?.ok_or_else(missing)?;
            newest_attempt(reader, &named)
        }
        TaskRef::Suffix(suffix) => {
            let found = reader.tasks_of_suffix(project, &suffix, 3)?;
            match found.as_slice() {
                [] => Err(missing()),
                [id] => Ok(*id),
                several => Err(Error::Ambiguous {
                    name: name.to_owned(),
                    candidates: several.iter().map(ToString::to_string).collect(),
                }),
            }
        }
    }
}

/// A key is a name for the work: after a retry it means the newest attempt that is not deleted.
fn newest_attempt(reader: &dyn Reader, named: &Task) -> Result<TaskId, Error> {
    if named.chain.retried_by.is_none() {
        return Ok(named.id);
    }
    let chain = reader.chain(named.chain.root)?;
    let newest = chain.iter().rev().find(|task| task.deleted_at.is_none());
    Ok(newest.unwrap_or(named).id)
}

/// The deleted task that a person means; a purged one by its whole id only.
fn resolve_deleted(reader: &dyn Reader, project: ProjectId, name: &str) -> Result<TaskId, Error> {
    let reference = name
        .parse::<TaskRef>()
        .map_err(|error| Error::invalid("task id", error.to_string()))?;
    let is_meant = |task: &Task| match &reference {
        TaskRef::Id(id) => task.id == *id,
        TaskRef::Key(key) => task.spec.key.as_ref() == Some(key),
        TaskRef::Suffix(suffix) => task.id.number().to_string().ends_with(suffix.as_str()),
    };
    if let TaskRef::Id(id) = &reference
        && let Some(task) = reader.task(*id)?.filter(|task| task.project == project)
    {
        return Ok(task.id);
    }
    let mut filter = TaskFilter {
        project: Some(project),
        deleted: Deleted::Only,
        newest_first: true,
        ..TaskFilter::default()
    };
    let mut found = Vec::new();
    loop {
        let tasks = reader.tasks(&filter, DELETED_AT_ONCE)?;
        filter.after = tasks.last().map(|task| task.id);
        let is_last = tasks.len() < DELETED_AT_ONCE;
        found.extend(
            tasks
                .iter()
                .filter(|task| is_meant(task))
                .map(|task| task.id),
        );
        if is_last {
            break;
        }
    }
    match found.as_slice() {
        [] => Err(Error::not_found("Task", name)),
        [id] => Ok(*id),
        several => Err(Error::Ambiguous {
            name: name.to_owned(),
            candidates: several.iter().take(3).map(ToString::to_string).collect(),
        }),
    }
}

/// The key under which an imported task is found whose own id was taken.
#[must_use]
pub fn imported_key(source: TaskId) -> Key {
    Key::try_from(format!("imported_{}", source.number())).expect("short, plain, and no id")
}

/// The newest task of a chain: the one that speaks for it.
pub fn chain_tail(reader: &dyn Reader, root: TaskId) -> Result<Option<Task>, Error> {
    Ok(reader.chain(root)?.pop())
}

fn blocked_by(reader: &dyn Reader, task: &Task) -> Result<Vec<(TaskId, TaskStatus)>, Error> {
    let mut waiting = Vec::new();
    if task.status() != TaskStatus::Pending {
        return Ok(waiting);
    }
    for dependency in dependencies(reader, task)? {
        if dependency.status() != TaskStatus::Completed {
            waiting.push((dependency.id, dependency.status()));
        }
    }
    Ok(waiting)
}

fn dependencies(reader: &dyn Reader, task: &Task) -> Result<Vec<Task>, Error> {
    let mut found = Vec::new();
    for root in &task.spec.depends_on {
        found.extend(chain_tail(reader, *root)?);
    }
    Ok(found)
}

fn view(reader: &dyn Reader, rooms: &Rooms, task: Task) -> Result<TaskView, Error> {
    let session = reader.sessions_of(task.id)?.pop();
    let blocked_by = blocked_by(reader, &task)?;
    let waits = task.status() == TaskStatus::Pending && blocked_by.is_empty();
    let quotas = rooms.in_the_way(task.project, &task.spec.owner);
    Ok(TaskView {
        quotas: quotas.filter(|_| waits).cloned().collect(),
        blocked_by,
        session,
        task,
    })
}

fn known(reader: &dyn Reader, id: TaskId) -> Result<Task, Error> {
    let task = reader.task(id)?;
    task.ok_or_else(|| Error::not_found("Task", id))
}

fn standing(reader: &dyn Reader, id: TaskId, retries: bool) -> Result<Standing, Error> {
    let mut task = known(reader, id)?;
    let own_key = task.spec.key.clone();
    while let (true, Some(next)) = (retries && task.limits.auto_retry, task.chain.retried_by) {
        task = known(reader, next)?;
    }
    Ok(Standing {
        task: task.id,
        status: task.status(),
        retry_of: task.chain.retry_of,
        kind: task.spec.kind,
        key: task.spec.key.or(own_key),
    })
}

fn details(reader: &dyn Reader, id: TaskId) -> Result<TaskDetails, Error> {
    let task = known(reader, id)?;
    Ok(TaskDetails {
        chain: reader.chain(task.chain.root)?,
        sessions: reader.sessions_of(id)?,
        dependencies: dependencies(reader, &task)?,
        dependants: reader.dependants(task.chain.root)?,
        view: view(reader, &verbs::rooms(reader)?, task)?,
    })
}

/// The project of a directory of a node, or of this machine.
fn project_at(
    reader: &dyn Reader,
    root: &str,
    node: Option<NodeId>,
) -> Result<Option<Project>, Error> {
    let Some(node) = node else {
        return reader.project_at(root);
    };
    let here = checked_out(reader, node)?;
    if let Some(project) = here.into_iter().find(|project| project.root == root) {
        return Ok(Some(project));
    }
    // What came from a store of one machine is on no node yet: the first that writes there takes it.
    let Some(project) = reader.project_at(root)? else {
        return Ok(None);
    };
    let checkouts = reader.checkouts(None)?;
    let is_somewhere = checkouts.iter().any(|known| known.project == project.id);
    Ok((!is_somewhere).then_some(project))
}

fn checked_out(reader: &dyn Reader, node: NodeId) -> Result<Vec<Project>, Error> {
    let mut found = Vec::new();
    for checkout in reader.checkouts(Some(node))? {
        if let Some(project) = reader.project(checkout.project)? {
            found.push(Project {
                root: checkout.root,
                ..project
            });
        }
    }
    Ok(found)
}

fn nodes(reader: &dyn Reader) -> Result<View, Error> {
    let mut nodes = Vec::new();
    for node in reader.nodes()? {
        nodes.push(NodeView {
            sessions: reader.occupied(Some(node.id))?,
            projects: checked_out(reader, node.id)?,
            node,
        });
    }
    Ok(View::Nodes {
        nodes,
        leader: reader.leader()?,
    })
}

fn overview(reader: &dyn Reader, project: Project, limit: usize) -> Result<Overview, Error> {
    let tasks = newest(reader, project.id, limit)?;
    let rooms = verbs::rooms(reader)?;
    let lines = tasks
        .into_iter()
        .map(|task| Ok(TaskLine::from(&view(reader, &rooms, task)?)));
    Ok(Overview {
        live: reader.live_sessions(Some(project.id))?,
        tasks: lines.collect::<Result<_, Error>>()?,
        counts: reader.counts(project.id)?,
        project,
    })
}

fn status(reader: &dyn Reader, project: ProjectId, limit: usize) -> Result<View, Error> {
    let rooms = verbs::rooms(reader)?;
    let tasks = newest(reader, project, limit)?
        .into_iter()
        .map(|task| view(reader, &rooms, task))
        .collect::<Result<_, _>>()?;
    Ok(View::Status {
        tasks,
        counts: reader.counts(project)?,
    })
}

/// Everything that has not ended, and the newest, within a limit for each; oldest first.
fn newest(reader: &dyn Reader, project: ProjectId, limit: usize) -> Result<Vec<Task>, Error> {
    let filter = |statuses: &[TaskStatus]| TaskFilter {
        project: Some(project),
        statuses: statuses.to_vec(),
        newest_first: true,
        ..TaskFilter::default()
    };
    let mut tasks = reader.tasks(&filter(&[TaskStatus::Running]), limit)?;
    tasks.extend(reader.tasks(&filter(&[TaskStatus::Pending]), limit)?);
    tasks.extend(reader.tasks(&filter(&[]), limit)?);
    tasks.sort_by_key(|task| task.id);
    tasks.dedup_by_key(|task| task.id);
    Ok(tasks)
}
