//! Reading.

use std::collections::BTreeMap;

use app::{
    error::Error,
    event::{Entry, Stream},
    ports::store::{Effect, Mark, Reader},
    query::{Counts, Deleted, TaskFilter},
};
use domain::{
    agent::AgentName,
    id::{Key, LockId, ProjectId, SessionId, TaskId},
    lock::{Lock, LockState, Resource, Token, Totals},
    plan::{Candidate, Occupant},
    project::Project,
    quota::Quota,
    session::Session,
    task::{Priority, Task, TaskKind, TaskStatus},
    time::{Now, Timestamp},
};

use crate::state::{State, least_session, least_task};

impl State {
    /// The managed tasks that are pending and wait for no chain, oldest first.
    fn unblocked(&self, project: Option<ProjectId>) -> impl Iterator<Item = &Task> {
        self.pending
            .keys()
            .filter(move |(of, _)| project.is_none_or(|wanted| wanted == *of))
            .filter_map(|(_, id)| self.tasks.get(id))
            .filter(|task| task.spec.kind == TaskKind::Managed && !self.is_blocked(task))
    }
}

impl State {
    fn locks_of(&self, project: ProjectId) -> impl Iterator<Item = &Lock> {
        let own = self.locks.values().filter(move |(of, _)| *of == project);
        own.map(|(_, lock)| lock)
    }

    fn at_path(&self, project: ProjectId, resource: &Resource) -> Vec<LockId> {
        let first = LockId::from_number(1).expect("1 is an id");
        let exactly = |path: &str, tree_only: bool| {
            let path = path.to_owned();
            let from = (project, path.clone(), first);
            let there = self.lock_paths.range(from..);
            let there =
                there.take_while(move |((of, other, _), _)| *of == project && *other == path);
            let there = there.filter(move |(_, is_tree)| **is_tree || !tree_only);
            there.map(|((_, _, id), _)| *id).collect::<Vec<_>>()
        };
        let mut found = exactly(resource.path(), false);
        for above in resource.above() {
            found.extend(exactly(above, true));
        }
        if resource.is_tree() {
            let (from, to) = resource.beneath();
            let beneath = self
                .lock_paths
                .range((project, from, first)..(project, to, first));
            found.extend(beneath.map(|((_, _, id), _)| *id));
        }
        found
    }
}

fn waited(task: &Task, now: &Now) -> u64 {
    let created = task.created_at;
    let since = task
        .not_before
        .as_ref()
        .map_or(created, |due| due.wall.max(created));
    let millis = now.wall.as_millis().saturating_sub(since.as_millis());
    u64::try_from(millis).unwrap_or(0)
}

fn is_of(own: ProjectId, who: &str, project: Option<ProjectId>, owner: Option<&str>) -> bool {
    project.is_none_or(|project| project == own) && owner.is_none_or(|owner| owner == who)
}

fn number_of<'a>(
    tasks: impl Iterator<Item = &'a Task>,
    project: Option<ProjectId>,
    owner: Option<&str>,
) -> u64 {
    let of = tasks.filter(|task| is_of(task.project, &task.spec.owner, project, owner));
    u64::try_from(of.count()).unwrap_or(u64::MAX)
}

impl Reader for State {
    fn project(&self, id: ProjectId) -> Result<Option<Project>, Error> {
        Ok(self.projects.get(&id).cloned())
    }

    fn project_at(&self, root: &str) -> Result<Option<Project>, Error> {
        let found = self.projects.values().find(|project| project.root == root);
        Ok(found.cloned())
    }

    fn projects(&self) -> Result<Vec<Project>, Error> {
        Ok(self.projects.values().cloned().collect())
    }

    fn task(&self, id: TaskId) -> Result<Option<Task>, Error> {
        Ok(self.tasks.get(&id).cloned())
    }

    fn task_of_key(&self, project: ProjectId, key: &Key) -> Result<Option<Task>, Error> {
        let id = self.keys.get(&(project, key.clone()));
        Ok(id.and_then(|id| self.tasks.get(id)).cloned())
    }

    fn tasks_of_suffix(
        &self,
        project: ProjectId,
        suffix: &str,
        limit: usize,
    ) -> Result<Vec<TaskId>, Error> {
        let found = self
            .tasks
            .values()
            .filter(|task| task.project == project && task.deleted_at.is_none())
            .filter(|task| task.id.number().to_string().ends_with(suffix))
            .map(|task| task.id);
        Ok(found.take(limit).collect())
    }

    fn tasks(&self, filter: &TaskFilter, limit: usize) -> Result<Vec<Task>, Error> {
        let matches = |task: &&Task| {
            let behind = filter.after.is_none_or(|after| {
                if filter.newest_first {
                    task.id < after
                } else {
                    task.id > after
                }
            });
            let listed = match (filter.deleted, task.deleted_at) {
                (Deleted::Only, None) | (Deleted::Without, Some(_)) => false,
                (_, None) => task.archived_at.is_some() == filter.archived,
                (_, Some(_)) => task.purged_at.is_none(),
            };
            behind
                && listed
                && filter.project.is_none_or(|project| project == task.project)
                && (filter.statuses.is_empty() || filter.statuses.contains(&task.status()))
        };
        Ok(if filter.newest_first {
            let newest = self.tasks.values().rev();
            newest.filter(matches).take(limit).cloned().collect()
        } else {
            let oldest = self.tasks.values();
            oldest.filter(matches).take(limit).cloned().collect()
        })
    }

    fn counts(&self, project: ProjectId) -> Result<Counts, Error> {
        Ok(self
            .counters
            .iter()
            .filter(|((of, _), count)| *of == project && **count > 0)
            .map(|((_, status), count)| (*status, *count))
            .collect())
    }

    fn chain(&self, root: TaskId) -> Result<Vec<Task>, Error> {
        Ok(self.chain_of(root).cloned().collect())
    }

    fn dependants(&self, root: TaskId) -> Result<Vec<TaskId>, Error> {
        Ok(Self::seconds(&self.dependants, root, least_task())
            .filter(|id| {
                let task = self.tasks.get(id);
                task.is_some_and(|task| task.deleted_at.is_none())
            })
            .collect())
    }

    fn ready(
        &self,
        project: Option<ProjectId>,
        per_group: usize,
        now: &Now,
    ) -> Result<Vec<Candidate>, Error> {
        let mut taken: BTreeMap<(ProjectId, Priority, &AgentName, &str), usize> = BTreeMap::new();
        let mut found = Vec::new();
        for task in self.unblocked(project) {
            if task
                .not_before
                .as_ref()
                .is_some_and(|due| !due.has_come(now))
            {
                continue;
            }
            let spec = &task.spec;
            let group = (
                task.project,
                spec.priority,
                &spec.agent,
                spec.owner.as_str(),
            );
            let count = taken.entry(group).or_default();
            if *count < per_group {
                *count += 1;
                found.push(Candidate::of(task, waited(task, now)));
            }
        }
        Ok(found)
    }

    fn next_due_millis(&self, project: Option<ProjectId>, now: &Now) -> Result<Option<u64>, Error> {
        let left = self
            .unblocked(project)
            .filter_map(|task| task.not_before.as_ref())
            .map(|due| due.millis_left(now));
        Ok(left.filter(|left| *left > 0).min())
    }

    fn running(&self, project: Option<ProjectId>) -> Result<Vec<Occupant>, Error> {
        Ok(self
            .running
            .keys()
            .filter(|(of, _)| project.is_none_or(|wanted| wanted == *of))
            .filter_map(|(_, id)| self.tasks.get(id))
            .filter(|task| task.spec.kind == TaskKind::Managed)
            .map(|task| Occupant {
                agent: task.spec.agent.clone(),
                owner: task.spec.owner.clone(),
            })
            .collect())
    }

    fn session(&self, id: SessionId) -> Result<Option<Session>, Error> {
        Ok(self.sessions.get(&id).cloned())
    }

    fn sessions_of(&self, task: TaskId) -> Result<Vec<Session>, Error> {
        Ok(Self::seconds(&self.sessions_of, task, least_session())
            .filter_map(|id| self.sessions.get(&id).cloned())
            .collect())
    }

    fn live_sessions(&self, project: Option<ProjectId>) -> Result<Vec<Session>, Error> {
        Ok(self
            .live
            .keys()
            .filter_map(|id| self.sessions.get(id))
            .filter(|session| project.is_none_or(|wanted| wanted == session.project))
            .cloned()
            .collect())
    }

    fn events(
        &self,
        stream: Option<Stream>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        Ok(match stream {
            None => {
                let entries = self.log.range(after.saturating_add(1)..);
                entries
                    .map(|(_, entry)| entry)
                    .take(limit)
                    .cloned()
                    .collect()
            }
            Some(stream) => self
                .streams
                .range((stream, 0)..=(stream, u64::MAX))
                .map(|(_, position)| *position)
                .filter(|position| *position > after)
                .filter_map(|position| self.log.get(&position).cloned())
                .take(limit)
                .collect(),
        })
    }

    fn effects(&self, after: Option<TaskId>, limit: usize) -> Result<Vec<Effect>, Error> {
        let owed = self.effects.iter();
        let behind = owed.filter(|(task, _)| after.is_none_or(|after| **task > after));
        let effects = behind.map(|(task, version)| Effect {
            task: *task,
            version: *version,
        });
        Ok(effects.take(limit).collect())
    }

    fn lock(&self, project: ProjectId, id: LockId) -> Result<Option<Lock>, Error> {
        let found = self.locks.get(&id).filter(|(of, _)| *of == project);
        Ok(found.map(|(_, lock)| lock.clone()))
    }

    fn lock_of_token(&self, project: ProjectId, token: Token) -> Result<Option<Lock>, Error> {
        let has = |lock: &&Lock| match &lock.state {
            LockState::Held { token: own, .. } => *own == token,
            LockState::Gone { token: own, .. } => *own == Some(token),
            LockState::Waiting { .. } => false,
        };
        Ok(self.locks_of(project).find(has).cloned())
    }

    fn locks_overlapping(
        &self,
        project: ProjectId,
        resources: &[Resource],
    ) -> Result<Vec<Lock>, Error> {
        let mut found = BTreeMap::new();
        for resource in resources {
            for id in self.at_path(project, resource) {
                found.extend(self.locks.get(&id).map(|(_, lock)| (id, lock.clone())));
            }
        }
        Ok(found.into_values().collect())
    }

    fn locks_of_holder(&self, project: ProjectId, holder: &str) -> Result<Vec<Lock>, Error> {
        let of = |lock: &&Lock| {
            lock.holder.to_string() == holder && !matches!(lock.state, LockState::Gone { .. })
        };
        Ok(self.locks_of(project).filter(of).cloned().collect())
    }

    fn locks(&self, project: ProjectId, waiting_only: bool) -> Result<Vec<Lock>, Error> {
        let is_meant = |lock: &&Lock| match &lock.state {
            LockState::Waiting { .. } => true,
            LockState::Held { .. } => !waiting_only,
            LockState::Gone { .. } => false,
        };
        Ok(self.locks_of(project).filter(is_meant).cloned().collect())
    }

    fn lock_totals(&self, project: ProjectId) -> Result<Totals, Error> {
        Ok(self.lock_totals.get(&project).copied().unwrap_or_default())
    }

    fn mark(&self, mark: Mark) -> Result<u64, Error> {
        Ok(self.marks.get(&mark).copied().unwrap_or(0))
    }

    fn looked_at(&self) -> Timestamp {
        self.looked_at
    }

    fn quotas(&self) -> Result<Vec<Quota>, Error> {
        Ok(self.quotas.values().cloned().collect())
    }

    fn active(&self, project: Option<ProjectId>, owner: Option<&str>) -> Result<u64, Error> {
        let live = self.live.keys().filter_map(|id| self.sessions.get(id));
        let owners = live.filter_map(|session| self.tasks.get(&session.task));
        Ok(number_of(owners, project, owner))
    }

    fn queued(&self, project: Option<ProjectId>, owner: Option<&str>) -> Result<u64, Error> {
        let listed = self.tasks.values().filter(|task| {
            let counted = app::ports::store::counted_as(task);
            counted == Some(TaskStatus::Pending)
        });
        Ok(number_of(listed, project, owner))
    }

    fn tokens(
        &self,
        month: u32,
        project: Option<ProjectId>,
        owner: Option<&str>,
    ) -> Result<u64, Error> {
        let counted = self
            .tokens
            .iter()
            .filter(|((of, own, who), _)| *of == month && is_of(*own, who, project, owner));
        Ok(counted
            .map(|(_, tokens)| *tokens)
            .fold(0, u64::saturating_add))
    }
}
