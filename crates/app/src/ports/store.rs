//! The store: rows, events and effects, changed together or not at all.

use std::fmt;

use domain::{
    id::{Key, LockId, ProjectId, SessionId, TaskId},
    lock::{Lock, Resource, Token, Totals},
    plan::{Candidate, Occupant},
    project::Project,
    quota::{Quota, QuotaKey},
    session::Session,
    task::{Task, TaskStatus},
    time::{Moment, Now, Timestamp},
};

use crate::{
    command::{Meta, Reply, Request},
    error::Error,
    event::{Entry, NewEvent, Stream},
    ports::nodes::{NodeReader, NodeTx},
    query::{Counts, Query, TaskFilter, View},
    restore::Told,
};

/// Kinds of rows that have ids of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IdKind {
    /// [`ProjectId`].
    Project,
    /// [`TaskId`].
    Task,
    /// [`SessionId`].
    Session,
}

/// A number that a store keeps of itself; 0 until it is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mark {
    /// The high part of every fence that is given out. Raised when a store is built again from
    /// something else than itself.
    Epoch,
    /// The first position of what was taken from elsewhere and no signed head vouches for.
    UnverifiedFrom,
    /// The last position of that.
    UnverifiedTo,
    /// The last number that was given to a request for a lock, or to a grant.
    LockNumber,
}

/// An act outside the store that has to follow a commit.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Effect {
    /// The task whose folder shows an older version until this is done.
    pub task: TaskId,
    /// The version that the folder has to show at least.
    pub version: u64,
}

/// What can be read. Everything read through one `Reader` comes from one state of the store.
pub trait Reader: NodeReader {
    /// A project by id.
    fn project(&self, id: ProjectId) -> Result<Option<Project>, Error>;
    /// A project by its directory.
    fn project_at(&self, root: &str) -> Result<Option<Project>, Error>;
    /// Every project, oldest first.
    fn projects(&self) -> Result<Vec<Project>, Error>;
    /// A task, deleted ones included.
    fn task(&self, id: TaskId) -> Result<Option<Task>, Error>;
    /// The task of this key that is not deleted.
    fn task_of_key(&self, project: ProjectId, key: &Key) -> Result<Option<Task>, Error>;
    /// At most `limit` tasks, not deleted, whose id ends in these digits, oldest first.
    fn tasks_of_suffix(
        &self,
        project: ProjectId,
        suffix: &str,
        limit: usize,
    ) -> Result<Vec<TaskId>, Error>;
    /// At most `limit` tasks of the filter, in its order.
    fn tasks(&self, filter: &TaskFilter, limit: usize) -> Result<Vec<Task>, Error>;
    /// How many tasks there are, neither deleted nor archived, from kept counters.
    fn counts(&self, project: ProjectId) -> Result<Counts, Error>;
    /// The tasks of a retry chain, oldest first.
    fn chain(&self, root: TaskId) -> Result<Vec<Task>, Error>;
    /// The tasks, not deleted, that wait for this chain, oldest first.
    fn dependants(&self, root: TaskId) -> Result<Vec<TaskId>, Error>;
    /// The managed tasks that may start: of each priority, agent and owner at least the `per_group`
    /// oldest that are pending, due and wait for no chain, so that nobody who has many waiting
    /// hides anybody else. One project, or all.
    fn ready(
        &self,
        project: Option<ProjectId>,
        per_group: usize,
        now: &Now,
    ) -> Result<Vec<Candidate>, Error>;
    /// The earliest time at which a pending task that waits for nothing else becomes due, where
    /// there is one and it has not come.
    fn next_due_millis(&self, project: Option<ProjectId>, now: &Now) -> Result<Option<u64>, Error>;
    /// The running managed tasks.
    fn running(&self, project: Option<ProjectId>) -> Result<Vec<Occupant>, Error>;
    /// A session.
    fn session(&self, id: SessionId) -> Result<Option<Session>, Error>;
    /// The sessions of a task, oldest first.
    fn sessions_of(&self, task: TaskId) -> Result<Vec<Session>, Error>;
    /// Every session that has not ended, oldest first.
    fn live_sessions(&self, project: Option<ProjectId>) -> Result<Vec<Session>, Error>;
    /// At most `limit` entries of the log after a position, of one stream or of all.
    fn events(&self, stream: Option<Stream>, after: u64, limit: usize)
    -> Result<Vec<Entry>, Error>;
    /// At most `limit` effects that nobody has acknowledged, in the order of their tasks, of those
    /// behind a task or of all.
    fn effects(&self, after: Option<TaskId>, limit: usize) -> Result<Vec<Effect>, Error>;
    /// A request for a lock, in whichever state.
    fn lock(&self, project: ProjectId, id: LockId) -> Result<Option<Lock>, Error>;
    /// The lock of a grant, held or taken away.
    fn lock_of_token(&self, project: ProjectId, token: Token) -> Result<Option<Lock>, Error>;
    /// The locks, held or waiting, of which a resource overlaps one of these, oldest first.
    fn locks_overlapping(
        &self,
        project: ProjectId,
        resources: &[Resource],
    ) -> Result<Vec<Lock>, Error>;
    /// The same without those that wait where somebody waits before them, at the very same path, who
    /// goes with nobody and whose time is not over at `now`: it can be nobody's turn behind that one.
    fn locks_in_line(
        &self,
        project: ProjectId,
        resources: &[Resource],
        _now: &Moment,
    ) -> Result<Vec<Lock>, Error> {
        self.locks_overlapping(project, resources)
    }
    /// What a holder has or waits for, by the holder's text, oldest first.
    fn locks_of_holder(&self, project: ProjectId, holder: &str) -> Result<Vec<Lock>, Error>;
    /// Every lock that is held or waits, or those alone that wait, oldest first.
    fn locks(&self, project: ProjectId, waiting_only: bool) -> Result<Vec<Lock>, Error>;
    /// What has happened to the locks of a project, in numbers.
    fn lock_totals(&self, project: ProjectId) -> Result<Totals, Error>;
    /// A number that the store keeps of itself.
    fn mark(&self, mark: Mark) -> Result<u64, Error>;
    /// When this state was read.
    fn looked_at(&self) -> Timestamp;
    /// Every quota, in the order of their keys.
    fn quotas(&self) -> Result<Vec<Quota>, Error>;
    /// How many sessions have not ended: of a project or of all, of a task's owner or of all.
    fn active(&self, project: Option<ProjectId>, owner: Option<&str>) -> Result<u64, Error>;
    /// How many tasks are pending and neither deleted nor archived, as [`Self::active`].
    fn queued(&self, project: Option<ProjectId>, owner: Option<&str>) -> Result<u64, Error>;
    /// How many tokens were counted in a month ([`domain::quota::month_of`]), as [`Self::active`].
    fn tokens(
        &self,
        month: u32,
        project: Option<ProjectId>,
        owner: Option<&str>,
    ) -> Result<u64, Error>;
}

/// One transaction: reads see its own writes, and nothing of it is seen before it commits.
pub trait Tx: Reader + NodeTx {
    /// The time of the transaction.
    fn now(&self) -> &Now;
    /// The next number of a kind; never given out again, also not after a rollback that others
    /// could have seen.
    fn next_number(&mut self, kind: IdKind) -> Result<u64, Error>;
    /// Adds a project.
    fn insert_project(&mut self, project: &Project) -> Result<(), Error>;
    /// Adds a task and its dependencies; it waits for those of `depends_on` whose chain has not
    /// completed. Nobody waits any longer for the chain of one that is added as completed.
    fn insert_task(&mut self, task: &Task) -> Result<(), Error>;
    /// Replaces a task whose stored version is `expected`.
    ///
    /// # Errors
    /// [`Error::Conflict`] where it is another.
    fn update_task(&mut self, task: &Task, expected: u64) -> Result<(), Error>;
    /// Replaces what a task was asked for: its key where it is deleted, else what it goes on from
    /// and where it edits. Said before [`Self::update_task`] of the same change.
    fn rewrite_spec(&mut self, task: &Task) -> Result<(), Error>;
    /// Drops the content of every entry of a stream and keeps its hash in its place.
    fn drop_payloads(&mut self, stream: Stream) -> Result<(), Error>;
    /// Says that a chain has completed: whoever waits for it waits for one chain less. Said once
    /// for each chain.
    fn release_dependants(&mut self, root: TaskId) -> Result<(), Error>;
    /// Adds a session.
    fn insert_session(&mut self, session: &Session) -> Result<(), Error>;
    /// Replaces a session whose stored version is `expected`.
    ///
    /// # Errors
    /// [`Error::Conflict`] where it is another.
    fn update_session(&mut self, session: &Session, expected: u64) -> Result<(), Error>;
    /// Writes an event to the end of the log and of its stream ([`crate::event::compose`]); returns
    /// its position.
    fn append(&mut self, meta: &Meta, event: NewEvent) -> Result<u64, Error>;
    /// Writes an event that was written before, with its bytes as they were, to the end of the log
    /// and of its stream ([`crate::event::seal`]).
    fn append_again(&mut self, told: &Told) -> Result<Entry, Error>;
    /// Numbers of a kind are given out above this one from now on.
    fn raise_number(&mut self, kind: IdKind, above: u64) -> Result<(), Error>;
    /// Adds a lock, or replaces it.
    fn put_lock(&mut self, project: ProjectId, lock: &Lock) -> Result<(), Error>;
    /// Removes a lock.
    fn remove_lock(&mut self, id: LockId) -> Result<(), Error>;
    /// Removes what was taken away and nobody needs to know of any more.
    fn forget_locks(&mut self, project: ProjectId, now: &Now) -> Result<(), Error>;
    /// Replaces the numbers of a project.
    fn set_lock_totals(&mut self, project: ProjectId, totals: &Totals) -> Result<(), Error>;
    /// Sets a number that the store keeps of itself.
    fn set_mark(&mut self, mark: Mark, value: u64) -> Result<(), Error>;
    /// Notes an effect. One for each task: a later version replaces an earlier one.
    fn add_effect(&mut self, effect: &Effect) -> Result<(), Error>;
    /// Sets a quota, in place of the one with its key where there is one.
    fn put_quota(&mut self, quota: &Quota) -> Result<(), Error>;
    /// Removes a quota, where there is one.
    fn remove_quota(&mut self, key: &QuotaKey) -> Result<(), Error>;
    /// Counts tokens of an owner in a project in a month.
    fn add_tokens(
        &mut self,
        month: u32,
        project: ProjectId,
        owner: &str,
        tokens: u64,
    ) -> Result<(), Error>;
    /// Forgets an effect, unless a later version has been noted since.
    fn remove_effect(&mut self, effect: &Effect) -> Result<(), Error>;
}

/// Receives the answer to a request, once, after the commit.
pub type Answer = Box<dyn FnOnce(Result<Reply, Error>) + Send>;

/// A store, or a connection to the process that owns it.
///
/// Every adapter must, in one transaction: read what the request's command needs, apply
/// [`crate::command::apply`], and commit durably before it answers. A request that fails leaves
/// nothing behind. Requests with the same idempotency key within 24 hours get the first answer.
pub trait Store: Send + Sync + fmt::Debug {
    /// Queues a request; many of them may share one commit.
    fn submit(&self, request: Request, answer: Answer);

    /// Answers a query from one consistent state.
    fn read(&self, query: &Query) -> Result<View, Error>;

    /// A number that is another one after every commit, of whichever process; and another one where
    /// somebody else answers than the last time, a daemon that has come or gone.
    fn generation(&self) -> Result<u64, Error>;

    /// Submits a request and waits for its answer.
    fn execute(&self, request: Request) -> Result<Reply, Error> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.submit(request, Box::new(move |reply| drop(sender.send(reply))));
        receiver
            .recv()
            .unwrap_or_else(|_| Err(Error::unavailable("the store stopped before it answered")))
    }
}

/// Which counter a task belongs to: none once it is archived or deleted.
#[must_use]
pub fn counted_as(task: &Task) -> Option<TaskStatus> {
    (task.deleted_at.is_none() && task.archived_at.is_none()).then(|| task.status())
}
