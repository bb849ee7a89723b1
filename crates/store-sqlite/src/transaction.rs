//! A transaction as the use cases see it.

mod nodes;

use app::{
    command::{self, Meta, Reply, Request},
    error::Error,
    event::{Entry, NewEvent, Stream},
    ports::store::{Effect, IdKind, Mark, Reader, Tx},
    query::{Counts, TaskFilter},
    restore::Told,
};
use domain::{
    id::{Key, LockId, ProjectId, SessionId, TaskId},
    lock::{Lock, Resource, Token, Totals},
    plan::{Candidate, Occupant},
    project::Project,
    quota::{Quota, QuotaKey},
    session::Session,
    task::Task,
    time::{Moment, Now, Timestamp},
};
use rusqlite::Connection;

use crate::{dependencies, events, locks, pages, quotas, ready, sessions, singles, tasks};

/// An open transaction of a connection; opening and ending it is the store's business.
#[derive(Debug)]
pub(crate) struct Transaction<'c> {
    connection: &'c Connection,
    now: Now,
    writes: bool,
}

impl<'c> Transaction<'c> {
    /// A transaction that only reads.
    pub(crate) fn reading(connection: &'c Connection, now: Now) -> Self {
        Self {
            connection,
            now,
            writes: false,
        }
    }

    /// A transaction that holds the right to write.
    pub(crate) fn writing(connection: &'c Connection, now: Now) -> Self {
        Self {
            connection,
            now,
            writes: true,
        }
    }

    /// From now on tasks are numbered in milliseconds.
    pub(crate) fn number_in_millis(&mut self) -> Result<(), Error> {
        singles::number_in_millis(self.connection)
    }

    /// Applies a request, or finds the answer that its key got before.
    pub(crate) fn apply(&mut self, request: &Request) -> Result<Reply, Error> {
        let Some(key) = &request.meta.idempotency_key else {
            return command::apply(self, request);
        };
        if let Some(reply) = singles::answer_of(self.connection, key, self.now.wall)? {
            for effect in &request.done {
                self.remove_effect(effect)?;
            }
            return Ok(reply);
        }
        let reply = command::apply(self, request)?;
        singles::keep_answer(self.connection, key, &reply, self.now.wall)?;
        Ok(reply)
    }
}

impl Reader for Transaction<'_> {
    fn project(&self, id: ProjectId) -> Result<Option<Project>, Error> {
        singles::project(self.connection, id)
    }

    fn project_at(&self, root: &str) -> Result<Option<Project>, Error> {
        singles::project_at(self.connection, root)
    }

    fn projects(&self) -> Result<Vec<Project>, Error> {
        singles::projects(self.connection)
    }

    fn task(&self, id: TaskId) -> Result<Option<Task>, Error> {
        tasks::get(self.connection, id)
    }

    fn task_of_key(&self, project: ProjectId, key: &Key) -> Result<Option<Task>, Error> {
        tasks::of_key(self.connection, project, key)
    }

    fn tasks_of_suffix(
        &self,
        project: ProjectId,
        suffix: &str,
        limit: usize,
    ) -> Result<Vec<TaskId>, Error> {
        pages::of_suffix(self.connection, project, suffix, limit)
    }

    fn tasks(&self, filter: &TaskFilter, limit: usize) -> Result<Vec<Task>, Error> {
        pages::page(self.connection, filter, limit)
    }

    fn counts(&self, project: ProjectId) -> Result<Counts, Error> {
        singles::counts(self.connection, project)
    }

    fn chain(&self, root: TaskId) -> Result<Vec<Task>, Error> {
        tasks::chain(self.connection, root)
    }

    fn dependants(&self, root: TaskId) -> Result<Vec<TaskId>, Error> {
        dependencies::dependants(self.connection, root)
    }

    fn ready(
        &self,
        project: Option<ProjectId>,
        per_group: usize,
        now: &Now,
    ) -> Result<Vec<Candidate>, Error> {
        if self.writes {
            ready::promote(self.connection, now)?;
            return ready::candidates(self.connection, project, per_group, now);
        }
        let mut found = ready::candidates(self.connection, project, per_group, now)?;
        found.extend(ready::come(self.connection, project, per_group, now)?);
        Ok(found)
    }

    fn next_due_millis(&self, project: Option<ProjectId>, now: &Now) -> Result<Option<u64>, Error> {
        ready::next_due(self.connection, project, now)
    }

    fn running(&self, project: Option<ProjectId>) -> Result<Vec<Occupant>, Error> {
        ready::running(self.connection, project)
    }

    fn session(&self, id: SessionId) -> Result<Option<Session>, Error> {
        sessions::get(self.connection, id)
    }

    fn sessions_of(&self, task: TaskId) -> Result<Vec<Session>, Error> {
        sessions::of_task(self.connection, task)
    }

    fn live_sessions(&self, project: Option<ProjectId>) -> Result<Vec<Session>, Error> {
        sessions::live(self.connection, project)
    }

    fn events(
        &self,
        stream: Option<Stream>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        events::after(self.connection, stream, after, limit)
    }

    fn effects(&self, after: Option<TaskId>, limit: usize) -> Result<Vec<Effect>, Error> {
        singles::effects(self.connection, after, limit)
    }

    fn lock(&self, project: ProjectId, id: LockId) -> Result<Option<Lock>, Error> {
        locks::get(self.connection, project, id)
    }

    fn lock_of_token(&self, project: ProjectId, token: Token) -> Result<Option<Lock>, Error> {
        locks::of_token(self.connection, project, token)
    }

    fn locks_overlapping(
        &self,
        project: ProjectId,
        resources: &[Resource],
    ) -> Result<Vec<Lock>, Error> {
        locks::overlapping(self.connection, project, resources)
    }

    fn locks_in_line(
        &self,
        project: ProjectId,
        resources: &[Resource],
        now: &Moment,
    ) -> Result<Vec<Lock>, Error> {
        locks::in_line(self.connection, project, resources, now)
    }

    fn locks_of_holder(&self, project: ProjectId, holder: &str) -> Result<Vec<Lock>, Error> {
        locks::of_holder(self.connection, project, holder)
    }

    fn locks(&self, project: ProjectId, waiting_only: bool) -> Result<Vec<Lock>, Error> {
        locks::all(self.connection, project, waiting_only)
    }

    fn lock_totals(&self, project: ProjectId) -> Result<Totals, Error> {
        locks::totals(self.connection, project)
    }

    fn mark(&self, mark: Mark) -> Result<u64, Error> {
        singles::mark(self.connection, mark)
    }

    fn looked_at(&self) -> Timestamp {
        self.now.wall
    }

    fn quotas(&self) -> Result<Vec<Quota>, Error> {
        quotas::all(self.connection)
    }

    fn active(&self, project: Option<ProjectId>, owner: Option<&str>) -> Result<u64, Error> {
        quotas::active(self.connection, project, owner)
    }

    fn queued(&self, project: Option<ProjectId>, owner: Option<&str>) -> Result<u64, Error> {
        quotas::queued(self.connection, project, owner)
    }

    fn tokens(
        &self,
        month: u32,
        project: Option<ProjectId>,
        owner: Option<&str>,
    ) -> Result<u64, Error> {
        quotas::tokens(self.connection, month, project, owner)
    }
}

impl Tx for Transaction<'_> {
    fn now(&self) -> &Now {
        &self.now
    }

    fn next_number(&mut self, kind: IdKind) -> Result<u64, Error> {
        singles::next_number(self.connection, kind, self.now.wall)
    }

    fn insert_project(&mut self, project: &Project) -> Result<(), Error> {
        singles::insert_project(self.connection, project)
    }

    fn insert_task(&mut self, task: &Task) -> Result<(), Error> {
        tasks::insert(self.connection, task)
    }

    fn update_task(&mut self, task: &Task, expected: u64) -> Result<(), Error> {
        tasks::update(self.connection, task, expected)
    }

    fn rewrite_spec(&mut self, task: &Task) -> Result<(), Error> {
        tasks::rewrite_spec(self.connection, task)
    }

    fn drop_payloads(&mut self, stream: Stream) -> Result<(), Error> {
        events::drop_payloads(self.connection, stream)
    }

    fn release_dependants(&mut self, root: TaskId) -> Result<(), Error> {
        dependencies::release(self.connection, root)
    }

    fn insert_session(&mut self, session: &Session) -> Result<(), Error> {
        sessions::insert(self.connection, session)
    }

    fn update_session(&mut self, session: &Session, expected: u64) -> Result<(), Error> {
        sessions::update(self.connection, session, expected)
    }

    fn append(&mut self, meta: &Meta, event: NewEvent) -> Result<u64, Error> {
        events::append(self.connection, meta, event, self.now.wall)
    }

    fn append_again(&mut self, told: &Told) -> Result<Entry, Error> {
        events::append_again(self.connection, told)
    }

    fn raise_number(&mut self, kind: IdKind, above: u64) -> Result<(), Error> {
        singles::raise_number(self.connection, kind, above)
    }

    fn put_lock(&mut self, project: ProjectId, lock: &Lock) -> Result<(), Error> {
        locks::put(self.connection, project, lock)
    }

    fn remove_lock(&mut self, id: LockId) -> Result<(), Error> {
        locks::remove(self.connection, id)
    }

    fn forget_locks(&mut self, project: ProjectId, now: &Now) -> Result<(), Error> {
        locks::forget(self.connection, project, now)
    }

    fn set_lock_totals(&mut self, project: ProjectId, totals: &Totals) -> Result<(), Error> {
        locks::set_totals(self.connection, project, totals)
    }

    fn set_mark(&mut self, mark: Mark, value: u64) -> Result<(), Error> {
        singles::set_mark(self.connection, mark, value)
    }

    fn add_effect(&mut self, effect: &Effect) -> Result<(), Error> {
        singles::add_effect(self.connection, effect)
    }

    fn put_quota(&mut self, quota: &Quota) -> Result<(), Error> {
        quotas::put(self.connection, quota)
    }

    fn remove_quota(&mut self, key: &QuotaKey) -> Result<(), Error> {
        quotas::remove(self.connection, key)
    }

    fn add_tokens(
        &mut self,
        month: u32,
        project: ProjectId,
        owner: &str,
        tokens: u64,
    ) -> Result<(), Error> {
        quotas::add_tokens(self.connection, month, project, owner, tokens)
    }

    fn remove_effect(&mut self, effect: &Effect) -> Result<(), Error> {
        singles::remove_effect(self.connection, effect)
    }
}
