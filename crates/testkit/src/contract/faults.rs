//! A transaction in which one call fails.

use app::{
    command::{self, Command, Meta, NewTask, RecoveryPolicy, Rekey, Request},
    error::Error,
    event::{Entry, NewEvent, Stream},
    ports::{
        nodes::{NodeReader, NodeTx},
        store::{Effect, IdKind, Mark, Reader, Tx},
    },
    query::{Counts, TaskFilter},
    restore::Told,
};
use domain::{
    id::{Key, LockId, NodeId, ProjectId, SessionId, TaskId},
    lock::{Lock, Resource, Token, Totals},
    node::{Checkout, Leader, Node},
    plan::{Candidate, Occupant},
    project::Project,
    quota::{Quota, QuotaKey},
    session::{Outcome, Session, SessionCommand},
    task::{Limits, Task},
    time::{Moment, Now, Timestamp},
};

use super::{
    Make,
    world::{World, claim_command, create_command, failed, request, starts, work},
};

/// Passes everything on to a transaction, but the `n`-th change fails.
#[derive(Debug)]
pub struct FailAt<'t, T: ?Sized> {
    inner: &'t mut T,
    left: usize,
}

impl<'t, T: Tx + ?Sized> FailAt<'t, T> {
    /// Fails the change number `n`, counted from 0.
    pub fn new(inner: &'t mut T, n: usize) -> Self {
        Self { inner, left: n }
    }

    fn next(&mut self) -> Result<&mut T, Error> {
        match self.left.checked_sub(1) {
            None => Err(Error::unavailable("the disk broke, as the test asked")),
            Some(left) => {
                self.left = left;
                Ok(self.inner)
            }
        }
    }
}

impl<T: Tx + ?Sized> NodeReader for FailAt<'_, T> {
    fn node(&self, id: NodeId) -> Result<Option<Node>, Error> {
        self.inner.node(id)
    }
    fn nodes(&self) -> Result<Vec<Node>, Error> {
        self.inner.nodes()
    }
    fn leader(&self) -> Result<Option<Leader>, Error> {
        self.inner.leader()
    }
    fn checkouts(&self, node: Option<NodeId>) -> Result<Vec<Checkout>, Error> {
        self.inner.checkouts(node)
    }
    fn project_of_remote(&self, remote: &str) -> Result<Option<Project>, Error> {
        self.inner.project_of_remote(remote)
    }
    fn occupied(&self, node: Option<NodeId>) -> Result<u32, Error> {
        self.inner.occupied(node)
    }
}

impl<T: Tx + ?Sized> NodeTx for FailAt<'_, T> {
    fn put_node(&mut self, node: &Node) -> Result<(), Error> {
        self.next()?.put_node(node)
    }
    fn put_leader(&mut self, leader: &Leader) -> Result<(), Error> {
        self.next()?.put_leader(leader)
    }
    fn put_checkout(&mut self, checkout: &Checkout) -> Result<(), Error> {
        self.next()?.put_checkout(checkout)
    }
    fn set_remote(&mut self, project: ProjectId, remote: &str) -> Result<(), Error> {
        self.next()?.set_remote(project, remote)
    }
}

impl<T: Tx + ?Sized> Reader for FailAt<'_, T> {
    fn project(&self, id: ProjectId) -> Result<Option<Project>, Error> {
        self.inner.project(id)
    }
    fn project_at(&self, root: &str) -> Result<Option<Project>, Error> {
        self.inner.project_at(root)
    }
    fn projects(&self) -> Result<Vec<Project>, Error> {
        self.inner.projects()
    }
    fn task(&self, id: TaskId) -> Result<Option<Task>, Error> {
        self.inner.task(id)
    }
    fn task_of_key(&self, project: ProjectId, key: &Key) -> Result<Option<Task>, Error> {
        self.inner.task_of_key(project, key)
    }
    fn tasks_of_suffix(
        &self,
        project: ProjectId,
        suffix: &str,
        limit: usize,
    ) -> Result<Vec<TaskId>, Error> {
        self.inner.tasks_of_suffix(project, suffix, limit)
    }
    fn tasks(&self, filter: &TaskFilter, limit: usize) -> Result<Vec<Task>, Error> {
        self.inner.tasks(filter, limit)
    }
    fn counts(&self, project: ProjectId) -> Result<Counts, Error> {
        self.inner.counts(project)
    }
    fn chain(&self, root: TaskId) -> Result<Vec<Task>, Error> {
        self.inner.chain(root)
    }
    fn dependants(&self, root: TaskId) -> Result<Vec<TaskId>, Error> {
        self.inner.dependants(root)
    }
    fn ready(
        &self,
        project: Option<ProjectId>,
        per_group: usize,
        now: &Now,
    ) -> Result<Vec<Candidate>, Error> {
        self.inner.ready(project, per_group, now)
    }
    fn next_due_millis(&self, project: Option<ProjectId>, now: &Now) -> Result<Option<u64>, Error> {
        self.inner.next_due_millis(project, now)
    }
    fn running(&self, project: Option<ProjectId>) -> Result<Vec<Occupant>, Error> {
        self.inner.running(project)
    }
    fn session(&self, id: SessionId) -> Result<Option<Session>, Error> {
        self.inner.session(id)
    }
    fn sessions_of(&self, task: TaskId) -> Result<Vec<Session>, Error> {
        self.inner.sessions_of(task)
    }
    fn live_sessions(&self, project: Option<ProjectId>) -> Result<Vec<Session>, Error> {
        self.inner.live_sessions(project)
    }
    fn events(
        &self,
        stream: Option<Stream>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        self.inner.events(stream, after, limit)
    }
    fn effects(&self, after: Option<TaskId>, limit: usize) -> Result<Vec<Effect>, Error> {
        self.inner.effects(after, limit)
    }
    fn lock(&self, project: ProjectId, id: LockId) -> Result<Option<Lock>, Error> {
        self.inner.lock(project, id)
    }
    fn lock_of_token(&self, project: ProjectId, token: Token) -> Result<Option<Lock>, Error> {
        self.inner.lock_of_token(project, token)
    }
    fn locks_overlapping(
        &self,
        project: ProjectId,
        resources: &[Resource],
    ) -> Result<Vec<Lock>, Error> {
        self.inner.locks_overlapping(project, resources)
    }
    fn locks_in_line(
        &self,
        project: ProjectId,
        resources: &[Resource],
        now: &Moment,
    ) -> Result<Vec<Lock>, Error> {
        self.inner.locks_in_line(project, resources, now)
    }
    fn locks_of_holder(&self, project: ProjectId, holder: &str) -> Result<Vec<Lock>, Error> {
        self.inner.locks_of_holder(project, holder)
    }
    fn locks(&self, project: ProjectId, waiting_only: bool) -> Result<Vec<Lock>, Error> {
        self.inner.locks(project, waiting_only)
    }
    fn lock_totals(&self, project: ProjectId) -> Result<Totals, Error> {
        self.inner.lock_totals(project)
    }
    fn mark(&self, mark: Mark) -> Result<u64, Error> {
        self.inner.mark(mark)
    }
    fn looked_at(&self) -> Timestamp {
        self.inner.looked_at()
    }
    fn quotas(&self) -> Result<Vec<Quota>, Error> {
        self.inner.quotas()
    }
    fn active(&self, project: Option<ProjectId>, owner: Option<&str>) -> Result<u64, Error> {
        self.inner.active(project, owner)
    }
    fn queued(&self, project: Option<ProjectId>, owner: Option<&str>) -> Result<u64, Error> {
        self.inner.queued(project, owner)
    }
    fn tokens(
        &self,
        month: u32,
        project: Option<ProjectId>,
        owner: Option<&str>,
    ) -> Result<u64, Error> {
        self.inner.tokens(month, project, owner)
    }
}

impl<T: Tx + ?Sized> Tx for FailAt<'_, T> {
    fn now(&self) -> &Now {
        self.inner.now()
    }
    fn next_number(&mut self, kind: IdKind) -> Result<u64, Error> {
        self.next()?.next_number(kind)
    }
    fn insert_project(&mut self, project: &Project) -> Result<(), Error> {
        self.next()?.insert_project(project)
    }
    fn insert_task(&mut self, task: &Task) -> Result<(), Error> {
        self.next()?.insert_task(task)
    }
    fn update_task(&mut self, task: &Task, expected: u64) -> Result<(), Error> {
        self.next()?.update_task(task, expected)
    }
    fn rewrite_spec(&mut self, task: &Task) -> Result<(), Error> {
        self.next()?.rewrite_spec(task)
    }
    fn drop_payloads(&mut self, stream: Stream) -> Result<(), Error> {
        self.next()?.drop_payloads(stream)
    }
    fn release_dependants(&mut self, root: TaskId) -> Result<(), Error> {
        self.next()?.release_dependants(root)
    }
    fn insert_session(&mut self, session: &Session) -> Result<(), Error> {
        self.next()?.insert_session(session)
    }
    fn update_session(&mut self, session: &Session, expected: u64) -> Result<(), Error> {
        self.next()?.update_session(session, expected)
    }
    fn append(&mut self, meta: &Meta, event: NewEvent) -> Result<u64, Error> {
        self.next()?.append(meta, event)
    }
    fn append_again(&mut self, told: &Told) -> Result<Entry, Error> {
        self.next()?.append_again(told)
    }
    fn raise_number(&mut self, kind: IdKind, above: u64) -> Result<(), Error> {
        self.next()?.raise_number(kind, above)
    }
    fn put_lock(&mut self, project: ProjectId, lock: &Lock) -> Result<(), Error> {
        self.next()?.put_lock(project, lock)
    }
    fn remove_lock(&mut self, id: LockId) -> Result<(), Error> {
        self.next()?.remove_lock(id)
    }
    fn forget_locks(&mut self, project: ProjectId, now: &Now) -> Result<(), Error> {
        self.next()?.forget_locks(project, now)
    }
    fn set_lock_totals(&mut self, project: ProjectId, totals: &Totals) -> Result<(), Error> {
        self.next()?.set_lock_totals(project, totals)
    }
    fn set_mark(&mut self, mark: Mark, value: u64) -> Result<(), Error> {
        self.next()?.set_mark(mark, value)
    }
    fn add_effect(&mut self, effect: &Effect) -> Result<(), Error> {
        self.next()?.add_effect(effect)
    }
    fn put_quota(&mut self, quota: &Quota) -> Result<(), Error> {
        self.next()?.put_quota(quota)
    }
    fn remove_quota(&mut self, key: &QuotaKey) -> Result<(), Error> {
        self.next()?.remove_quota(key)
    }
    fn add_tokens(
        &mut self,
        month: u32,
        project: ProjectId,
        owner: &str,
        tokens: u64,
    ) -> Result<(), Error> {
        self.next()?.add_tokens(month, project, owner, tokens)
    }
    fn remove_effect(&mut self, effect: &Effect) -> Result<(), Error> {
        self.next()?.remove_effect(effect)
    }
}

/// Every change of several use cases fails once: the store is then as it was before, and the
/// request goes through when it is made again.
pub fn a_failing_call_leaves_nothing_behind(make: Make) {
    let world = World::new(make);
    let first = world.create(NewTask {
        limits: Limits {
            auto_retry: true,
            ..Limits::default()
        },
        ..work("first")
    });
    let behind = world.create_behind("behind", &[first.id]);
    let requests = |world: &World| -> Vec<Request> {
        let mut requests = vec![
            request(create_command(world.project, work("more"))),
            request(claim_command(world.project, starts(2))),
        ];
        requests[0].done = vec![Effect {
            task: behind.id,
            version: 1,
        }];
        requests
    };
    for request in requests(&world) {
        fail_everywhere(&world, &request, 3);
    }
    let session = world.details(first.id).sessions.remove(0);
    let finish = |result| {
        let outcome = Box::new(Outcome::bare(result, first.created_at));
        request(Command::Session {
            session: session.id,
            fence: session.fence,
            command: SessionCommand::Finish { outcome },
            recovery: RecoveryPolicy::default(),
        })
    };
    fail_everywhere(&world, &finish(failed()), 3);
    let tail = world.details(first.id).chain.pop().expect("a successor");
    assert_eq!(tail.chain.retry_of, Some(first.id));
    let delete = request(Command::DeleteTask { task: first.id });
    fail_everywhere(&world, &delete, 3);
    let key = Rekey::To {
        key: "again".to_owned(),
    };
    let undelete = Command::UndeleteTask {
        task: first.id,
        key,
    };
    fail_everywhere(&world, &request(undelete), 3);
    fail_everywhere(&world, &delete, 3);
    let purge = Command::PurgeTasks {
        tasks: vec![first.id],
    };
    fail_everywhere(&world, &request(purge), 3);
    super::log::verify(&world.contents().log);
}

/// Fails each change of a request once, and lets it through in the end.
pub(super) fn fail_everywhere(world: &World, request: &Request, least: usize) {
    for n in 0.. {
        let before = world.contents();
        let reply = world
            .store
            .transact(&mut |tx| command::apply(&mut FailAt::new(tx, n), request));
        match reply {
            Ok(_) => {
                assert!(n >= least, "the request makes changes");
                return;
            }
            Err(Error::Unavailable { .. }) => assert_eq!(world.contents(), before, "change {n}"),
            Err(other) => panic!("change {n}: {other}"),
        }
    }
}
