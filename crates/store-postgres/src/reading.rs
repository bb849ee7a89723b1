//! A transaction that only reads.

use std::cell::Cell;

use app::{
    error::Error,
    event::{Entry, Stream},
    ports::store::{Effect, Mark, Reader},
    query::{Counts, TaskFilter},
};
use domain::{
    id::{Key, LockId, ProjectId, SessionId, TaskId},
    lock::{Lock, Resource, Token, Totals},
    plan::{Candidate, Occupant},
    project::Project,
    quota::Quota,
    session::Session,
    task::Task,
    time::{Now, Timestamp},
};
use tokio_postgres::Row;

use crate::{
    ask::Ask,
    events,
    link::{Link, Param, Step},
    locks, pages, quotas, ready, sessions, singles, tasks,
};

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL jit = off;
    SET LOCAL idle_in_transaction_session_timeout = '5min'";

/// One state of the store: that of the first question.
#[derive(Debug)]
pub(crate) struct Reading<'l> {
    link: &'l Link,
    begun: Cell<bool>,
    at: Timestamp,
}

impl<'l> Reading<'l> {
    /// Nothing is asked yet.
    pub(crate) fn of(link: &'l Link, at: Timestamp) -> Self {
        Self {
            link,
            begun: Cell::new(false),
            at,
        }
    }

    /// Asks the server for a state now, so that a connection which is gone shows.
    pub(crate) fn begin(&self) -> Result<(), Error> {
        self.begun.set(true);
        self.link.together(&[Step::Plain(BEGIN)]).map(drop)
    }

    /// Gives the state up.
    pub(crate) fn end(self) {
        if self.begun.get() && self.link.together(&[Step::Plain("COMMIT")]).is_ok() {
            self.link.forgive();
        }
    }
}

impl Ask for Reading<'_> {
    fn ask(&self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        if self.begun.replace(true) {
            return self.link.ask(sql, params);
        }
        let steps = [Step::Plain(BEGIN), Step::Ask(sql, params)];
        Ok(self.link.together(&steps)?.pop().unwrap_or_default())
    }
}

impl Reader for Reading<'_> {
    fn project(&self, id: ProjectId) -> Result<Option<Project>, Error> {
        singles::project(self, id)
    }

    fn project_at(&self, root: &str) -> Result<Option<Project>, Error> {
        singles::project_at(self, root)
    }

    fn projects(&self) -> Result<Vec<Project>, Error> {
        singles::projects(self)
    }

    fn task(&self, id: TaskId) -> Result<Option<Task>, Error> {
        tasks::get(self, id)
    }

    fn task_of_key(&self, project: ProjectId, key: &Key) -> Result<Option<Task>, Error> {
        tasks::of_key(self, project, key)
    }

    fn tasks_of_suffix(
        &self,
        project: ProjectId,
        suffix: &str,
        limit: usize,
    ) -> Result<Vec<TaskId>, Error> {
        pages::of_suffix(self, project, suffix, limit)
    }

    fn tasks(&self, filter: &TaskFilter, limit: usize) -> Result<Vec<Task>, Error> {
        pages::page(self, filter, limit)
    }

    fn counts(&self, project: ProjectId) -> Result<Counts, Error> {
        let counted = singles::counted(self, project)?;
        let sum = singles::sum(counted.iter().map(|(.., tally)| tally));
        Ok(singles::counts(&sum))
    }

    fn chain(&self, root: TaskId) -> Result<Vec<Task>, Error> {
        tasks::chain(self, root)
    }

    fn dependants(&self, root: TaskId) -> Result<Vec<TaskId>, Error> {
        tasks::dependants(self, root)
    }

    fn ready(
        &self,
        project: Option<ProjectId>,
        per_group: usize,
        now: &Now,
    ) -> Result<Vec<Candidate>, Error> {
        let mut found = ready::candidates(self, project, per_group, now)?;
        found.extend(ready::come(self, project, per_group, now)?);
        Ok(found)
    }

    fn next_due_millis(&self, project: Option<ProjectId>, now: &Now) -> Result<Option<u64>, Error> {
        ready::next_due(self, project, now)
    }

    fn running(&self, project: Option<ProjectId>) -> Result<Vec<Occupant>, Error> {
        ready::running(self, project)
    }

    fn session(&self, id: SessionId) -> Result<Option<Session>, Error> {
        sessions::get(self, id)
    }

    fn sessions_of(&self, task: TaskId) -> Result<Vec<Session>, Error> {
        sessions::of_task(self, task)
    }

    fn live_sessions(&self, project: Option<ProjectId>) -> Result<Vec<Session>, Error> {
        sessions::live(self, project)
    }

    fn events(
        &self,
        stream: Option<Stream>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        events::after(self, stream, after, limit)
    }

    fn effects(&self, after: Option<TaskId>, limit: usize) -> Result<Vec<Effect>, Error> {
        singles::effects(self, after, limit)
    }

    fn mark(&self, mark: Mark) -> Result<u64, Error> {
        singles::mark(self, mark)
    }

    fn lock(&self, project: ProjectId, id: LockId) -> Result<Option<Lock>, Error> {
        locks::get(self, project, id)
    }

    fn lock_of_token(&self, project: ProjectId, token: Token) -> Result<Option<Lock>, Error> {
        locks::of_token(self, project, token)
    }

    fn locks_overlapping(
        &self,
        project: ProjectId,
        resources: &[Resource],
    ) -> Result<Vec<Lock>, Error> {
        locks::overlapping(self, project, resources)
    }

    fn locks_of_holder(&self, project: ProjectId, holder: &str) -> Result<Vec<Lock>, Error> {
        locks::of_holder(self, project, holder)
    }

    fn locks(&self, project: ProjectId, waiting_only: bool) -> Result<Vec<Lock>, Error> {
        locks::all(self, project, waiting_only)
    }

    fn lock_totals(&self, project: ProjectId) -> Result<Totals, Error> {
        locks::totals(self, project)
    }

    fn active(&self, project: Option<ProjectId>, owner: Option<&str>) -> Result<u64, Error> {
        quotas::active(self, project, owner)
    }

    fn tokens(
        &self,
        month: u32,
        project: Option<ProjectId>,
        owner: Option<&str>,
    ) -> Result<u64, Error> {
        quotas::tokens(self, month, project, owner)
    }

    fn looked_at(&self) -> Timestamp {
        self.at
    }

    fn quotas(&self) -> Result<Vec<Quota>, Error> {
        quotas::all(self)
    }

    fn queued(&self, project: Option<ProjectId>, owner: Option<&str>) -> Result<u64, Error> {
        let projects = match project {
            Some(project) => vec![project],
            None => singles::projects(self)?.iter().map(|p| p.id).collect(),
        };
        let mut queued = 0;
        for project in projects {
            let counted = singles::counted(self, project)?;
            let of = counted
                .iter()
                .filter(|(of, ..)| owner.is_none_or(|owner| of == owner));
            queued += singles::pending(&singles::sum(of.map(|(.., tally)| tally)));
        }
        Ok(queued)
    }
}
