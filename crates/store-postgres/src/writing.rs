//! A transaction that holds the right to write, as the use cases see it.

use std::cell::RefCell;

use app::{
    command::{self, Meta, Reply, Request},
    error::Error,
    event::{self, Entry, GENESIS, Hash, NewEvent, Stream, StreamKind},
    ports::store::{Effect, IdKind, Mark, Reader, Tx, counted_as},
    query::{Counts, TaskFilter},
    restore::Told,
};
use domain::{
    id::{self, Key, LockId, ProjectId, SessionId, TaskId},
    lock::{Lock, Resource, Token, Totals},
    plan::{Candidate, Occupant},
    project::Project,
    quota::{Quota, QuotaKey},
    session::Session,
    task::{Task, TaskStatus},
    time::{Now, Timestamp},
};
use tokio_postgres::{Row, types::Type};

use crate::{
    ask::Ask,
    events, flush,
    link::{Batch, Link, Param, Step},
    locks, pages, quotas, ready,
    row::{Columns as _, int, session_number, status_code, task_number},
    sessions,
    singles::{self, Tally},
    tasks,
    unit::{Differs, Held, HeldTally, HeldTask, Owing, Point, Unit},
};

/// A transaction whose beginning the server has confirmed.
#[derive(Debug)]
pub(crate) struct Writing<'l> {
    link: &'l Link,
    unit: RefCell<Unit>,
    now: Now,
}

impl<'l> Writing<'l> {
    pub(crate) fn of(link: &'l Link, unit: Unit, now: Now) -> Self {
        Self {
            link,
            unit: RefCell::new(unit),
            now,
        }
    }

    /// The time of the next request.
    pub(crate) fn set_now(&mut self, now: Now) {
        self.now = now;
    }

    /// Where the next request begins.
    pub(crate) fn point(&self) -> Point {
        self.unit.borrow().point()
    }

    /// Takes back what a request has changed; says whether that was possible.
    pub(crate) fn back_to(&self, point: &Point) -> bool {
        self.unit.borrow_mut().back_to(point)
    }

    /// What was changed.
    pub(crate) fn into_unit(self) -> Unit {
        self.unit.into_inner()
    }

    /// Applies a request, or finds the answer that its key got before.
    pub(crate) fn apply(&mut self, request: &Request) -> Result<Reply, Error> {
        let Some(key) = &request.meta.idempotency_key else {
            return command::apply(self, request);
        };
        if let Some(reply) = self.answer_of(key)? {
            for effect in &request.done {
                self.remove_effect(effect)?;
            }
            return Ok(reply);
        }
        let reply = command::apply(self, request)?;
        let mut unit = self.unit.borrow_mut();
        unit.changes();
        let kept = Held {
            value: Some(reply.clone()),
            differs: Differs::New,
        };
        unit.answers.set(key.clone(), kept);
        drop(unit);
        Ok(reply)
    }

    fn answer_of(&self, key: &String) -> Result<Option<Reply>, Error> {
        if let Some(held) = self.unit.borrow().answers.get(key) {
            return Ok(held.value.clone());
        }
        let found = singles::answer_of(self.link, key, self.now.wall)?;
        self.learn_answer(key.clone(), found.clone());
        Ok(found)
    }

    /// Notes what the server answered about a key.
    pub(crate) fn learn_answer(&self, key: String, reply: Option<Reply>) {
        let mut unit = self.unit.borrow_mut();
        unit.answers.learn(key, Held::known(reply));
    }

    /// Notes tasks with the ends of their streams ([`tasks::WITH_HEADS`]).
    pub(crate) fn learn_tasks(&self, rows: &[Row]) -> Result<(), Error> {
        for row in rows {
            let task = tasks::from_row(row)?;
            let stream = Stream {
                kind: StreamKind::Task,
                id: task.id.number(),
            };
            let mut unit = self.unit.borrow_mut();
            learn_head(&mut unit, stream, row, tasks::COLUMNS)?;
            unit.tasks.learn(task.id, HeldTask::known(Some(task)));
        }
        Ok(())
    }

    /// Notes sessions with the ends of their streams ([`sessions::WITH_HEADS`]).
    pub(crate) fn learn_sessions(&self, rows: &[Row]) -> Result<(), Error> {
        for row in rows {
            let session: Session = row.json(0)?;
            let stream = Stream {
                kind: StreamKind::Session,
                id: session.id.number(),
            };
            let mut unit = self.unit.borrow_mut();
            learn_head(&mut unit, stream, row, 1)?;
            let held = Held::known(Some(session.clone()));
            unit.sessions.learn(session.id, held);
        }
        Ok(())
    }

    fn held_task(&self, id: TaskId) -> Result<HeldTask, Error> {
        if let Some(held) = self.unit.borrow().tasks.get(&id) {
            return Ok(held.clone());
        }
        let rows = self.link.ask(
            tasks::WITH_HEADS,
            &[
                (&vec![task_number(id)], Type::INT8_ARRAY),
                (&Vec::<i64>::new(), Type::INT8_ARRAY),
            ],
        )?;
        self.learn_tasks(&rows)?;
        let mut unit = self.unit.borrow_mut();
        if unit.tasks.get(&id).is_none() {
            unit.tasks.learn(id, HeldTask::known(None));
        }
        Ok(unit
            .tasks
            .get(&id)
            .cloned()
            .unwrap_or_else(|| HeldTask::known(None)))
    }

    fn held_session(&self, id: SessionId) -> Result<Held<Session>, Error> {
        if let Some(held) = self.unit.borrow().sessions.get(&id) {
            return Ok(held.clone());
        }
        let rows = self.link.ask(
            sessions::WITH_HEADS,
            &[(&vec![session_number(id)], Type::INT8_ARRAY)],
        )?;
        self.learn_sessions(&rows)?;
        let mut unit = self.unit.borrow_mut();
        if unit.sessions.get(&id).is_none() {
            unit.sessions.learn(id, Held::known(None));
        }
        Ok(unit
            .sessions
            .get(&id)
            .cloned()
            .unwrap_or_else(|| Held::known(None)))
    }

    fn held_project(&self, id: ProjectId) -> Result<Option<Project>, Error> {
        if let Some(held) = self.unit.borrow().projects.get(&id) {
            return Ok(held.value.clone());
        }
        let found = singles::project(self.link, id)?;
        let mut unit = self.unit.borrow_mut();
        unit.projects.learn(id, Held::known(found.clone()));
        Ok(found)
    }

    /// Notes a project as the server has it now.
    pub(crate) fn hold_project(&self, id: ProjectId, held: Held<Project>) {
        self.unit.borrow_mut().projects.set(id, held);
    }

    /// Looks at the counters of a project, once.
    fn count_in(&self, project: ProjectId) -> Result<(), Error> {
        if self.unit.borrow().counted.contains(&project) {
            return Ok(());
        }
        let counted = singles::counted(self.link, project)?;
        let mut unit = self.unit.borrow_mut();
        for (owner, generation, tally) in counted {
            let held = HeldTally {
                tally,
                generation: Some(generation),
                differs: false,
            };
            unit.counters.learn((project, owner), held);
        }
        unit.counted.insert(project);
        Ok(())
    }

    /// How many tasks a project has of each status, of an owner or of all.
    fn tally(&self, project: ProjectId, owner: Option<&str>) -> Result<Tally, Error> {
        self.count_in(project)?;
        let unit = self.unit.borrow();
        let of = unit
            .counters
            .iter()
            .filter(|((of, owned), _)| *of == project && owner.is_none_or(|owner| owned == owner));
        Ok(singles::sum(of.map(|(_, held)| &held.tally)))
    }

    /// Moves a task from one counter to another.
    fn count(
        &self,
        task: &Task,
        from: Option<TaskStatus>,
        to: Option<TaskStatus>,
    ) -> Result<(), Error> {
        if from == to {
            return Ok(());
        }
        self.count_in(task.project)?;
        let mut unit = self.unit.borrow_mut();
        let name = (task.project, task.spec.owner.clone());
        let mut held = unit.counters.get(&name).copied().unwrap_or_default();
        for (status, change) in [(from, -1), (to, 1)] {
            let place = status.and_then(|status| usize::try_from(status_code(status)).ok());
            if let Some(count) = place.and_then(|place| held.tally.get_mut(place)) {
                *count += change;
            }
        }
        held.differs = true;
        unit.counters.set(name, held);
        Ok(())
    }

    /// Keeps statements back that nothing else is asked before.
    fn later(&self, batches: impl IntoIterator<Item = Batch>) {
        let mut unit = self.unit.borrow_mut();
        unit.changes();
        unit.others.extend(batches);
    }

    /// Notes the quotas that the server has.
    pub(crate) fn learn_quotas(&self, rows: &[Row]) -> Result<(), Error> {
        let quotas = quotas::read(rows)?;
        self.unit.borrow_mut().quotas = Some(quotas);
        Ok(())
    }

    fn head(&self, stream: Stream) -> Result<(u64, Hash), Error> {
        if let Some(head) = self.unit.borrow().heads.get(&stream) {
            return Ok(*head);
        }
        let found = events::head(self.link, stream)?.unwrap_or((0, GENESIS));
        self.unit.borrow_mut().heads.learn(stream, found);
        Ok(found)
    }

    fn owe(&self, task: TaskId, change: impl FnOnce(&mut Owing)) {
        let mut unit = self.unit.borrow_mut();
        unit.changes();
        let mut owing = unit.owed.get(&task).copied().unwrap_or_default();
        change(&mut owing);
        unit.owed.set(task, owing);
    }

    /// Sends what is kept back, and a statement behind it that changes something.
    pub(crate) fn write(&self, sql: &'static str, params: &[Param<'_>]) -> Result<(), Error> {
        self.unit.borrow_mut().changes();
        self.ask(sql, params).map(drop)
    }
}

fn learn_head(unit: &mut Unit, stream: Stream, row: &Row, at: usize) -> Result<(), Error> {
    let head = match row.maybe_number(at)? {
        Some(seq) => (seq, row.hash(at + 1)?),
        None => (0, GENESIS),
    };
    unit.heads.learn(stream, head);
    Ok(())
}

/// Whatever is not asked by an id: what is kept back goes before it, in the same turn.
impl Ask for Writing<'_> {
    fn ask(&self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        let batches = flush::take(&mut self.unit.borrow_mut(), self.now.wall)?;
        let mut steps: Vec<Step<'_>> = batches.iter().map(Step::Do).collect();
        steps.push(Step::Ask(sql, params));
        Ok(self.link.together(&steps)?.pop().unwrap_or_default())
    }
}

impl Reader for Writing<'_> {
    fn project(&self, id: ProjectId) -> Result<Option<Project>, Error> {
        self.held_project(id)
    }

    fn project_at(&self, root: &str) -> Result<Option<Project>, Error> {
        singles::project_at(self, root)
    }

    fn projects(&self) -> Result<Vec<Project>, Error> {
        singles::projects(self)
    }

    fn task(&self, id: TaskId) -> Result<Option<Task>, Error> {
        Ok(self.held_task(id)?.task.value)
    }

    /// What is kept back is looked through here, so that it need not be sent.
    fn task_of_key(&self, project: ProjectId, key: &Key) -> Result<Option<Task>, Error> {
        let has_key = |task: &Task| {
            task.project == project
                && task.spec.key.as_ref() == Some(key)
                && task.deleted_at.is_none()
        };
        let kept_back = |held: &HeldTask| held.task.differs != Differs::No || held.spec_differs;
        let unit = self.unit.borrow();
        let here = unit
            .tasks
            .iter()
            .filter(|(_, held)| kept_back(held))
            .find_map(|(_, held)| held.task.value.as_ref().filter(|task| has_key(task)));
        if let Some(task) = here {
            return Ok(Some(task.clone()));
        }
        drop(unit);
        let found = tasks::of_key(self.link, project, key)?;
        let unit = self.unit.borrow();
        Ok(found.filter(|task| !unit.tasks.get(&task.id).is_some_and(kept_back)))
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
        Ok(singles::counts(&self.tally(project, None)?))
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
        let batches = flush::take(&mut self.unit.borrow_mut(), self.now.wall)?;
        let (any, found) = ready::promoted(self.link, &batches, project, per_group, now)?;
        if any {
            let mut unit = self.unit.borrow_mut();
            unit.changes();
            unit.all_sent();
        }
        Ok(found)
    }

    fn next_due_millis(&self, project: Option<ProjectId>, now: &Now) -> Result<Option<u64>, Error> {
        ready::next_due(self, project, now)
    }

    fn running(&self, project: Option<ProjectId>) -> Result<Vec<Occupant>, Error> {
        ready::running(self, project)
    }

    fn session(&self, id: SessionId) -> Result<Option<Session>, Error> {
        Ok(self.held_session(id)?.value)
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
        let code = singles::mark_code(mark);
        if let Some(held) = self.unit.borrow().marks.get(&code) {
            return Ok(held.value.unwrap_or(0));
        }
        let value = singles::mark(self.link, mark)?;
        let mut unit = self.unit.borrow_mut();
        unit.marks.learn(code, Held::known(Some(value)));
        Ok(value)
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
        self.now.wall
    }

    fn quotas(&self) -> Result<Vec<Quota>, Error> {
        if let Some(quotas) = &self.unit.borrow().quotas {
            return Ok(quotas.clone());
        }
        let quotas = quotas::all(self)?;
        self.unit.borrow_mut().quotas = Some(quotas.clone());
        Ok(quotas)
    }

    fn queued(&self, project: Option<ProjectId>, owner: Option<&str>) -> Result<u64, Error> {
        let projects = match project {
            Some(project) => vec![project],
            None => self.projects()?.iter().map(|project| project.id).collect(),
        };
        let mut queued = 0;
        for project in projects {
            queued += singles::pending(&self.tally(project, owner)?);
        }
        Ok(queued)
    }
}

impl Tx for Writing<'_> {
    fn now(&self) -> &Now {
        &self.now
    }

    fn next_number(&mut self, kind: IdKind) -> Result<u64, Error> {
        let unit = self.unit.get_mut();
        let last = unit.ends.number(kind);
        let next = id::next_number(*last, self.now.wall);
        *last = next;
        unit.changes();
        // Nothing has been said of what has a number that is new.
        let kind = match kind {
            IdKind::Project => StreamKind::Project,
            IdKind::Task => StreamKind::Task,
            IdKind::Session => StreamKind::Session,
        };
        let stream = Stream { kind, id: next };
        unit.heads.learn(stream, (0, GENESIS));
        Ok(next)
    }

    fn insert_project(&mut self, project: &Project) -> Result<(), Error> {
        let unit = self.unit.get_mut();
        unit.changes();
        let held = Held {
            value: Some(project.clone()),
            differs: Differs::New,
        };
        unit.projects.set(project.id, held);
        Ok(())
    }

    fn insert_task(&mut self, task: &Task) -> Result<(), Error> {
        let roots = &task.spec.depends_on;
        let completed = if roots.is_empty() {
            0
        } else {
            tasks::completed(self, roots)?
        };
        let unmet = i32::try_from(roots.len().saturating_sub(completed)).unwrap_or(i32::MAX);
        let unit = self.unit.get_mut();
        unit.changes();
        let held = HeldTask {
            task: Held {
                value: Some(task.clone()),
                differs: Differs::New,
            },
            spec_differs: false,
            unmet,
        };
        unit.tasks.set(task.id, held);
        self.count(task, None, counted_as(task))?;
        if task.status() == TaskStatus::Completed {
            self.release_dependants(task.chain.root)?;
        }
        Ok(())
    }

    fn update_task(&mut self, task: &Task, expected: u64) -> Result<(), Error> {
        let held = self.held_task(task.id)?;
        let Some(before) = held
            .task
            .value
            .as_ref()
            .filter(|before| before.version == expected)
        else {
            return Err(Error::Conflict {
                what: task.id.to_string(),
            });
        };
        self.count(task, counted_as(before), counted_as(task))?;
        let changed = HeldTask {
            task: held.task.changed_to(task.clone()),
            ..held
        };
        let unit = self.unit.get_mut();
        unit.changes();
        unit.tasks.set(task.id, changed);
        Ok(())
    }

    fn rewrite_spec(&mut self, task: &Task) -> Result<(), Error> {
        let held = self.held_task(task.id)?;
        let Some(mut before) = held.task.value.clone() else {
            return Ok(());
        };
        before.spec = task.spec.clone();
        let changed = HeldTask {
            task: Held {
                value: Some(before),
                ..held.task
            },
            spec_differs: true,
            ..held
        };
        let unit = self.unit.get_mut();
        unit.changes();
        unit.tasks.set(task.id, changed);
        Ok(())
    }

    fn drop_payloads(&mut self, stream: Stream) -> Result<(), Error> {
        self.write(
            "UPDATE @events SET dropped = sha256(payload), payload = ''
             WHERE stream_kind = $1 AND stream_id = $2 AND dropped IS NULL",
            &[
                (&events::kind_code(stream.kind), Type::INT2),
                (&int(stream.id), Type::INT8),
            ],
        )
    }

    fn release_dependants(&mut self, root: TaskId) -> Result<(), Error> {
        let unit = self.unit.get_mut();
        unit.changes();
        unit.released.push(task_number(root));
        Ok(())
    }

    fn insert_session(&mut self, session: &Session) -> Result<(), Error> {
        let unit = self.unit.get_mut();
        unit.changes();
        let held = Held {
            value: Some(session.clone()),
            differs: Differs::New,
        };
        unit.sessions.set(session.id, held);
        Ok(())
    }

    fn update_session(&mut self, session: &Session, expected: u64) -> Result<(), Error> {
        let held = self.held_session(session.id)?;
        if held.value.as_ref().map(|before| before.version) != Some(expected) {
            return Err(Error::Conflict {
                what: session.id.to_string(),
            });
        }
        let unit = self.unit.get_mut();
        unit.changes();
        unit.sessions
            .set(session.id, held.changed_to(session.clone()));
        Ok(())
    }

    fn append(&mut self, meta: &Meta, event: NewEvent) -> Result<u64, Error> {
        let head = self.head(event.stream)?;
        let unit = self.unit.get_mut();
        let entry = event::compose(&unit.heads_of(head), event, meta, self.now.wall);
        let position = entry.position;
        unit.add(entry);
        Ok(position)
    }

    fn append_again(&mut self, told: &Told) -> Result<Entry, Error> {
        let head = self.head(told.stream)?;
        let unit = self.unit.get_mut();
        let entry = event::seal_again(&unit.heads_of(head), told);
        unit.add(entry.clone());
        Ok(entry)
    }

    fn raise_number(&mut self, kind: IdKind, above: u64) -> Result<(), Error> {
        let unit = self.unit.get_mut();
        let last = unit.ends.number(kind);
        *last = (*last).max(above);
        unit.changes();
        Ok(())
    }

    fn set_mark(&mut self, mark: Mark, value: u64) -> Result<(), Error> {
        let unit = self.unit.get_mut();
        unit.changes();
        let held = Held {
            value: Some(value),
            differs: Differs::Changed,
        };
        unit.marks.set(singles::mark_code(mark), held);
        Ok(())
    }

    fn add_effect(&mut self, effect: &Effect) -> Result<(), Error> {
        self.owe(effect.task, |owing| {
            owing.noted = Some(owing.noted.unwrap_or(0).max(effect.version));
        });
        Ok(())
    }

    fn remove_effect(&mut self, effect: &Effect) -> Result<(), Error> {
        self.owe(effect.task, |owing| {
            owing.noted = owing.noted.filter(|version| *version > effect.version);
            owing.forgotten_to = owing.forgotten_to.max(Some(effect.version));
        });
        Ok(())
    }

    fn put_lock(&mut self, project: ProjectId, lock: &Lock) -> Result<(), Error> {
        self.later(locks::put(project, lock)?);
        Ok(())
    }

    fn remove_lock(&mut self, id: LockId) -> Result<(), Error> {
        self.later(locks::remove(id));
        Ok(())
    }

    fn forget_locks(&mut self, project: ProjectId, now: &Now) -> Result<(), Error> {
        self.later([locks::forget(project, now)]);
        Ok(())
    }

    fn set_lock_totals(&mut self, project: ProjectId, totals: &Totals) -> Result<(), Error> {
        self.later([locks::set_totals(project, totals)?]);
        Ok(())
    }

    fn put_quota(&mut self, quota: &Quota) -> Result<(), Error> {
        self.unit.get_mut().quotas = None;
        self.later([quotas::put(quota)]);
        Ok(())
    }

    fn remove_quota(&mut self, key: &QuotaKey) -> Result<(), Error> {
        self.unit.get_mut().quotas = None;
        self.later([quotas::remove(key)]);
        Ok(())
    }

    fn add_tokens(
        &mut self,
        month: u32,
        project: ProjectId,
        owner: &str,
        tokens: u64,
    ) -> Result<(), Error> {
        self.later([quotas::add_tokens(month, project, owner, tokens)]);
        Ok(())
    }
}
