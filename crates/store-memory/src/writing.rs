//! Writing, with a way back: every change notes how to undo it.

use std::collections::BTreeMap;

use app::{
    command::{self, Meta, Reply, Request},
    error::Error,
    event::{self, Entry, NewEvent, Stream},
    ports::store::{Effect, IdKind, Mark, Reader, Tx, counted_as},
    query::{Counts, TaskFilter},
    restore::Told,
};
use domain::{
    id::{self, Key, LockId, ProjectId, SessionId, TaskId},
    lock::{Lock, LockState, Resource, Token, Totals},
    plan::{Candidate, Occupant},
    project::Project,
    quota::{Quota, QuotaKey},
    session::Session,
    task::{Task, TaskStatus},
    time::{Now, Timestamp},
};

use crate::state::State;

/// How long the answer to an idempotency key is kept.
const ANSWERS_KEPT_MILLIS: i64 = 24 * 60 * 60 * 1_000;

type Undo = Box<dyn FnOnce(&mut State)>;
pub(crate) type Field<K, V> = fn(&mut State) -> &mut BTreeMap<K, V>;

/// A transaction under the store's lock.
pub(crate) struct Transaction<'s> {
    state: &'s mut State,
    now: Now,
    undo: Vec<Undo>,
}

impl<'s> Transaction<'s> {
    pub(crate) fn new(state: &'s mut State, now: Now) -> Self {
        Self {
            state,
            now,
            undo: Vec::new(),
        }
    }

    pub(crate) fn commit(self) {
        if !self.undo.is_empty() {
            self.state.generation += 1;
        }
    }

    pub(crate) fn roll_back(self) {
        for undo in self.undo.into_iter().rev() {
            undo(self.state);
        }
    }

    /// Applies a request, or finds the answer that its key got before.
    pub(crate) fn apply(&mut self, request: &Request) -> Result<Reply, Error> {
        let Some(key) = &request.meta.idempotency_key else {
            return command::apply(self, request);
        };
        let oldest = self
            .now
            .wall
            .as_millis()
            .saturating_sub(ANSWERS_KEPT_MILLIS);
        let kept = self.state.answers.get(key);
        if let Some((_, reply)) = kept.filter(|(at, _)| at.as_millis() > oldest) {
            let reply = reply.clone();
            for effect in &request.done {
                self.remove_effect(effect)?;
            }
            return Ok(reply);
        }
        let reply = command::apply(self, request)?;
        let answer = (self.now.wall, reply.clone());
        self.put(|state| &mut state.answers, key.clone(), answer);
        Ok(reply)
    }

    pub(crate) fn state(&self) -> &State {
        self.state
    }

    pub(crate) fn put<K: Ord + Clone + 'static, V: 'static>(
        &mut self,
        field: Field<K, V>,
        key: K,
        value: V,
    ) {
        let before = field(self.state).insert(key.clone(), value);
        self.undo.push(Box::new(move |state| {
            match before {
                Some(value) => field(state).insert(key, value),
                None => field(state).remove(&key),
            };
        }));
    }

    pub(crate) fn take<K: Ord + Clone + 'static, V: 'static>(
        &mut self,
        field: Field<K, V>,
        key: &K,
    ) {
        let Some(value) = field(self.state).remove(key) else {
            return;
        };
        let key = key.clone();
        self.undo.push(Box::new(move |state| {
            field(state).insert(key, value);
        }));
    }

    /// Keeps the sets by which a task is found.
    fn index(&mut self, before: Option<&Task>, task: &Task) {
        let place = (task.project, task.id);
        let status = task.deleted_at.is_none().then(|| task.status());
        if status == Some(TaskStatus::Pending) {
            self.put(|state| &mut state.pending, place, ());
        } else {
            self.take(|state| &mut state.pending, &place);
        }
        if status == Some(TaskStatus::Running) {
            self.put(|state| &mut state.running, place, ());
        } else {
            self.take(|state| &mut state.running, &place);
        }
        if let Some(key) = task.spec.key.clone() {
            if task.deleted_at.is_none() {
                self.put(|state| &mut state.keys, (task.project, key), task.id);
            } else {
                self.take(|state| &mut state.keys, &(task.project, key));
            }
        }
        self.count(task.project, before.and_then(counted_as), false);
        self.count(task.project, counted_as(task), true);
    }

    fn take_lock_paths(&mut self, id: LockId) {
        let Some((project, lock)) = self.state.locks.get(&id).cloned() else {
            return;
        };
        for resource in &lock.resources {
            let place = (project, resource.path().to_owned(), id);
            self.take(|state| &mut state.lock_paths, &place);
        }
    }

    fn count(&mut self, project: ProjectId, status: Option<TaskStatus>, up: bool) {
        let Some(status) = status else { return };
        let counter = (project, status);
        let present = self.state.counters.get(&counter).copied().unwrap_or(0);
        let next = if up {
            present + 1
        } else {
            present.saturating_sub(1)
        };
        self.put(|state| &mut state.counters, counter, next);
    }
}

fn conflict(what: impl std::fmt::Display) -> Error {
    Error::Conflict {
        what: what.to_string(),
    }
}

impl Tx for Transaction<'_> {
    fn now(&self) -> &Now {
        &self.now
    }

    fn next_number(&mut self, kind: IdKind) -> Result<u64, Error> {
        let last = self.state.numbers.get(&kind).copied().unwrap_or(0);
        let next = id::next_number(last, self.now.wall);
        self.put(|state| &mut state.numbers, kind, next);
        Ok(next)
    }

    fn insert_project(&mut self, project: &Project) -> Result<(), Error> {
        self.put(|state| &mut state.projects, project.id, project.clone());
        Ok(())
    }

    fn insert_task(&mut self, task: &Task) -> Result<(), Error> {
        if self.state.tasks.contains_key(&task.id) {
            return Err(conflict(task.id));
        }
        self.put(|state| &mut state.tasks, task.id, task.clone());
        for root in &task.spec.depends_on {
            self.put(|state| &mut state.dependants, (*root, task.id), ());
        }
        if task.chain.retry_of.is_some() {
            self.put(|state| &mut state.retries, (task.chain.root, task.id), ());
        }
        self.index(None, task);
        Ok(())
    }

    fn update_task(&mut self, task: &Task, expected: u64) -> Result<(), Error> {
        let stored = self.state.tasks.get(&task.id).cloned();
        let Some(before) = stored.filter(|stored| stored.version == expected) else {
            return Err(conflict(task.id));
        };
        self.put(|state| &mut state.tasks, task.id, task.clone());
        self.index(Some(&before), task);
        Ok(())
    }

    /// [`Self::update_task`] replaces all of it.
    fn rewrite_spec(&mut self, _task: &Task) -> Result<(), Error> {
        Ok(())
    }

    fn drop_payloads(&mut self, stream: Stream) -> Result<(), Error> {
        let range = (stream, 0)..=(stream, u64::MAX);
        let positions: Vec<u64> = self.state.streams.range(range).map(|of| *of.1).collect();
        for position in positions {
            if let Some(entry) = self.state.log.get(&position).cloned() {
                self.put(|state| &mut state.log, position, entry.without_payload());
            }
        }
        Ok(())
    }

    fn release_dependants(&mut self, _root: TaskId) -> Result<(), Error> {
        Ok(())
    }

    fn insert_session(&mut self, session: &Session) -> Result<(), Error> {
        if self.state.sessions.contains_key(&session.id) {
            return Err(conflict(session.id));
        }
        let place = (session.task, session.id);
        self.put(|state| &mut state.sessions_of, place, ());
        self.put(|state| &mut state.sessions, session.id, session.clone());
        if !session.status.is_terminal() {
            self.put(|state| &mut state.live, session.id, ());
        }
        Ok(())
    }

    fn update_session(&mut self, session: &Session, expected: u64) -> Result<(), Error> {
        let stored = self.state.sessions.get(&session.id);
        if stored.is_none_or(|stored| stored.version != expected) {
            return Err(conflict(session.id));
        }
        self.put(|state| &mut state.sessions, session.id, session.clone());
        if session.status.is_terminal() {
            self.take(|state| &mut state.live, &session.id);
        }
        Ok(())
    }

    fn append(&mut self, meta: &Meta, event: NewEvent) -> Result<u64, Error> {
        let heads = self.state.heads(event.stream);
        let entry = event::compose(&heads, event, meta, self.now.wall);
        let (position, place) = (entry.position, (entry.stream, entry.seq));
        self.put(|state| &mut state.streams, place, position);
        self.put(|state| &mut state.log, position, entry);
        Ok(position)
    }

    fn append_again(&mut self, told: &Told) -> Result<Entry, Error> {
        let entry = event::seal_again(&self.state.heads(told.stream), told);
        let (position, place) = (entry.position, (told.stream, entry.seq));
        self.put(|state| &mut state.streams, place, position);
        self.put(|state| &mut state.log, position, entry.clone());
        Ok(entry)
    }

    fn raise_number(&mut self, kind: IdKind, above: u64) -> Result<(), Error> {
        let last = self.state.numbers.get(&kind).copied().unwrap_or(0);
        self.put(|state| &mut state.numbers, kind, last.max(above));
        Ok(())
    }

    fn put_lock(&mut self, project: ProjectId, lock: &Lock) -> Result<(), Error> {
        self.take_lock_paths(lock.id);
        if !matches!(lock.state, LockState::Gone { .. }) {
            for resource in &lock.resources {
                let place = (project, resource.path().to_owned(), lock.id);
                self.put(|state| &mut state.lock_paths, place, resource.is_tree());
            }
        }
        self.put(|state| &mut state.locks, lock.id, (project, lock.clone()));
        Ok(())
    }

    fn remove_lock(&mut self, id: LockId) -> Result<(), Error> {
        self.take_lock_paths(id);
        self.take(|state| &mut state.locks, &id);
        Ok(())
    }

    fn forget_locks(&mut self, project: ProjectId, now: &Now) -> Result<(), Error> {
        let gone: Vec<LockId> = self
            .state
            .locks
            .values()
            .filter(|(of, lock)| {
                let is_gone = matches!(lock.state, LockState::Gone { .. });
                *of == project && is_gone && lock.is_over(&now.moment)
            })
            .map(|(_, lock)| lock.id)
            .collect();
        for id in gone {
            self.take(|state| &mut state.locks, &id);
        }
        Ok(())
    }

    fn set_lock_totals(&mut self, project: ProjectId, totals: &Totals) -> Result<(), Error> {
        self.put(|state| &mut state.lock_totals, project, *totals);
        Ok(())
    }

    fn set_mark(&mut self, mark: Mark, value: u64) -> Result<(), Error> {
        self.put(|state| &mut state.marks, mark, value);
        Ok(())
    }

    fn add_effect(&mut self, effect: &Effect) -> Result<(), Error> {
        let owed = self.state.effects.get(&effect.task).copied().unwrap_or(0);
        let version = owed.max(effect.version);
        self.put(|state| &mut state.effects, effect.task, version);
        Ok(())
    }

    fn put_quota(&mut self, quota: &Quota) -> Result<(), Error> {
        self.put(|state| &mut state.quotas, quota.key.clone(), quota.clone());
        Ok(())
    }

    fn remove_quota(&mut self, key: &QuotaKey) -> Result<(), Error> {
        self.take(|state| &mut state.quotas, key);
        Ok(())
    }

    fn add_tokens(
        &mut self,
        month: u32,
        project: ProjectId,
        owner: &str,
        tokens: u64,
    ) -> Result<(), Error> {
        let key = (month, project, owner.to_owned());
        let counted = self.state.tokens.get(&key).copied().unwrap_or(0);
        self.put(
            |state| &mut state.tokens,
            key,
            counted.saturating_add(tokens),
        );
        Ok(())
    }

    fn remove_effect(&mut self, effect: &Effect) -> Result<(), Error> {
        let owed = self.state.effects.get(&effect.task).copied();
        if owed.is_some_and(|owed| owed <= effect.version) {
            self.take(|state| &mut state.effects, &effect.task);
        }
        Ok(())
    }
}

impl Reader for Transaction<'_> {
    fn project(&self, id: ProjectId) -> Result<Option<Project>, Error> {
        self.state.project(id)
    }

    fn project_at(&self, root: &str) -> Result<Option<Project>, Error> {
        self.state.project_at(root)
    }

    fn projects(&self) -> Result<Vec<Project>, Error> {
        self.state.projects()
    }

    fn task(&self, id: TaskId) -> Result<Option<Task>, Error> {
        self.state.task(id)
    }

    fn task_of_key(&self, project: ProjectId, key: &Key) -> Result<Option<Task>, Error> {
        self.state.task_of_key(project, key)
    }

    fn tasks_of_suffix(
        &self,
        project: ProjectId,
        suffix: &str,
        limit: usize,
    ) -> Result<Vec<TaskId>, Error> {
        self.state.tasks_of_suffix(project, suffix, limit)
    }

    fn tasks(&self, filter: &TaskFilter, limit: usize) -> Result<Vec<Task>, Error> {
        self.state.tasks(filter, limit)
    }

    fn counts(&self, project: ProjectId) -> Result<Counts, Error> {
        self.state.counts(project)
    }

    fn chain(&self, root: TaskId) -> Result<Vec<Task>, Error> {
        self.state.chain(root)
    }

    fn dependants(&self, root: TaskId) -> Result<Vec<TaskId>, Error> {
        self.state.dependants(root)
    }

    fn ready(
        &self,
        project: Option<ProjectId>,
        per_group: usize,
        now: &Now,
    ) -> Result<Vec<Candidate>, Error> {
        self.state.ready(project, per_group, now)
    }

    fn next_due_millis(&self, project: Option<ProjectId>, now: &Now) -> Result<Option<u64>, Error> {
        self.state.next_due_millis(project, now)
    }

    fn running(&self, project: Option<ProjectId>) -> Result<Vec<Occupant>, Error> {
        self.state.running(project)
    }

    fn session(&self, id: SessionId) -> Result<Option<Session>, Error> {
        self.state.session(id)
    }

    fn sessions_of(&self, task: TaskId) -> Result<Vec<Session>, Error> {
        self.state.sessions_of(task)
    }

    fn live_sessions(&self, project: Option<ProjectId>) -> Result<Vec<Session>, Error> {
        self.state.live_sessions(project)
    }

    fn events(
        &self,
        stream: Option<Stream>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        self.state.events(stream, after, limit)
    }

    fn effects(&self, after: Option<TaskId>, limit: usize) -> Result<Vec<Effect>, Error> {
        self.state.effects(after, limit)
    }

    fn lock(&self, project: ProjectId, id: LockId) -> Result<Option<Lock>, Error> {
        self.state.lock(project, id)
    }

    fn lock_of_token(&self, project: ProjectId, token: Token) -> Result<Option<Lock>, Error> {
        self.state.lock_of_token(project, token)
    }

    fn locks_overlapping(
        &self,
        project: ProjectId,
        resources: &[Resource],
    ) -> Result<Vec<Lock>, Error> {
        self.state.locks_overlapping(project, resources)
    }

    fn locks_of_holder(&self, project: ProjectId, holder: &str) -> Result<Vec<Lock>, Error> {
        self.state.locks_of_holder(project, holder)
    }

    fn locks(&self, project: ProjectId, waiting_only: bool) -> Result<Vec<Lock>, Error> {
        self.state.locks(project, waiting_only)
    }

    fn lock_totals(&self, project: ProjectId) -> Result<Totals, Error> {
        self.state.lock_totals(project)
    }

    fn mark(&self, mark: Mark) -> Result<u64, Error> {
        self.state.mark(mark)
    }

    fn looked_at(&self) -> Timestamp {
        self.now.wall
    }

    fn quotas(&self) -> Result<Vec<Quota>, Error> {
        self.state.quotas()
    }

    fn active(&self, project: Option<ProjectId>, owner: Option<&str>) -> Result<u64, Error> {
        self.state.active(project, owner)
    }

    fn queued(&self, project: Option<ProjectId>, owner: Option<&str>) -> Result<u64, Error> {
        self.state.queued(project, owner)
    }

    fn tokens(
        &self,
        month: u32,
        project: Option<ProjectId>,
        owner: Option<&str>,
    ) -> Result<u64, Error> {
        self.state.tokens(month, project, owner)
    }
}
